//! Usage of a task: the response of `Metrics`, and the two payloads in it
//! (<https://github.com/containerd/cgroups>, `stats/v1` and `cgroup2/stats`).

use prost::Message;

use super::{Any, Timestamp};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Filters {
    #[prost(string, repeated, tag = "1")]
    pub(crate) filters: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metrics {
    #[prost(message, repeated, tag = "1")]
    pub(crate) metrics: Vec<Metric>,
}

/// `containerd.types.Metric`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metric {
    #[prost(message, optional, tag = "1")]
    pub(crate) timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    pub(crate) id: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) data: Option<Any>,
}

/// `io.containerd.cgroups.v1.Metrics`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MetricsV1 {
    #[prost(message, optional, tag = "3")]
    pub(crate) cpu: Option<CpuV1>,
    #[prost(message, optional, tag = "4")]
    pub(crate) memory: Option<MemoryV1>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CpuV1 {
    #[prost(message, optional, tag = "1")]
    pub(crate) usage: Option<CpuUsageV1>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CpuUsageV1 {
    /// Nanoseconds.
    #[prost(uint64, tag = "1")]
    pub(crate) total: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MemoryV1 {
    #[prost(uint64, tag = "30")]
    pub(crate) total_inactive_file: u64,
    #[prost(message, optional, tag = "33")]
    pub(crate) usage: Option<MemoryEntryV1>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MemoryEntryV1 {
    #[prost(uint64, tag = "2")]
    pub(crate) usage: u64,
}

/// `io.containerd.cgroups.v2.Metrics`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MetricsV2 {
    #[prost(message, optional, tag = "2")]
    pub(crate) cpu: Option<CpuV2>,
    #[prost(message, optional, tag = "4")]
    pub(crate) memory: Option<MemoryV2>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CpuV2 {
    /// Microseconds.
    #[prost(uint64, tag = "1")]
    pub(crate) usage_usec: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MemoryV2 {
    #[prost(uint64, tag = "13")]
    pub(crate) inactive_file: u64,
    #[prost(uint64, tag = "32")]
    pub(crate) usage: u64,
}
