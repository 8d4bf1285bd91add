use std::time::Duration;

use drowse_provider_sdk::{ErrorCode, Usage};

use super::*;

const STATS: &str = "GET /v1.41/containers/web/stats?stream=0&one-shot=1";

/// A sample with CPU milliseconds of the container and of the machine, which has two cores.
fn sample(own: u64, machine: u64) -> Value {
    let recorded = include_str!("../../fixtures/stats.json");
    let mut sample: Value = serde_json::from_str(recorded).unwrap();
    sample["cpu_stats"]["cpu_usage"]["total_usage"] = json!(own * 1_000_000);
    sample["cpu_stats"]["system_cpu_usage"] = json!(machine * 1_000_000);
    sample
}

fn usage(before: Value, after: Value) -> Usage {
    let test = docker();
    test.expect("engine", STATS, Reply::json(before));
    test.expect("engine", STATS, Reply::json(after));
    let usage = test.usage("web").unwrap();
    assert_eq!(test.elapsed(), Duration::from_millis(500));
    usage
}

#[test]
fn cpu_percent_is_computed_from_two_samples() {
    for (own, machine, percent) in
        [(500, 1000, 100.0), (250, 1000, 50.0), (1000, 1000, 200.0), (0, 1000, 0.0)]
    {
        let usage = usage(sample(7, 70), sample(7 + own, 70 + machine));
        assert_eq!(usage.cpu_percent, Some(percent));
        assert_eq!(usage.memory, Some(610_304));
    }
}

#[test]
fn an_engine_that_takes_two_samples_itself_is_queried_once() {
    let test = docker();
    let mut both = sample(1600, 3000);
    both["precpu_stats"] = sample(100, 1000)["cpu_stats"].clone();
    test.expect("engine", STATS, Reply::json(both));
    assert_eq!(test.usage("web").unwrap().cpu_percent, Some(150.0));
    assert_eq!(test.elapsed(), Duration::ZERO);
}

#[test]
fn cpu_is_unknown_without_machine_time_or_after_a_restart() {
    let mut unknown = sample(100, 0);
    unknown["cpu_stats"].as_object_mut().unwrap().remove("system_cpu_usage");
    for (before, after) in [
        (unknown.clone(), unknown),
        (sample(100, 1000), sample(10, 2000)),
        (sample(100, 1000), sample(100, 1000)),
    ] {
        assert_eq!(usage(before, after).cpu_percent, None);
    }
}

#[test]
fn cores_are_counted_if_their_number_is_missing() {
    let old = |own, machine| {
        let mut sample = sample(own, machine);
        sample["cpu_stats"]["online_cpus"] = json!(0);
        sample["cpu_stats"]["cpu_usage"]["percpu_usage"] = json!([1, 2, 3, 4]);
        sample
    };
    assert_eq!(usage(old(0, 0), old(100, 1000)).cpu_percent, Some(40.0));
}

#[test]
fn inactive_page_cache_is_not_counted() {
    for (name, cache, memory) in [
        ("total_inactive_file", 600_000, 10_304),
        ("inactive_file", 600_000, 10_304),
        ("inactive_file", 999_999, 610_304),
    ] {
        let mut after = sample(0, 0);
        after["memory_stats"]["stats"] = json!({ name: cache, "anon": 4096 });
        assert_eq!(usage(sample(0, 0), after).memory, Some(memory), "{name}");
    }
    let mut after = sample(0, 0);
    after["memory_stats"] = json!({});
    assert_eq!(usage(sample(0, 0), after).memory, None, "no memory controller");
}

#[test]
fn a_stopped_container_uses_nothing() {
    let stopped = || recorded(include_str!("../../fixtures/stats-stopped.json"));
    let test = docker();
    test.expect("engine", STATS, stopped());
    assert_eq!(test.usage("web").unwrap(), Usage::nothing());
    // It stopped between the samples.
    test.expect("engine", STATS, Reply::json(sample(1, 10)));
    test.expect("engine", STATS, stopped());
    assert_eq!(test.usage("web").unwrap(), Usage::nothing());
    // Podman answers an error or nothing, by version.
    for nothing in [refused(409, "container is not running"), Reply::status(200)] {
        test.expect("engine", STATS, nothing);
        test.expect("engine", INSPECT_WEB, recorded(EXITED));
        assert_eq!(test.usage("web").unwrap(), Usage::nothing());
    }
}

#[test]
fn usage_of_a_paused_container_may_be_unknown() {
    let test = docker();
    test.expect("engine", STATS, Reply::status(200));
    test.expect("engine", INSPECT_WEB, recorded(PAUSED));
    assert_eq!(test.usage("web").unwrap(), Usage::unknown());
}

#[test]
fn usage_of_a_missing_container_is_not_found() {
    let test = docker();
    test.expect("engine", STATS, missing());
    test.expect("engine", INSPECT_WEB, missing());
    assert_eq!(*test.usage("web").unwrap_err().code(), ErrorCode::NotFound);
    test.expect("engine", STATS, refused(500, "cgroup is gone"));
    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    let error = test.usage("web").unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Internal);
    assert!(error.message().ends_with("cgroup is gone"), "{error}");
}
