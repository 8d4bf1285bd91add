//! Resource usage of a guest.

use drowse_provider_sdk::{Error, Result, Status, Usage};

use crate::{api::ApiError, control::Control, guest};

/// Current usage. The API reports CPU time as a fraction of the guest's cores.
pub(crate) fn of(control: &Control<'_>) -> Result<Usage> {
    let attempt = control.attempt("measure the usage of");
    let to_error = |refusal: ApiError| refusal.into_error(&attempt);
    let current = control.guest.current().map_err(to_error)?;
    let Some(current) = current else {
        return Err(Error::not_found(format!("{attempt}: there is no such guest")));
    };
    if control.state(&current) == Status::Stopped {
        return Ok(Usage::nothing());
    }
    let mut cores = current.cpu * current.cpus;
    if cores == 0.0 {
        // The answering API process has no earlier sample. The node's own statistics, some seconds
        // old, have one.
        let all = guest::all().map_err(to_error)?;
        let listed = all.iter().find(|it| it.vmid == control.guest.vmid);
        cores = listed.map_or(0.0, |it| it.cpu * it.maxcpu);
    }
    Ok(Usage {
        cpu_percent: Some(cores * 100.0),
        memory: Some(current.mem.max(0.0) as u64),
        attributes: Vec::new(),
    })
}
