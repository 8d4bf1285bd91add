//! Tasks: what the API has been asked to do goes on in the background, under a UPID.

use drowse_provider_sdk::{clock::Deadline, encode};

use crate::{
    answer::TaskStatus,
    api::{self, Refusal},
    handle::is_node,
    pace::Pace,
};

/// A task by its UPID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    upid: String,
    /// Where it runs, which may be another node than the one that was asked.
    node: String,
    /// For instance `vzstart`.
    kind: String,
}

/// How far a task has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It ended well, perhaps with warnings.
    Well,
    /// It ended and its last line cannot be read: the guest itself shows how.
    Unknown,
    /// It goes on.
    Open,
}

// === impl Task ===

impl Task {
    /// Reads `UPID:node:pid:pstart:starttime:type:id:user:`.
    pub(crate) fn parse(upid: &str) -> Option<Self> {
        let fields: Vec<&str> = upid.split(':').collect();
        let [word, node, .., ""] = fields.as_slice() else { return None };
        let plain =
            upid.len() <= 512 && !upid.chars().any(|c| c.is_control() || "/\\%".contains(c));
        let kind = fields.get(5).filter(|_| plain && *word == "UPID" && fields.len() == 9)?;
        is_node(node).then(|| Self {
            upid: upid.to_owned(),
            node: (*node).to_owned(),
            kind: (*kind).to_owned(),
        })
    }

    /// Follows it to its end or until the deadline. What went wrong is in the task's own words.
    pub(crate) fn follow(&self, mut pace: Pace, deadline: Deadline) -> Result<End, Refusal> {
        let path = format!("/nodes/{}/tasks/{}/status", encode(&self.node), encode(&self.upid));
        loop {
            match api::get::<TaskStatus>(&path, &[]) {
                Ok(task) if task.status == "stopped" => {
                    return self.end(task.exitstatus.as_deref().unwrap_or_default());
                }
                Ok(_) => {}
                // It goes on, though the way to it is cut for a moment.
                Err(refusal) if refusal.passes() && deadline.left().is_some() => {}
                Err(refusal) => return Err(refusal),
            }
            if !pace.wait(deadline) {
                return Ok(End::Open);
            }
        }
    }

    fn end(&self, exit: &str) -> Result<End, Refusal> {
        match exit {
            "OK" => Ok(End::Well),
            warned if warned.starts_with("WARNINGS") => Ok(End::Well),
            "" | "unexpected status" => Ok(End::Unknown),
            text => Err(Refusal::of_task(&self.kind, text)),
        }
    }
}
