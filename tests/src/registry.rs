//! An image registry on the loopback interface.

use std::{
    fs,
    net::TcpStream,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{
    Process, TokenServer, curl, needs, ports,
    token_server::{ISSUER, SERVICE},
    until,
};

/// Name of the program in Debian.
const PROGRAM: &str = "docker-registry";

/// A running registry. Dropping it stops it and deletes the pushed images.
pub struct Registry {
    port: u16,
    dir: TempDir,
    process: Process,
}

// === impl Registry ===

impl Registry {
    /// Starts a registry. None, with a message, if the program is not installed.
    pub fn begin(test: &str) -> Result<Option<Self>> {
        if let Some(lack) = needs::lacks(&[PROGRAM]) {
            needs::skip(test, &lack);
            return Ok(None);
        }
        let (port, dir) = (ports::free()?, TempDir::with_prefix("drowse-registry-")?);
        let process = serve(port, &dir, None)?;
        Ok(Some(Self { port, dir, process }))
    }

    /// Host and port, the prefix of its image names.
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Path of the stored content with this digest.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// Uploads a manifest or index under this tag, and returns its digest.
    pub fn put(&self, repository: &str, tag: &str, kind: &str, text: &str) -> Result<String> {
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.name());
        let kind = format!("Content-Type: {kind}");
        let words = ["--silent", "--fail-with-body", "--include", "--request", "PUT", "--header"];
        let output = curl(&[&words[..], &[&kind, "--data-binary", text, &url]].concat())?;
        let stdout = String::from_utf8(output.stdout)?;
        ensure!(output.status.success(), "{stdout}");
        let digest = stdout.lines().find_map(|line| line.split_once("Docker-Content-Digest: "));
        Ok(digest.context("no digest in the response")?.1.trim().to_owned())
    }

    /// Stops the registry.
    pub fn stop(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again, with the pushed images.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = serve(self.port, &self.dir, None)?;
        Ok(())
    }

    /// Restarts it with token authentication.
    pub fn require_tokens(&mut self, tokens: &TokenServer) -> Result<()> {
        self.process.kill()?;
        self.process = serve(self.port, &self.dir, Some(tokens))?;
        Ok(())
    }
}

fn serve(port: u16, dir: &TempDir, tokens: Option<&TokenServer>) -> Result<Process> {
    let config = dir.path().join("config.yml");
    let auth = tokens.map(|tokens| {
        format!(
            "auth:\n  token:\n    realm: {}\n    service: {SERVICE}\n    issuer: {ISSUER}\n    \
             rootcertbundle: {}\n",
            tokens.url(),
            tokens.certificate().display()
        )
    });
    let text = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: \
         127.0.0.1:{port}\n{}",
        dir.path().join("data").display(),
        auth.unwrap_or_default()
    );
    fs::write(&config, text).context("write the registry's configuration")?;
    let mut command = Command::new(PROGRAM);
    command
        .arg("serve")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let process = Process::spawn("the registry", &mut command, Duration::from_secs(5))?;
    until("the registry answers", Duration::from_secs(30), || {
        TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
    })?;
    Ok(process)
}
