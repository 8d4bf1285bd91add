//! Vetoes: checks that keep an idle workload awake.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{task::AbortHandle, time::timeout};

use super::Workload;
use crate::{
    provider::{ErrorCode, Failure},
    spec::{ReadyCheck, Veto},
    step::Input,
};

/// Maximum time of one check.
const CHECK: Duration = Duration::from_secs(10);

impl Workload {
    /// Runs all checks at the same time, and answers query `ticket` of the phase machine.
    pub(super) fn check_vetoes(self: &Arc<Self>, ticket: u64) -> AbortHandle {
        let workload = self.clone();
        self.spawn(async move {
            let checks = workload.spec.vetoes.iter().map(|veto| workload.check_veto(veto));
            let reasons = join_all(checks).await;
            match reasons.into_iter().flatten().next() {
                Some(reason) => {
                    tracing::debug!(workload = %workload.spec.name, reason, "kept awake");
                    workload.apply(Input::Vetoed(ticket, reason));
                }
                None => workload.apply(Input::MaySleep(ticket)),
            }
        })
    }

    /// Why the workload must not sleep now. A check that fails is no reason, except when the
    /// platform itself does not answer.
    async fn check_veto(self: &Arc<Self>, veto: &Veto) -> Option<String> {
        let instance = self.admission.instance()?;
        let addresses = &instance.observation().addresses;
        match veto {
            Veto::CpuAbove(limit) => match self.cpu_percent().await {
                Ok(Some(percent)) if percent > *limit => {
                    Some(format!("it uses {percent:.0} % of a core"))
                }
                Ok(_) => None,
                Err(failure) => self.veto_of_failure("its usage is unknown", &failure),
            },
            Veto::Busy(ReadyCheck::Exec { command }) => {
                let _permit = self.shared.routine_permit(&self.spec.provider).await;
                match self.run_inside(command, CHECK).await {
                    Ok(exit) => (exit.status == 0).then(|| "it reports that it is busy".to_owned()),
                    Err(failure) => self.veto_of_failure("its command could not be run", &failure),
                }
            }
            Veto::Busy(check) => {
                let checked = self.check_once(check, instance.observation());
                let busy = matches!(timeout(CHECK, checked).await, Ok(Ok(())));
                busy.then(|| "it reports that it is busy".to_owned())
            }
            Veto::PlayersOnline(port) => {
                let count = self.shared.prober.players(addresses, *port, &**self);
                match timeout(CHECK, count).await {
                    Ok(Ok(0) | Err(_)) | Err(_) => None,
                    Ok(Ok(players)) => Some(format!("{players} players are online")),
                }
            }
        }
    }

    /// A platform that does not answer keeps the workload awake; one that does not support the
    /// check would keep it awake for ever.
    fn veto_of_failure(&self, what: &str, failure: &Failure) -> Option<String> {
        if failure.code != ErrorCode::Unsupported {
            return Some(format!("{what}: {}", failure.message));
        }
        let (workload, error) = (&self.spec.name, &failure.message);
        tracing::warn!(%workload, error, "the provider does not support a check for busy workloads");
        None
    }

    async fn cpu_percent(&self) -> Result<Option<f64>, Failure> {
        let provider = self.shared.provider(&self.spec.provider)?;
        let _permit = self.shared.routine_permit(&self.spec.provider).await;
        let usage = self.within(CHECK, "usage of", provider.usage(&self.spec.target)).await?;
        Ok(usage.cpu_percent)
    }
}
