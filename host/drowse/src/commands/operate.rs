//! `drowse wake` and `drowse sleep`

use drowse_core::WorkloadStatus;

use crate::{
    cli::Operate,
    commands::{client, runtime},
    error::Error,
    output::Output,
};

pub(crate) fn wake(operate: &Operate, output: &Output) -> Result<(), Error> {
    let client = client(&operate.running)?;
    let status = runtime()?.block_on(client.wake(&operate.name, operate.wait))?;
    output.answer(&status, |_| line(&status))
}

pub(crate) fn sleep(operate: &Operate, output: &Output) -> Result<(), Error> {
    let client = client(&operate.running)?;
    let status = runtime()?.block_on(client.sleep(&operate.name, operate.wait))?;
    output.answer(&status, |_| line(&status))
}

fn line(status: &WorkloadStatus) -> String {
    format!("{}: {}", status.name, status.phase)
}
