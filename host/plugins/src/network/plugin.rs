//! Runs one CNI plugin.

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
    fault::{clean, seconds},
    settings::NetworkGrant,
};

/// Most that a plugin may answer.
const ANSWER: u64 = 1 << 20;
/// Most of a plugin's own words in a message.
const WORDS: usize = 1 << 10;
/// Where plugins find the programs that they run, such as iptables.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a plugin is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    Check,
    Del,
}

/// What a plugin says when it fails.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
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

/// The program of a plugin, in the first of these directories that has it.
pub(super) async fn find(directories: &[PathBuf], kind: &str) -> Option<PathBuf> {
    for directory in directories {
        let path = directory.join(kind);
        if tokio::fs::metadata(&path).await.is_ok_and(|found| found.is_file()) {
            return Some(path);
        }
    }
    None
}

/// Runs it for an attachment whose namespace is open at this path, with this hardware address if its
/// interface can have one, and returns what it wrote. It is killed when this is dropped or takes too long.
pub(super) async fn run(
    program: &Path,
    verb: Verb,
    config: &Value,
    attachment: &Attachment,
    namespace: &str,
    hardware: Option<&str>,
    grant: &NetworkGrant,
) -> Result<Vec<u8>, NetworkError> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let Attachment { network, container, .. } = attachment;
    let what = format!("network {network:?}, container {container:?}: {} by {name:?}", verb.word());
    let asked = ask(program, verb, config, attachment, namespace, hardware, grant);
    let asked = tokio::time::timeout(grant.timeout, asked).await.map_err(|_| {
        NetworkError::Timeout(format!("{what}: it did not end within {}", seconds(grant.timeout)))
    })?;
    let (ended, said, complained) =
        asked.map_err(|error| NetworkError::Failed(format!("{what}: {error}")))?;
    if said.len() as u64 > ANSWER {
        return Err(NetworkError::Failed(format!("{what}: it answered more than 1 MiB")));
    }
    if ended.success() {
        return Ok(said);
    }
    let why = match serde_json::from_slice::<Refusal>(&said) {
        Ok(Refusal { code, msg, details }) if !msg.is_empty() => {
            let details = if details.is_empty() { details } else { format!(" ({details})") };
            format!("code {code}: {msg}{details}")
        }
        _ => format!("{ended}: {}", String::from_utf8_lossy(&complained).trim()),
    };
    Err(NetworkError::Failed(format!("{what}: {}", clean(&why, WORDS))))
}

async fn ask(
    program: &Path,
    verb: Verb,
    config: &Value,
    attachment: &Attachment,
    namespace: &str,
    hardware: Option<&str>,
    grant: &NetworkGrant,
) -> std::io::Result<(std::process::ExitStatus, Vec<u8>, Vec<u8>)> {
    let Attachment { container, interface, address, .. } = attachment;
    let places = std::env::join_paths(&grant.plugins).map_err(std::io::Error::other)?;
    let mut arguments = "IgnoreUnknown=1".to_owned();
    if let Some(address) = address {
        arguments.push_str(&format!(";IP={address}"));
    }
    if let Some(hardware) = hardware {
        arguments.push_str(&format!(";MAC={hardware}"));
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
        .env("CNI_PATH", places)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // Where its file lies may hang, and with it the thread that starts it.
    let mut child = tokio::task::spawn_blocking(move || command.spawn())
        .await
        .map_err(std::io::Error::other)??;
    let text = config.to_string();
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // A plugin need not read to the end.
            let _ = stdin.write_all(text.as_bytes()).await;
        }
    };
    let Child { stdout, stderr, .. } = &mut child;
    let (stdout, stderr) = (stdout.take(), stderr.take());
    let ((), said, complained) =
        tokio::join!(write, first(stdout, ANSWER + 1), first(stderr, WORDS as u64));
    Ok((child.wait().await?, said?, complained?))
}

/// The first bytes; the rest is read by nobody, so the writer ends.
async fn first(from: Option<impl AsyncRead + Unpin>, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(limit).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}
