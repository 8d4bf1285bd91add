//! `drowse wake` and `drowse sleep`

use drowse_admin::Order;
use drowse_core::{Source, WorkloadStatus};

use crate::{
    cli::{Operate, Sleep},
    commands::{client, runtime},
    error::Error,
    output::Output,
};

pub(crate) fn wake(operate: &Operate, output: &Output) -> Result<(), Error> {
    let client = client(&operate.running)?;
    let status = runtime()?.block_on(client.wake(&operate.name, order(operate, false)))?;
    output.answer(&status, |_| line(&status))
}

pub(crate) fn sleep(sleep: &Sleep, output: &Output) -> Result<(), Error> {
    let operate = &sleep.operate;
    let client = client(&operate.running)?;
    let status = runtime()?.block_on(client.sleep(&operate.name, order(operate, sleep.force)))?;
    output.answer(&status, |_| line(&status))
}

fn order(operate: &Operate, force: bool) -> Order {
    Order { wait: operate.wait, force, source: Source::Cli }
}

fn line(status: &WorkloadStatus) -> String {
    format!("{}: {}", status.name, status.phase)
}
