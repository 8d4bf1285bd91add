//! The query parameters of requests.

use std::time::Duration;

use drowse_core::{ErrorCode, Trigger};
use percent_encoding::percent_decode_str;

use crate::{
    problem::Problem,
    types::{Action, OperationRequest},
};

/// Maximum of `wait`.
pub const MAX_WAIT: Duration = Duration::from_secs(3600);
/// Operations in a response without `limit`.
const DEFAULT_LIMIT: usize = 100;
/// Maximum of `limit`.
const MAX_LIMIT: usize = 10_000;

/// Parses `wait=SECONDS` (decimals allowed), `trigger=cli`, and `force` and `refresh` (`true` or
/// `false`) where the action has them.
pub(crate) fn operation_request(
    query: Option<&str>,
    action: Action,
) -> Result<OperationRequest, Problem> {
    let mut request = OperationRequest { action, wait: None, trigger: Trigger::Api };
    for (name, value) in parameters(query) {
        match (name, &*value, &mut request.action) {
            ("wait", text, _) => request.wait = Some(wait(text)?),
            ("trigger", "cli", _) => request.trigger = Trigger::Cli,
            ("trigger", "api", _) => request.trigger = Trigger::Api,
            ("force", "true" | "false", Action::Sleep { force: flag })
            | ("force", "true" | "false", Action::Restart { force: flag })
            | ("force", "true" | "false", Action::Recreate { force: flag, .. })
            | ("refresh", "true" | "false", Action::Recreate { refresh: flag, .. }) => {
                *flag = value == "true";
            }
            ("trigger" | "force" | "refresh", ..) => {
                return Err(refused(format!("{name}={value:?} is not valid for this action")));
            }
            _ => return Err(refused(format!("unknown parameter {name:?}"))),
        }
    }
    Ok(request)
}

/// Parses `workload=NAME` and `limit=NUMBER`.
pub(crate) fn operations(query: Option<&str>) -> Result<(Option<String>, usize), Problem> {
    let (mut workload, mut limit) = (None, DEFAULT_LIMIT);
    for (name, value) in parameters(query) {
        match name {
            "workload" => workload = Some(value),
            "limit" => match value.parse() {
                Ok(number @ 1..=MAX_LIMIT) => limit = number,
                _ => {
                    return Err(refused(format!(
                        "limit={value:?}: write a number up to {MAX_LIMIT}"
                    )));
                }
            },
            _ => {
                let detail = format!("the parameters are `workload` and `limit`, not {name:?}");
                return Err(refused(detail));
            }
        }
    }
    Ok((workload, limit))
}

fn parameters(query: Option<&str>) -> impl Iterator<Item = (&str, String)> {
    let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
    parts.map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (name, percent_decode_str(value).decode_utf8_lossy().into_owned())
    })
}

fn wait(text: &str) -> Result<Duration, Problem> {
    let seconds: Option<f64> = text.parse().ok();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.filter(|duration| *duration <= MAX_WAIT).ok_or_else(|| {
        refused(format!("wait={text:?}: write seconds, such as wait=60, up to 3600"))
    })
}

fn refused(detail: String) -> Problem {
    Problem::new(ErrorCode::InvalidRequest, detail)
}

#[cfg(test)]
mod tests;
