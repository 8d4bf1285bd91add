//! `drowse wake` and `drowse sleep`.

use std::path::Path;

use anyhow::Result;
use drowse_admin::ClientError;
use drowse_core::WorkloadStatus;

use crate::{cli::OperateOptions, home, output};

pub(crate) fn wake(config: Option<&Path>, options: &OperateOptions, json: bool) -> Result<()> {
    let client = home::client(config)?;
    tell(home::runtime()?.block_on(client.wake(&options.name, options.wait())), json)
}

pub(crate) fn sleep(config: Option<&Path>, options: &OperateOptions, json: bool) -> Result<()> {
    let client = home::client(config)?;
    tell(home::runtime()?.block_on(client.sleep(&options.name, options.wait())), json)
}

fn tell(answer: Result<WorkloadStatus, ClientError>, json: bool) -> Result<()> {
    let workload = match answer {
        Ok(workload) => workload,
        Err(ClientError::Refused(problem)) if json => {
            output::json(&problem)?;
            return Err(ClientError::Refused(problem).into());
        }
        Err(error) => return Err(error.into()),
    };
    if json {
        return output::json(&workload);
    }
    println!("{} is {}", workload.name, workload.phase);
    Ok(())
}
