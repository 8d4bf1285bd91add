//! Results of the checks.

use drowse_core::{ErrorCode, Failure};
use serde::Serialize;

/// Results of all checks.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// In the order in which they ran.
    pub checks: Vec<Check>,
}

/// Result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Short, stable name, such as `start-again`.
    pub name: &'static str,
    /// The rule of the contract.
    pub promise: &'static str,
    /// Result.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Result of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// The rule holds.
    Passed {
        /// Measured value, if any.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// The rule is broken.
    Failed {
        /// The contract's rule for this call.
        expected: String,
        /// The plugin's answer.
        actual: String,
    },
    /// The check did not run.
    Skipped {
        /// Reason, and how to enable the check if possible.
        reason: String,
    },
}

/// Result of a check that did not pass.
#[derive(Debug)]
pub(crate) enum NotPassed {
    Failed { expected: String, actual: String },
    Skipped(String),
}

/// Result of a check: an optional note, or why it did not pass.
pub(crate) type Outcome = Result<Option<String>, NotPassed>;

/// Collects results and reports each of them.
pub(crate) struct ReportBuilder<'t> {
    report: Report,
    on_check: &'t mut (dyn FnMut(&Check) + Send),
}

// === impl Report ===

impl Report {
    /// No check failed.
    pub fn ok(&self) -> bool {
        self.failed() == 0
    }

    /// Number of passed checks.
    pub fn passed(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Passed { .. }))
    }

    /// Number of failed checks.
    pub fn failed(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Failed { .. }))
    }

    /// Number of skipped checks.
    pub fn skipped(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Skipped { .. }))
    }

    fn count(&self, is: impl Fn(&Verdict) -> bool) -> usize {
        self.checks.iter().filter(|check| is(&check.verdict)).count()
    }
}

// === impl ReportBuilder ===

impl<'t> ReportBuilder<'t> {
    pub(crate) fn new(on_check: &'t mut (dyn FnMut(&Check) + Send)) -> Self {
        Self { report: Report::default(), on_check }
    }

    pub(crate) fn note(&mut self, name: &'static str, promise: &'static str, outcome: Outcome) {
        let verdict = match outcome {
            Ok(note) => Verdict::Passed { note },
            Err(NotPassed::Failed { expected, actual }) => Verdict::Failed { expected, actual },
            Err(NotPassed::Skipped(reason)) => Verdict::Skipped { reason },
        };
        let check = Check { name, promise, verdict };
        (self.on_check)(&check);
        self.report.checks.push(check);
    }

    pub(crate) fn into_report(self) -> Report {
        self.report
    }
}

// === impl NotPassed ===

impl NotPassed {
    pub(crate) fn failed(expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Self::Failed { expected: expected.into(), actual: actual.into() }
    }
}

/// Formats a failure for a report.
pub(crate) fn failure_text(failure: &Failure) -> String {
    format!("{}: {failure}", failure.code)
}

/// Unwraps the answer, or fails the check.
pub(crate) fn success<T>(expected: &str, answer: Result<T, Failure>) -> Result<T, NotPassed> {
    answer.map_err(|failure| {
        NotPassed::failed(format!("{expected} succeeds"), failure_text(&failure))
    })
}

/// Fails the check unless the condition holds.
pub(crate) fn ensure(
    holds: bool,
    expected: impl Into<String>,
    actual: impl FnOnce() -> String,
) -> Result<(), NotPassed> {
    if holds { Ok(()) } else { Err(NotPassed::failed(expected, actual())) }
}

/// Returns the failure if its code is one of those expected, otherwise fails the check.
pub(crate) fn refused<T>(
    answer: Result<T, Failure>,
    codes: &[ErrorCode],
    what: &str,
) -> Result<Failure, NotPassed> {
    let words: Vec<_> = codes.iter().map(ToString::to_string).collect();
    let expected = format!("{} for {what}", words.join(" or "));
    match answer {
        Ok(_) => Err(NotPassed::failed(expected, "success")),
        Err(failure) if codes.contains(&failure.code) => Ok(failure),
        Err(failure) => Err(NotPassed::failed(expected, failure_text(&failure))),
    }
}
