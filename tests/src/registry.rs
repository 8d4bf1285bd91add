//! A registry of images on the loopback interface.

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
    Giver, Process, curl,
    giver::{ISSUER, SERVICE},
    needs, ports, until,
};

/// Debian's program.
const PROGRAM: &str = "docker-registry";

/// A running registry. Dropping it ends it; what was pushed goes with it.
pub struct Registry {
    port: u16,
    dir: TempDir,
    process: Process,
}

// === impl Registry ===

impl Registry {
    /// Starts one. None where there is no such program, after saying so.
    pub fn begin(test: &str) -> Result<Option<Self>> {
        if let Some(lack) = needs::lacks(&[PROGRAM]) {
            needs::skip(test, &lack);
            return Ok(None);
        }
        let (port, dir) = (ports::free()?, TempDir::with_prefix("drowse-registry-")?);
        let process = serve(port, &dir, None)?;
        Ok(Some(Self { port, dir, process }))
    }

    /// What names of its images begin with.
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it keeps the content of this digest.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// Has a document about an image under this tag, and returns its digest.
    pub fn put(&self, repository: &str, tag: &str, kind: &str, text: &str) -> Result<String> {
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.name());
        let kind = format!("Content-Type: {kind}");
        let words = ["--silent", "--fail-with-body", "--include", "--request", "PUT", "--header"];
        let output = curl(&[&words[..], &[&kind, "--data-binary", text, &url]].concat())?;
        let said = String::from_utf8(output.stdout)?;
        ensure!(output.status.success(), "{said}");
        let digest = said.lines().find_map(|line| line.split_once("Docker-Content-Digest: "));
        Ok(digest.context("no digest is told")?.1.trim().to_owned())
    }

    /// Nobody answers there any more.
    pub fn stop(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again, with what was pushed.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = serve(self.port, &self.dir, None)?;
        Ok(())
    }

    /// Starts it anew, and from now on it serves only those who show a token.
    pub fn guard(&mut self, giver: &Giver) -> Result<()> {
        self.process.kill()?;
        self.process = serve(self.port, &self.dir, Some(giver))?;
        Ok(())
    }
}

fn serve(port: u16, dir: &TempDir, giver: Option<&Giver>) -> Result<Process> {
    let config = dir.path().join("config.yml");
    let guarded = giver.map(|giver| {
        format!(
            "auth:\n  token:\n    realm: {}\n    service: {SERVICE}\n    issuer: {ISSUER}\n    \
             rootcertbundle: {}\n",
            giver.url(),
            giver.certificate().display()
        )
    });
    let text = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: \
         127.0.0.1:{port}\n{}",
        dir.path().join("data").display(),
        guarded.unwrap_or_default()
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
