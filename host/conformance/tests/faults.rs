//! Runs the suite on a provider with one fault at a time: the check of that name must fail, and no
//! other.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod faulty;

use std::{collections::BTreeSet, time::Duration};

use drowse_conformance::{Plan, Report, TestTarget, Verdict, run};
use drowse_core::{Ability, Target};
use faulty::FaultyHost;
use serde_json::json;

fn test_target() -> TestTarget {
    TestTarget {
        target: Target { handle: "blog".into(), settings: "{}".into() },
        unknown: Target { handle: "missing".into(), settings: "{}".into() },
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

async fn report_of(faulty: FaultyHost, test_target: Option<TestTarget>) -> Report {
    let plan = Plan { settings: json!({}), test_target };
    run(&faulty, &plan, &mut |_| {}).await
}

fn failed(report: &Report) -> Vec<&'static str> {
    let failed = report.checks.iter().filter(|it| matches!(it.verdict, Verdict::Failed { .. }));
    failed.map(|check| check.name).collect()
}

#[tokio::test(start_paused = true)]
async fn a_faultless_provider_passes_every_check() {
    let report = report_of(FaultyHost::faultless(), Some(test_target())).await;
    let others: Vec<_> =
        report.checks.iter().filter(|it| !matches!(it.verdict, Verdict::Passed { .. })).collect();
    assert!(others.is_empty(), "{others:#?}");
    assert!(report.ok());
    let names: BTreeSet<_> = report.checks.iter().map(|check| check.name).collect();
    assert_eq!(names.len(), report.checks.len(), "each check has a name of its own");
}

#[tokio::test(start_paused = true)]
async fn each_fault_fails_its_check_and_no_other() {
    let checks = report_of(FaultyHost::faultless(), Some(test_target())).await.checks;
    let mut wrong = Vec::new();
    for name in checks.iter().map(|check| check.name) {
        let failed = failed(&report_of(FaultyHost::with_fault(name), Some(test_target())).await);
        let expected = match name {
            // `stop` may end before it is dropped; the second `stop` then fails, too.
            "stop-again" => vec!["stop-again", "stop-dropped"],
            // The wrong state is also visible in this check.
            "start" => vec!["start", "start-and-stop"],
            name => vec![name],
        };
        if failed != expected {
            wrong.push((name, failed));
        }
    }
    assert!(wrong.is_empty(), "faults and the checks that fail: {wrong:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_check_without_its_precondition_is_skipped_with_the_reason() {
    let test_target = TestTarget {
        addresses: false,
        exec: None,
        without: vec![Ability::Pause],
        may_recreate: false,
        may_remove: false,
        keep_data: false,
        ..test_target()
    };
    let report = report_of(FaultyHost::undisturbed(), Some(test_target)).await;
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
    let report = report_of(FaultyHost::with_fault("broken"), Some(test_target())).await;
    let skipped = |name: &str| {
        let check = report.checks.iter().find(|check| check.name == name).unwrap();
        matches!(&check.verdict, Verdict::Skipped { reason } if reason.contains("reach running"))
    };
    assert!(
        skipped("stop") && skipped("start-again") && skipped("concurrent-status"),
        "{report:#?}"
    );
    assert_eq!(failed(&report), ["start"]);
}

#[tokio::test(start_paused = true)]
async fn the_target_is_left_as_it_was_found() {
    for runs in [false, true] {
        let faulty = FaultyHost::faultless();
        faulty.runs(runs);
        let test_target = TestTarget { may_remove: false, ..test_target() };
        let plan = Plan { settings: json!({}), test_target: Some(test_target) };
        assert!(run(&faulty, &plan, &mut |_| {}).await.ok());
        assert_eq!(faulty.is_running(), runs);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_target_the_platform_is_not_called() {
    let faulty = FaultyHost::faultless();
    let plan = Plan { settings: json!({}), test_target: None };
    let mut reported = Vec::new();
    let report = run(&faulty, &plan, &mut |check| reported.push(check.name)).await;
    assert!(report.ok(), "{report:#?}");
    assert_eq!(reported.first(), Some(&"describe"));
    assert_eq!(reported.len(), report.checks.len(), "each result is reported");
    assert_eq!(faulty.calls_of_the_platform(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_cannot_be_loaded_is_one_failure_with_the_cause() {
    let report = report_of(FaultyHost::with_fault("describe"), Some(test_target())).await;
    assert_eq!(report.checks.len(), 1);
    assert!(matches!(&report.checks[0].verdict,
        Verdict::Failed { actual, .. } if actual == "not a WASM module"));
}
