//! The parameters of requests.

use std::time::Duration;

use drowse_core::{ErrorCode, Source};
use percent_encoding::percent_decode_str;

use crate::{
    problem::Problem,
    types::{Action, Order},
};

/// Nobody waits for longer than this in one request.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// So many operations are told when nobody says how many.
const USUAL: usize = 100;
/// So many at most.
const MOST: usize = 10_000;

/// `wait=SECONDS`, with decimals if need be, `source=cli`, and `true` or `false` for what the action
/// has of `force` and `refresh`.
pub(crate) fn order(query: Option<&str>, action: Action) -> Result<Order, Problem> {
    let mut order = Order { action, wait: None, source: Source::Api };
    for (name, value) in parameters(query) {
        match (name, &*value, &mut order.action) {
            ("wait", text, _) => order.wait = Some(wait(text)?),
            ("source", "cli", _) => order.source = Source::Cli,
            ("source", "api", _) => order.source = Source::Api,
            ("force", "true" | "false", Action::Sleep { force: wish })
            | ("force", "true" | "false", Action::Restart { force: wish })
            | ("force", "true" | "false", Action::Recreate { force: wish, .. })
            | ("refresh", "true" | "false", Action::Recreate { refresh: wish, .. }) => {
                *wish = value == "true";
            }
            ("source" | "force" | "refresh", ..) => {
                return Err(refused(format!("{name}={value:?} makes no sense here")));
            }
            _ => return Err(refused(format!("there is no parameter {name:?} here"))),
        }
    }
    Ok(order)
}

/// `workload=NAME` and `limit=NUMBER`.
pub(crate) fn operations(query: Option<&str>) -> Result<(Option<String>, usize), Problem> {
    let (mut workload, mut limit) = (None, USUAL);
    for (name, value) in parameters(query) {
        match name {
            "workload" => workload = Some(value),
            "limit" => match value.parse() {
                Ok(number @ 1..=MOST) => limit = number,
                _ => return Err(refused(format!("limit={value:?}: write a number up to {MOST}"))),
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
    duration.filter(|duration| *duration <= LONGEST_WAIT).ok_or_else(|| {
        refused(format!("wait={text:?}: write seconds, such as wait=60, up to 3600"))
    })
}

fn refused(detail: String) -> Problem {
    Problem::new(ErrorCode::InvalidRequest, detail)
}

#[cfg(test)]
mod tests;
