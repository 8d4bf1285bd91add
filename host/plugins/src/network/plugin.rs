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

use super::{Attachment, NetworkError};
use crate::{
    fault::{sanitize, seconds},
    settings::NetworkGrant,
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

/// The executable of a plugin, in the first of these directories that contains it.
pub(super) async fn find(directories: &[PathBuf], kind: &str) -> Option<PathBuf> {
    for directory in directories {
        let path = directory.join(kind);
        if tokio::fs::metadata(&path).await.is_ok_and(|found| found.is_file()) {
            return Some(path);
        }
    }
    None
}

/// Runs a plugin for an attachment whose namespace is open at this path, with this MAC address if
/// its interface can have one, and returns its output. The process is killed on drop and on
/// timeout.
pub(super) async fn run(
    program: &Path,
    verb: Verb,
    config: &Value,
    attachment: &Attachment,
    namespace: &str,
    mac: Option<&str>,
    grant: &NetworkGrant,
) -> Result<Vec<u8>, NetworkError> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let Attachment { network, container, .. } = attachment;
    let what = format!("network {network:?}, container {container:?}: {} by {name:?}", verb.word());
    let exchange = exchange(program, verb, config, attachment, namespace, mac, grant);
    let exchanged = tokio::time::timeout(grant.timeout, exchange).await.map_err(|_| {
        NetworkError::Timeout(format!("{what}: it did not exit within {}", seconds(grant.timeout)))
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
    program: &Path,
    verb: Verb,
    config: &Value,
    attachment: &Attachment,
    namespace: &str,
    mac: Option<&str>,
    grant: &NetworkGrant,
) -> std::io::Result<(std::process::ExitStatus, Vec<u8>, Vec<u8>)> {
    let Attachment { container, interface, address, .. } = attachment;
    let directories = std::env::join_paths(&grant.plugins).map_err(std::io::Error::other)?;
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
    let mut child = tokio::task::spawn_blocking(move || command.spawn())
        .await
        .map_err(std::io::Error::other)??;
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

/// Reads the first `limit` bytes; then the pipe is closed, which ends the writer.
async fn first(from: Option<impl AsyncRead + Unpin>, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(limit).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}
