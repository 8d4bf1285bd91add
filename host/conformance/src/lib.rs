//! Conformance suite: checks a provider plugin against the contract in `wit/v0.1`.
//!
//! [`run`] first checks the plugin without any grant ([`ungranted`]): these checks send nothing
//! outside and need no platform. With a [`TestTarget`] it then checks each rule of the contract
//! about a target's life cycle on the real platform ([`live`]). A check whose precondition is
//! missing is skipped with the reason. If the target cannot be brought into the state where a check
//! begins, the check of that transition fails and the checks that need the state are skipped.
//!
//! The crate depends only on [`drowse_core::Provider`], so it runs against any plugin runtime.

#![forbid(unsafe_code)]

mod about;
mod live;
mod recorder;
mod report;
mod schema;
mod ungranted;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use drowse_core::{Ability, Failure, Provider, Target};
use report::ReportBuilder;
use serde_json::Value;

pub use about::{About, Wish};
pub use report::{Check, Report, Verdict};

/// Loads and runs the plugin under test.
#[async_trait]
pub trait TestHost: Send + Sync {
    /// Loads the plugin and reads its description. The error is the cause of the failure.
    async fn load(&self) -> Result<About, String>;

    /// Configures the plugin with these settings and no grants. The failure is the answer of
    /// `configure`, or the trap or limit that ended it.
    async fn ungranted(&self, settings: &Value) -> Result<Arc<dyn Provider>, Failure>;

    /// Configures the plugin with the operator's settings and grants.
    async fn granted(&self) -> Result<Arc<dyn Provider>, Failure>;

    /// Changes the running target without the provider, so that it no longer runs as before. None
    /// if no command for it is configured.
    async fn disturb(&self) -> Option<Result<(), String>>;
}

/// The settings and the target of a test.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Settings of the provider: a JSON object.
    pub settings: Value,
    /// Target of the live checks; without one only the checks that need no platform run.
    pub test_target: Option<TestTarget>,
}

/// A target that the suite may start and stop at any time.
#[derive(Clone, Debug, PartialEq)]
pub struct TestTarget {
    /// Handle and settings of the target.
    pub target: Target,
    /// A target that is valid on the platform and does not exist.
    pub unknown: Target,
    /// Longest time until the platform reaches or reports a requested state.
    pub patience: Duration,
    /// Grace time of stops.
    pub grace: Duration,
    /// The provider reports the address of the running target.
    pub addresses: bool,
    /// Command to run inside the target, and its expected exit status.
    pub exec: Option<(Vec<String>, i32)>,
    /// Abilities of the plugin that the provider's settings or grants disable.
    pub without: Vec<Ability>,
    /// The suite may recreate the target.
    pub may_recreate: bool,
    /// The suite may remove the target, as its last step.
    pub may_remove: bool,
    /// Removal keeps the target's data.
    pub keep_data: bool,
}

/// Default handle of a target that does not exist.
pub const UNKNOWN: &str = "drowse-conformance-no-such-target";

/// Runs every check of the plan in order and passes each result to `on_check`.
///
/// Dropping the future leaves the target in its current state.
pub async fn run(
    host: &dyn TestHost,
    plan: &Plan,
    on_check: &mut (dyn FnMut(&Check) + Send),
) -> Report {
    let mut report = ReportBuilder::new(on_check);
    if let Some(about) = ungranted::run(host, plan, &mut report).await
        && let Some(test_target) = &plan.test_target
    {
        live::run(host, &about, test_target, &mut report).await;
    }
    report.into_report()
}
