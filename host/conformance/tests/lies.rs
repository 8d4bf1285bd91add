//! A provider of a platform that exists only here tells lies, one at a time: each check finds the
//! one that it is there for, and no other.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod liar;

use std::{collections::BTreeSet, time::Duration};

use drowse_conformance::{Plan, Report, Trial, Verdict, run};
use drowse_core::{Ability, Target};
use liar::Liar;
use serde_json::json;

fn trial() -> Trial {
    Trial {
        target: Target { handle: "blog".into(), settings: "{}".into() },
        unknown: Target { handle: "nobody".into(), settings: "{}".into() },
        patience: Duration::from_secs(30),
        grace: Duration::from_secs(1),
        addresses: true,
        exec: Some((vec!["seven".into()], 7)),
        without: Vec::new(),
        may_recreate: true,
        may_remove: true,
        keep_data: false,
    }
}

async fn report_of(liar: Liar, trial: Option<Trial>) -> Report {
    let plan = Plan { settings: json!({}), trial };
    run(&liar, &plan, &mut |_| {}).await
}

fn failed(report: &Report) -> Vec<&'static str> {
    let failed = report.checks.iter().filter(|it| matches!(it.verdict, Verdict::Failed { .. }));
    failed.map(|check| check.name).collect()
}

#[tokio::test(start_paused = true)]
async fn an_honest_provider_passes_every_check() {
    let report = report_of(Liar::honest(), Some(trial())).await;
    let others: Vec<_> =
        report.checks.iter().filter(|it| !matches!(it.verdict, Verdict::Passed { .. })).collect();
    assert!(others.is_empty(), "{others:#?}");
    assert!(report.ok());
    let names: BTreeSet<_> = report.checks.iter().map(|check| check.name).collect();
    assert_eq!(names.len(), report.checks.len(), "each check has a name of its own");
}

#[tokio::test(start_paused = true)]
async fn every_check_finds_the_lie_that_it_is_there_for_and_no_other() {
    let checks = report_of(Liar::honest(), Some(trial())).await.checks;
    let mut wrong = Vec::new();
    for name in checks.iter().map(|check| check.name) {
        let failed = failed(&report_of(Liar::lying(name), Some(trial())).await);
        let expected = match name {
            // It may have ended before it is dropped: then the second one is one too many.
            "stop-again" => vec!["stop-again", "stop-dropped"],
            // It tells a wrong state there, too.
            "start" => vec!["start", "start-and-stop"],
            name => vec![name],
        };
        if failed != expected {
            wrong.push((name, failed));
        }
    }
    assert!(wrong.is_empty(), "lies and the checks that fail: {wrong:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_found_out_is_skipped_and_says_why() {
    let trial = Trial {
        addresses: false,
        exec: None,
        without: vec![Ability::Pause],
        may_recreate: false,
        may_remove: false,
        keep_data: false,
        ..trial()
    };
    let report = report_of(Liar::undisturbed(), Some(trial)).await;
    assert!(report.ok(), "{report:#?}");
    let reason = |name: &str| {
        let check = report.checks.iter().find(|check| check.name == name).unwrap();
        match &check.verdict {
            Verdict::Skipped { reason } => reason.clone(),
            verdict => panic!("{name}: {verdict:?}"),
        }
    };
    for (name, why) in [
        ("addresses", "addresses = false"),
        ("exec", "`exec` in [test]"),
        ("exec-stopped", "`exec` in [test]"),
        ("pause", "`without`"),
        ("stop-paused", "`without`"),
        ("fetch", "may-recreate"),
        ("recreate", "may-recreate"),
        ("remove", "may-remove"),
        ("watch-disturbed", "`disturb` in [test]"),
    ] {
        assert!(reason(name).contains(why), "{name}: {}", reason(name));
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_cannot_be_started_fails_one_check_and_skips_those_that_need_it_running() {
    let report = report_of(Liar::lying("broken"), Some(trial())).await;
    let skipped = |name: &str| {
        let check = report.checks.iter().find(|check| check.name == name).unwrap();
        matches!(&check.verdict, Verdict::Skipped { reason } if reason.contains("come to run"))
    };
    assert!(skipped("stop") && skipped("start-again") && skipped("crowd"), "{report:#?}");
    assert_eq!(failed(&report), ["start"]);
}

#[tokio::test(start_paused = true)]
async fn the_target_is_left_as_it_was_found() {
    for runs in [false, true] {
        let liar = Liar::honest();
        liar.runs(runs);
        let trial = Trial { may_remove: false, ..trial() };
        let plan = Plan { settings: json!({}), trial: Some(trial) };
        assert!(run(&liar, &plan, &mut |_| {}).await.ok());
        assert_eq!(liar.is_running(), runs);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_trial_nothing_is_asked_of_the_platform() {
    let liar = Liar::honest();
    let plan = Plan { settings: json!({}), trial: None };
    let mut told = Vec::new();
    let report = run(&liar, &plan, &mut |check| told.push(check.name)).await;
    assert!(report.ok(), "{report:#?}");
    assert_eq!(told.first(), Some(&"describe"));
    assert_eq!(told.len(), report.checks.len(), "each is told as it ends");
    assert_eq!(liar.calls_of_the_platform(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_cannot_be_loaded_is_one_failure_with_the_cause() {
    let report = report_of(Liar::lying("describe"), Some(trial())).await;
    assert_eq!(report.checks.len(), 1);
    assert!(matches!(&report.checks[0].verdict,
        Verdict::Failed { came, .. } if came == "it is not WASM"));
}
