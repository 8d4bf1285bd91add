//! What a guest uses.

use drowse_provider_sdk::{Error, Result, Status, Usage};

use crate::{api::Refusal, control::Control, guest};

/// What it uses now. A guest's CPU time is a fraction of its cores.
pub(crate) fn of(control: &Control<'_>) -> Result<Usage> {
    let attempt = control.attempt("tell the usage of");
    let told = |refusal: Refusal| refusal.into_error(&attempt);
    let current = control.guest.current().map_err(told)?;
    let Some(current) = current else {
        return Err(Error::not_found(format!("{attempt}: there is no such guest")));
    };
    if control.state(&current) == Status::Stopped {
        return Ok(Usage::nothing());
    }
    let mut cores = current.cpu * current.cpus;
    if cores == 0.0 {
        // The process that answers has seen it for the first time. The node's own statistics,
        // some seconds old, know better.
        let all = guest::all().map_err(told)?;
        let listed = all.iter().find(|it| it.vmid == control.guest.vmid);
        cores = listed.map_or(0.0, |it| it.cpu * it.maxcpu);
    }
    Ok(Usage {
        cpu_percent: Some(cores * 100.0),
        memory: Some(current.mem.max(0.0) as u64),
        attributes: Vec::new(),
    })
}
