//! What came of the checks.

use drowse_core::{ErrorCode, Failure};
use serde::Serialize;

/// What came of all checks.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// In the order in which they were made.
    pub checks: Vec<Check>,
}

/// One promise of the contract, and whether it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// A short name that stays the same: `start-again`.
    pub name: &'static str,
    /// What the contract promises.
    pub promise: &'static str,
    /// Whether it is kept.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Whether a promise is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// It is.
    Passed {
        /// What was measured by the way.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// It is not.
    Failed {
        /// What the contract says.
        expected: String,
        /// What came instead.
        came: String,
    },
    /// It could not be found out.
    Skipped {
        /// Why, and what to do about it if anything can be done.
        reason: String,
    },
}

/// How a check ends that does not pass.
#[derive(Debug)]
pub(crate) enum End {
    Failed { expected: String, came: String },
    Skipped(String),
}

/// What a check comes to: a note, if there is anything to note.
pub(crate) type Outcome = Result<Option<String>, End>;

/// A report that is being written.
pub(crate) struct Draft<'t> {
    report: Report,
    tell: &'t mut (dyn FnMut(&Check) + Send),
}

// === impl Report ===

impl Report {
    /// Nothing failed.
    pub fn ok(&self) -> bool {
        self.failed() == 0
    }

    /// How many promises are kept.
    pub fn passed(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Passed { .. }))
    }

    /// How many are not.
    pub fn failed(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Failed { .. }))
    }

    /// How many could not be found out.
    pub fn skipped(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Skipped { .. }))
    }

    fn count(&self, is: impl Fn(&Verdict) -> bool) -> usize {
        self.checks.iter().filter(|check| is(&check.verdict)).count()
    }
}

// === impl Draft ===

impl<'t> Draft<'t> {
    pub(crate) fn new(tell: &'t mut (dyn FnMut(&Check) + Send)) -> Self {
        Self { report: Report::default(), tell }
    }

    pub(crate) fn note(&mut self, name: &'static str, promise: &'static str, outcome: Outcome) {
        let verdict = match outcome {
            Ok(note) => Verdict::Passed { note },
            Err(End::Failed { expected, came }) => Verdict::Failed { expected, came },
            Err(End::Skipped(reason)) => Verdict::Skipped { reason },
        };
        let check = Check { name, promise, verdict };
        (self.tell)(&check);
        self.report.checks.push(check);
    }

    pub(crate) fn into_report(self) -> Report {
        self.report
    }
}

// === impl End ===

impl End {
    pub(crate) fn failed(expected: impl Into<String>, came: impl Into<String>) -> Self {
        Self::Failed { expected: expected.into(), came: came.into() }
    }
}

/// A failure as a report shows it.
pub(crate) fn told(failure: &Failure) -> String {
    format!("{}: {failure}", failure.code)
}

/// The answer, or that it should have been one.
pub(crate) fn success<T>(expected: &str, answer: Result<T, Failure>) -> Result<T, End> {
    answer.map_err(|failure| End::failed(format!("{expected} is a success"), told(&failure)))
}

/// Fails unless it is so.
pub(crate) fn ensure(
    holds: bool,
    expected: impl Into<String>,
    came: impl FnOnce() -> String,
) -> Result<(), End> {
    if holds { Ok(()) } else { Err(End::failed(expected, came())) }
}

/// The failure of one of these codes that the answer should be.
pub(crate) fn refused<T>(
    answer: Result<T, Failure>,
    codes: &[ErrorCode],
    what: &str,
) -> Result<Failure, End> {
    let words: Vec<_> = codes.iter().map(ToString::to_string).collect();
    let expected = format!("{} for {what}", words.join(" or "));
    match answer {
        Ok(_) => Err(End::failed(expected, "success")),
        Err(failure) if codes.contains(&failure.code) => Ok(failure),
        Err(failure) => Err(End::failed(expected, told(&failure))),
    }
}
