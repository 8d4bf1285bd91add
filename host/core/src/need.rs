//! What a workload needs of other workloads.

use crate::names::WorkloadName;

/// A workload that another one needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The needed workload.
    pub workload: WorkloadName,
    /// How far it must have come.
    pub until: Until,
}

/// How far a dependency must have come before its dependent is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Until {
    /// The provider has started it.
    Started,
    /// It is ready by its own check.
    #[default]
    Healthy,
    /// It has run and ended with exit status 0: it is a job.
    Completed,
}

/// A target's place in a group of targets that need each other by service name, such as a compose
/// project. Targets are observed in any order, so a service may be named before it is observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Name of the group, unique per provider.
    pub group: String,
    /// Name of the service; several targets of a group may be one service.
    pub name: String,
    /// Services of the same group that this one needs, and how far each must have come.
    pub needs: Vec<(String, Until)>,
}
