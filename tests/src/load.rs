//! Steady load by `hey`, a client that we did not write.

use std::{
    io::Read,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};

use crate::process::Process;

/// Connections, each kept alive.
const CONNECTIONS: u32 = 10;

/// Load under way.
pub struct Load {
    hey: Process,
    requests: u32,
}

/// What became of the load.
#[derive(Debug)]
pub struct Report {
    /// Requests sent.
    pub requests: u32,
    /// Requests answered 200.
    pub answered: u32,
    /// Requests a second that were reached.
    pub rate: f64,
    /// What `hey` said.
    pub text: String,
}

// === impl Load ===

impl Load {
    /// Begins `per_second` requests a second to `url` with this `Host` for `seconds` seconds.
    pub fn begin(url: &str, host: &str, per_second: u32, seconds: u32) -> Result<Self> {
        let requests = per_second * seconds;
        let mut command = Command::new("hey");
        command
            .args(["-n", &requests.to_string()])
            .args(["-c", &CONNECTIONS.to_string()])
            .args(["-q", &(per_second / CONNECTIONS).to_string()])
            .args(["-t", "30", "-host", host, url])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Ok(Self { hey: Process::spawn("hey", &mut command, Duration::from_secs(1))?, requests })
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.hey.ended()?.is_none())
    }

    /// Waits for its end.
    pub fn finish(mut self, limit: Duration) -> Result<Report> {
        let status = self.hey.wait(limit)?;
        ensure!(status.success(), "hey ended with {status}");
        let mut text = String::new();
        let mut output = self.hey.child().stdout.take().context("hey's output is gone")?;
        output.read_to_string(&mut text)?;
        let number = |line: &str, word: usize| -> Option<f64> {
            line.split_whitespace().nth(word)?.trim_matches(['[', ']']).parse().ok()
        };
        let find = |begin: &str| text.lines().find(|line| line.trim().starts_with(begin));
        let answered = find("[200]").and_then(|line| number(line, 1)).unwrap_or(0.0);
        let rate = find("Requests/sec:")
            .and_then(|line| number(line, 1))
            .ok_or_else(|| anyhow!("hey gave no rate:\n{text}"))?;
        // `hey` counts in whole requests.
        Ok(Report { requests: self.requests, answered: answered as u32, rate, text })
    }
}
