//! `drowse wake`, `sleep`, `restart` and `recreate`

use drowse_admin::Order;
use drowse_core::{Source, WorkloadStatus};

use crate::{
    cli::{Forcible, Operate, Recreate},
    commands::{client, runtime},
    error::Error,
    output::Output,
};

pub(crate) fn wake(operate: &Operate, output: &Output) -> Result<(), Error> {
    let client = client(&operate.running)?;
    let status = runtime()?.block_on(client.wake(&operate.name, order(operate)))?;
    output.answer(&status, |_| line(&status))
}

pub(crate) fn sleep(sleep: &Forcible, output: &Output) -> Result<(), Error> {
    let client = client(&sleep.operate.running)?;
    let status = runtime()?.block_on(client.sleep(&sleep.operate.name, forcible(sleep)))?;
    output.answer(&status, |_| line(&status))
}

pub(crate) fn restart(restart: &Forcible, output: &Output) -> Result<(), Error> {
    let client = client(&restart.operate.running)?;
    let status = runtime()?.block_on(client.restart(&restart.operate.name, forcible(restart)))?;
    output.answer(&status, |_| line(&status))
}

pub(crate) fn recreate(recreate: &Recreate, output: &Output) -> Result<(), Error> {
    let Recreate { forcible: how, refresh } = recreate;
    let client = client(&how.operate.running)?;
    let order = Order { refresh: *refresh, ..forcible(how) };
    let status = runtime()?.block_on(client.recreate(&how.operate.name, order))?;
    output.answer(&status, |_| line(&status))
}

fn order(operate: &Operate) -> Order {
    Order { wait: operate.wait, force: false, refresh: false, source: Source::Cli }
}

fn forcible(forcible: &Forcible) -> Order {
    Order { force: forcible.force, ..order(&forcible.operate) }
}

fn line(status: &WorkloadStatus) -> String {
    format!("{}: {}", status.name, status.phase)
}
