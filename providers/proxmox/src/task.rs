//! Tasks: the API runs actions in the background, identified by a UPID.

use drowse_provider_sdk::{clock::Deadline, encode};

use crate::{
    answer::TaskStatus,
    api::{self, ApiError},
    backoff::Backoff,
    handle::is_node,
};

/// A task by its UPID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    upid: String,
    /// Node of the task, which may be another one than the contacted node.
    node: String,
    /// Type, for instance `vzstart`.
    kind: String,
}

/// State of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Finished, perhaps with warnings.
    Success,
    /// Finished with an unreadable last line: the guest's state shows the result.
    Unknown,
    /// Still running.
    Running,
}

// === impl Task ===

impl Task {
    /// Parses `UPID:node:pid:pstart:starttime:type:id:user:`.
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

    /// Follows the task to its end or until the deadline. The error has the task's own message.
    pub(crate) fn follow(&self, mut backoff: Backoff, deadline: Deadline) -> Result<End, ApiError> {
        let path = format!("/nodes/{}/tasks/{}/status", encode(&self.node), encode(&self.upid));
        loop {
            match api::get::<TaskStatus>(&path, &[]) {
                Ok(task) if task.status == "stopped" => {
                    return self.end(task.exitstatus.as_deref().unwrap_or_default());
                }
                Ok(_) => {}
                // The task continues while its node is unreachable.
                Err(refusal) if refusal.is_transient() && deadline.left().is_some() => {}
                Err(refusal) => return Err(refusal),
            }
            if !backoff.wait(deadline) {
                return Ok(End::Running);
            }
        }
    }

    fn end(&self, exit: &str) -> Result<End, ApiError> {
        match exit {
            "OK" => Ok(End::Success),
            warned if warned.starts_with("WARNINGS") => Ok(End::Success),
            "" | "unexpected status" => Ok(End::Unknown),
            text => Err(ApiError::of_task(&self.kind, text)),
        }
    }
}
