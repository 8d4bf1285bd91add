//! What the contract (`wit/v0.1`) promises of a provider, as checks that run on any plugin.
//!
//! [`run`] asks a [`Stand`] for the plugin, first with nothing granted ([`bare`](mod@bare)): that
//! calls nothing outside and needs no platform. With a [`Trial`], a target that may be started and
//! stopped at will, it then goes through everything that the contract says of a target's life
//! ([`live`]). A check that cannot be made is skipped and says why; a target that cannot be brought
//! to where a check begins is told by the check whose promise that is, and skips the others.
//!
//! This crate knows only [`drowse_core::Provider`]: whatever runs a plugin can stand in front of it.

#![forbid(unsafe_code)]

mod about;
mod bare;
mod live;
mod recorder;
mod report;
mod schema;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use drowse_core::{Ability, Failure, Provider, Target};
use report::Draft;
use serde_json::Value;

pub use about::{About, Wish};
pub use report::{Check, Report, Verdict};

/// What runs the plugin under test.
#[async_trait]
pub trait Stand: Send + Sync {
    /// Loads the plugin and asks what it is. The error says why that is impossible.
    async fn load(&self) -> Result<About, String>;

    /// The plugin with these settings and nothing granted. The failure is what `configure`
    /// answered, or how it broke.
    async fn bare(&self, settings: &Value) -> Result<Arc<dyn Provider>, Failure>;

    /// The plugin as the operator configured it, with all that is granted.
    async fn granted(&self) -> Result<Arc<dyn Provider>, Failure>;

    /// Changes the running target behind the provider's back, so that it does not run as before.
    /// None where there is no way to do that.
    async fn disturb(&self) -> Option<Result<(), String>>;
}

/// What to test.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The settings of the provider: a JSON object.
    pub settings: Value,
    /// The target to test on; without one only what needs no platform is tested.
    pub trial: Option<Trial>,
}

/// A target that may be started and stopped at will.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The target.
    pub target: Target,
    /// A target that could exist and does not.
    pub unknown: Target,
    /// How long the platform may take until what was asked is so, or is reported.
    pub patience: Duration,
    /// The grace time of stops.
    pub grace: Duration,
    /// The target can be connected to while it runs, and the provider knows where.
    pub addresses: bool,
    /// A command to run inside the target, and the status that it ends with.
    pub exec: Option<(Vec<String>, i32)>,
    /// Abilities that the plugin has and the provider's settings leave out.
    pub without: Vec<Ability>,
    /// The target may be made anew.
    pub may_recreate: bool,
    /// The target may be taken away; that is the last thing that is done.
    pub may_remove: bool,
    /// What is taken away leaves its data.
    pub keep_data: bool,
}

/// The handle that is taken for unknown when nothing else is said.
pub const UNKNOWN: &str = "drowse-conformance-no-such-target";

/// Makes every check of the plan in its order and tells each as it ends.
///
/// Dropping the future leaves the target as it is at that moment.
pub async fn run(stand: &dyn Stand, plan: &Plan, tell: &mut (dyn FnMut(&Check) + Send)) -> Report {
    let mut report = Draft::new(tell);
    if let Some(about) = bare::run(stand, plan, &mut report).await
        && let Some(trial) = &plan.trial
    {
        live::run(stand, &about, trial, &mut report).await;
    }
    report.into_report()
}
