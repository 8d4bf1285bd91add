//! `drowse wake`, `sleep`, `restart` and `recreate`

use std::{convert::Infallible, time::Duration};

use drowse_admin::{Action, Client, OperationRequest};
use drowse_core::{Source, WorkloadStatus};

use crate::{
    cli::Operate,
    commands::{client, runtime},
    error::Error,
    output::Output,
};

/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(500);

pub(crate) fn operate(operate: &Operate, action: Action, output: &Output) -> Result<(), Error> {
    let client = client(&operate.running)?;
    let order = OperationRequest { action, wait: operate.wait, source: Source::Cli };
    let name = &operate.name;
    let status = runtime()?.block_on(async {
        tokio::select! {
            status = client.operate(name, order) => status,
            never = follow(&client, name, output), if operate.wait.is_some() => match never {},
        }
    })?;
    output.answer(&status, |_| format!("{}: {}", status.name, status.phase))
}

/// Says how it goes, for whoever waits for its end, which comes from elsewhere.
async fn follow(client: &Client, name: &str, output: &Output) -> Infallible {
    let mut told = String::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let Ok(status) = client.workload(name).await else { continue };
        let now = going(&status);
        if now != told {
            output.progress(&now);
            told = now;
        }
    }
}

/// `web: waking: starting it: pulling the image: 2 of 3 layers`
fn going(status: &WorkloadStatus) -> String {
    let going = format!("{}: {}", status.name, status.phase);
    status.doing().map_or_else(|| going.clone(), |doing| format!("{going}: {doing}"))
}
