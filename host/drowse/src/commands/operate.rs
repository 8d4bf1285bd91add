//! `drowse wake`, `sleep`, `restart` and `recreate`

use drowse_admin::{Action, Order};
use drowse_core::Source;

use crate::{
    cli::Operate,
    commands::{client, runtime},
    error::Error,
    output::Output,
};

pub(crate) fn operate(operate: &Operate, action: Action, output: &Output) -> Result<(), Error> {
    let client = client(&operate.running)?;
    let order = Order { action, wait: operate.wait, source: Source::Cli };
    let status = runtime()?.block_on(client.operate(&operate.name, order))?;
    output.answer(&status, |_| format!("{}: {}", status.name, status.phase))
}
