//! `drowse wake`, `sleep`, `restart` and `recreate`

use std::{convert::Infallible, time::Duration};

use drowse_admin::{Action, Client, OperationRequest};
use drowse_core::{Trigger, WorkloadStatus};

use crate::{
    cli::Operate,
    commands::{client, runtime},
    error::Error,
    output::Output,
};

/// Interval between two status queries.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) fn operate(operate: &Operate, action: Action, output: &Output) -> Result<(), Error> {
    let client = client(&operate.running)?;
    let order = OperationRequest { action, wait: operate.wait, trigger: Trigger::Cli };
    let name = &operate.name;
    let status = runtime()?.block_on(async {
        tokio::select! {
            status = client.operate(name, order) => status,
            never = print_progress(&client, name, output), if operate.wait.is_some() => match never {},
        }
    })?;
    output.answer(&status, |_| format!("{}: {}", status.name, status.phase))
}

/// Prints the progress of an operation. Never returns: the end of the operation cancels it.
async fn print_progress(client: &Client, name: &str, output: &Output) -> Infallible {
    let mut printed = String::new();
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        let Ok(status) = client.workload(name).await else { continue };
        let now = progress(&status);
        if now != printed {
            output.progress(&now);
            printed = now;
        }
    }
}

/// `web: waking: starting it: pulling the image: 2 of 3 layers`
fn progress(status: &WorkloadStatus) -> String {
    let phase = format!("{}: {}", status.name, status.phase);
    status.doing().map_or_else(|| phase.clone(), |doing| format!("{phase}: {doing}"))
}
