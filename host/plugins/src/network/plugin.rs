//! Execution of one CNI plugin.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
};

use super::{
    attachment::{Attachment, NetworkError},
    blocking::BlockingTasks,
};
use crate::{
    settings::NetworkGrant,
    text::{sanitize, seconds},
};

/// Maximum bytes of a plugin's output.
const ANSWER: u64 = 1 << 20;
/// Maximum bytes of a plugin's error in a message.
const MESSAGE: usize = 1 << 10;
/// `PATH` of plugins, for programs that they run, such as iptables.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// CNI command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    Check,
    Del,
}

/// The error result of a plugin.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorResult {
    code: u32,
    msg: String,
    details: String,
}

// === impl Verb ===

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Check => "CHECK",
            Self::Del => "DEL",
        }
    }
}

/// One execution of a plugin.
pub(super) struct Execution<'a> {
    pub(super) program: &'a Path,
    pub(super) verb: Verb,
    pub(super) config: &'a Value,
    pub(super) attachment: &'a Attachment,
    /// Path at which the attachment's namespace is open.
    pub(super) namespace: &'a str,
    /// MAC address of the interface, if it can have one.
    pub(super) mac: Option<&'a str>,
}

/// The plugins of a granted network, and the limit on blocking threads that start them.
pub(super) struct Plugins<'a> {
    pub(super) grant: &'a NetworkGrant,
    pub(super) blocking: &'a BlockingTasks,
}

// === impl Plugins ===

impl Plugins<'_> {
    /// The executable of a plugin, in the first of the granted directories that contains it.
    pub(super) async fn find(&self, kind: &str) -> std::io::Result<Option<PathBuf>> {
        let paths: Vec<PathBuf> = self.grant.plugins.iter().map(|dir| dir.join(kind)).collect();
        let is_file = |path: &PathBuf| path.metadata().is_ok_and(|found| found.is_file());
        let find = move || paths.into_iter().find(is_file);
        self.blocking.run(self.grant.timeout, find).await
    }

    /// Runs a plugin and returns its output. The process is killed on drop and on timeout.
    pub(super) async fn run(&self, execution: Execution<'_>) -> Result<Vec<u8>, NetworkError> {
        let grant = self.grant;
        let Execution { program, verb, attachment, .. } = execution;
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let Attachment { network, container, .. } = attachment;
        let what =
            format!("network {network:?}, container {container:?}: {} by {name:?}", verb.word());
        let exchange = self.exchange(execution);
        let exchanged = tokio::time::timeout(grant.timeout, exchange).await.map_err(|_| {
            NetworkError::Timeout(format!(
                "{what}: it did not exit within {}",
                seconds(grant.timeout)
            ))
        })?;
        let (status, output, errors) =
            exchanged.map_err(|error| NetworkError::Failed(format!("{what}: {error}")))?;
        if output.len() as u64 > ANSWER {
            return Err(NetworkError::Failed(format!("{what}: its output exceeds 1 MiB")));
        }
        if status.success() {
            return Ok(output);
        }
        let why = match serde_json::from_slice::<ErrorResult>(&output) {
            Ok(ErrorResult { code, msg, details }) if !msg.is_empty() => {
                let details = if details.is_empty() { details } else { format!(" ({details})") };
                format!("code {code}: {msg}{details}")
            }
            _ => format!("{status}: {}", String::from_utf8_lossy(&errors).trim()),
        };
        Err(NetworkError::Failed(format!("{what}: {}", sanitize(&why, MESSAGE))))
    }

    async fn exchange(
        &self,
        execution: Execution<'_>,
    ) -> std::io::Result<(std::process::ExitStatus, Vec<u8>, Vec<u8>)> {
        let Execution { program, verb, config, attachment, namespace, mac } = execution;
        let Attachment { container, interface, address, .. } = attachment;
        let directories =
            std::env::join_paths(&self.grant.plugins).map_err(std::io::Error::other)?;
        let mut arguments = "IgnoreUnknown=1".to_owned();
        if let Some(address) = address {
            arguments.push_str(&format!(";IP={address}"));
        }
        if let Some(mac) = mac {
            arguments.push_str(&format!(";MAC={mac}"));
        }
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", PATH)
            .env("CNI_COMMAND", verb.word())
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", namespace)
            .env("CNI_IFNAME", interface)
            .env("CNI_ARGS", arguments)
            .env("CNI_PATH", directories)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // The file system of the executable may hang, and with it the thread that starts it.
        let mut child = self.blocking.run(self.grant.timeout, move || command.spawn()).await??;
        let text = config.to_string();
        let stdin = child.stdin.take();
        let write = async {
            if let Some(mut stdin) = stdin {
                // A plugin need not read all of its input.
                let _ = stdin.write_all(text.as_bytes()).await;
            }
        };
        let Child { stdout, stderr, .. } = &mut child;
        let (stdout, stderr) = (stdout.take(), stderr.take());
        let ((), output, errors) =
            tokio::join!(write, first(stdout, ANSWER + 1), first(stderr, MESSAGE as u64));
        Ok((child.wait().await?, output?, errors?))
    }
}

/// Reads the first `limit` bytes; then the pipe is closed, which ends the writer.
async fn first(from: Option<impl AsyncRead + Unpin>, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(limit).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}
