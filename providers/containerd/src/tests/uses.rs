//! Usage of a container, in both versions of control groups.

use super::*;
use crate::proto::{
    Any, CpuUsageV1, CpuV1, CpuV2, MemoryEntryV1, MemoryV1, MemoryV2, Metric, Metrics, MetricsV1,
    MetricsV2, Timestamp,
};

/// A metric this many milliseconds after the first sample.
fn metric(millis: i32, kind: &str, value: Vec<u8>) -> Answer {
    let (seconds, nanos) = (1_767_225_600, millis * 1_000_000);
    let metric = |id: &str, value| Metric {
        timestamp: Some(Timestamp { seconds, nanos }),
        id: id.into(),
        data: Some(Any { type_url: kind.into(), value }),
    };
    message(&Metrics { metrics: vec![metric("other", Vec::new()), metric("web", value)] })
}

fn v1(millis: i32, cpu: u64) -> Answer {
    let usage = Some(CpuUsageV1 { total: cpu });
    let value = MetricsV1 {
        cpu: Some(CpuV1 { usage }),
        memory: Some(MemoryV1 {
            total_inactive_file: 300,
            usage: Some(MemoryEntryV1 { usage: 1_000 }),
        }),
    };
    metric(millis, "io.containerd.cgroups.v1.Metrics", value.encode_to_vec())
}

fn v2(millis: i32, cpu: u64) -> Answer {
    let value = MetricsV2 {
        cpu: Some(CpuV2 { usage_usec: cpu }),
        memory: Some(MemoryV2 { inactive_file: 400, usage: 1_000 }),
    };
    metric(millis, "types.containerd.io/io.containerd.cgroups.v2.Metrics", value.encode_to_vec())
}

fn running(first: Answer, second: Answer) -> Usage {
    let test = Script::new(settings());
    test.container(&web(&[])).task(proto::Status::Running);
    test.call(TASKS, "Metrics", first).call(TASKS, "Metrics", second);
    let usage = test.0.usage("web").unwrap();
    let ask = proto::Filters::decode(test.requests_of("/Metrics")[0].as_slice()).unwrap();
    assert_eq!(ask.filters, ["id==\"web\""]);
    assert_eq!(test.0.elapsed(), Duration::from_millis(500));
    usage
}

#[test]
fn cpu_percent_is_between_two_samples_and_memory_without_page_cache() {
    let usage = running(v1(0, 7_000_000_000), v1(500, 7_750_000_000));
    assert_eq!((usage.cpu_percent, usage.memory), (Some(150.0), Some(700)));
    let usage = running(v2(0, 7_000_000), v2(500, 7_125_000));
    assert_eq!((usage.cpu_percent, usage.memory), (Some(25.0), Some(600)));
}

#[test]
fn unknown_values_are_absent() {
    let usage = running(v2(0, 7_000_000), v2(500, 3));
    assert_eq!((usage.cpu_percent, usage.memory), (None, Some(600)), "of another life");
    let usage = running(v2(0, 7), v2(0, 8));
    assert_eq!(usage.cpu_percent, None, "the daemon's clock stands still");
    let usage =
        running(metric(0, "io.other.Stats", vec![1]), metric(500, "io.other.Stats", vec![]));
    assert_eq!((usage.cpu_percent, usage.memory), (None, None));

    let test = Script::new(settings());
    test.container(&web(&[])).task(proto::Status::Paused);
    test.call(TASKS, "Metrics", message(&Metrics::default())).task(proto::Status::Paused);
    assert_eq!(test.0.usage("web").unwrap(), Usage::unknown());
}

#[test]
fn a_stopped_container_uses_nothing_and_a_missing_one_is_not_found() {
    for status in [None, Some(proto::Status::Stopped), Some(proto::Status::Created)] {
        let test = Script::new(settings());
        test.container(&web(&[]));
        match status {
            Some(status) => test.task(status),
            None => test.no_task(),
        };
        assert_eq!(test.0.usage("web").unwrap(), Usage::nothing());
    }
    // It ended between the samples.
    let test = Script::new(settings());
    test.container(&web(&[])).task(proto::Status::Running);
    test.call(TASKS, "Metrics", v2(0, 1)).ok(TASKS, "Metrics").task(proto::Status::Stopped);
    assert_eq!(test.0.usage("web").unwrap(), Usage::nothing());

    let test = Script::new(settings());
    test.call(CONTAINERS, "Get", Answer::status(5, "no such container"));
    assert_eq!(*test.0.usage("web").unwrap_err().code(), ErrorCode::NotFound);
}

#[test]
fn invalid_metrics_are_an_error() {
    let test = Script::new(settings());
    test.container(&web(&[])).task(proto::Status::Running);
    test.call(TASKS, "Metrics", metric(0, "io.containerd.cgroups.v2.Metrics", vec![0xff]));
    let error = test.0.usage("web").unwrap_err();
    assert!(error.message().contains("cannot decode"), "{error}");
}

proptest::proptest! {
    #[test]
    fn any_metrics_are_decoded_or_refused(value: Vec<u8>, second: bool, at: (i64, i32)) {
        let version = if second { "v2" } else { "v1" };
        let metric = Metric {
            timestamp: Some(Timestamp { seconds: at.0, nanos: at.1 }),
            id: "web".into(),
            data: Some(Any { type_url: format!("io.containerd.cgroups.{version}.Metrics"), value }),
        };
        if let Ok(sample) = crate::usage::Sample::of(&metric) {
            let _ = sample.until(&sample);
        }
    }
}
