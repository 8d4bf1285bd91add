//! Compares the router with nginx as a proxy of the same backend, alternately.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Home, Process, client, ports, until};

use super::{cpu, samples::Samples};
use crate::{apt, build, run::output, workspace::Workspace};

/// How long to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds of each proxy and body size.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each round.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
}

/// A proxy under load.
struct Proxy {
    name: &'static str,
    address: SocketAddr,
    process: u32,
}

/// Results of all rounds of a proxy.
#[derive(Default)]
struct Rounds {
    per_second: Samples,
    p99: Samples,
    cpu: Samples,
}

/// Result of one round of `wrk`.
struct Round {
    requests: f64,
    per_second: f64,
    /// In milliseconds.
    p99: f64,
}

const BODIES: [(&str, &str); 2] = [("small", "/small"), ("4 KiB", "/large")];

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let programs = build::programs(workspace)?;
    let missing = apt::ensure(&[("nginx", "nginx-light"), ("wrk", "wrk")])?;
    ensure!(missing.is_empty(), "the benchmark needs {}", missing.join(" and "));

    let home = Home::new(&programs)?;
    let backend = ports::free()?;
    let config = home.path().join("backend.conf");
    fs::write(&config, backend_config(home.path(), backend))?;
    fs::write(home.path().join("large"), "x".repeat(4096))?;
    home.configure(&tables(&config, backend))?;
    let router = home.start()?;
    // The first request wakes the backend.
    let answer = router.get("bench.example", "/small")?;
    ensure!(answer.status == 200, "the backend does not wake:\n{}", router.log().tail(10));

    let port = ports::free()?;
    let config = router.home().path().join("proxy.conf");
    fs::write(&config, proxy_config(router.home().path(), port, backend))?;
    let mut command = nginx(&config);
    let nginx = Process::spawn("nginx", &mut command, Duration::from_secs(5))?;
    let proxies = [
        Proxy { name: "nginx", address: ports::loopback(port), process: nginx.id() },
        Proxy { name: "drowse", address: router.address(), process: router.id() },
    ];
    for proxy in &proxies {
        let answers = || client::answers(proxy.address).then_some(());
        until(&format!("{} answers", proxy.name), Duration::from_secs(10), answers)?;
    }
    compare(&proxies, options)?;
    drop(nginx);
    router.stop()?;
    Ok(())
}

fn compare(proxies: &[Proxy; 2], options: &Options) -> Result<()> {
    println!(
        "\nmedians of {} rounds of {} s, wrk -t1 -c64, everything on the same cores",
        options.rounds, options.seconds
    );
    println!(
        "{:<8} {:<8} {:>12} {:>10} {:>16}",
        "body", "proxy", "requests/s", "p99 ms", "CPU µs/request"
    );
    for (body, path) in BODIES {
        let mut all = [Rounds::default(), Rounds::default()];
        for proxy in proxies {
            wrk(proxy, path, 1)?;
        }
        for round in 0..options.rounds {
            // Alternate the order, because the first proxy has the cooler machine.
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for index in order {
                all[index].measure(&proxies[index], path, options.seconds)?;
            }
        }
        for (proxy, rounds) in proxies.iter().zip(&all) {
            println!(
                "{body:<8} {:<8} {:>12.0} {:>10.2} {:>16.2}",
                proxy.name,
                rounds.per_second.median(),
                rounds.p99.median(),
                rounds.cpu.median(),
            );
        }
        let ratio =
            |value: fn(&Rounds) -> &Samples| value(&all[1]).median() / value(&all[0]).median();
        println!(
            "{body:<8} {:<8} {:>12.2} {:>10.2} {:>16.2}",
            "ratio",
            ratio(|rounds| &rounds.per_second),
            ratio(|rounds| &rounds.p99),
            ratio(|rounds| &rounds.cpu),
        );
    }
    Ok(())
}

fn wrk(proxy: &Proxy, path: &str, seconds: u32) -> Result<Round> {
    let text = output(
        Command::new("wrk")
            .args(["-t1", "-c64", "--latency", &format!("-d{seconds}s")])
            .arg(format!("http://{}{path}", proxy.address)),
    )?;
    Round::parse(&text).with_context(|| format!("{} under wrk:\n{text}", proxy.name))
}

fn tables(config: &Path, backend: u16) -> String {
    format!(
        "[provider.process]\nplugin = \"process\"\n\
         command.backend = {{ run = [\"nginx\", \"-c\", {config:?}] }}\n\n\
         [workload.backend]\nprovider = \"process\"\nidle = \"never\"\nready = {{ http = \"/small\" }}\n\n\
         [[route]]\nworkload = \"backend\"\nport = {backend}\n",
    )
}

fn nginx(config: &Path) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-c").arg(config).stdin(Stdio::null());
    command
}

fn backend_config(dir: &Path, port: u16) -> String {
    let root = dir.display();
    let http = format!(
        "open_file_cache max=10;\nserver {{\n listen 127.0.0.1:{port};\n root {root};\n \
         location /small {{ return 200 \"hello\"; }}\n}}\n"
    );
    config(dir, "backend", 1, &http)
}

fn proxy_config(dir: &Path, port: u16, backend: u16) -> String {
    let http = format!(
        "upstream backend {{\n server 127.0.0.1:{backend};\n keepalive 64;\n \
         keepalive_requests 100000000;\n}}\n\
         server {{\n listen 127.0.0.1:{port};\n location / {{\n  \
         proxy_pass http://backend;\n  proxy_http_version 1.1;\n  \
         proxy_set_header Connection \"\";\n }}\n}}\n"
    );
    config(dir, "proxy", 2, &http)
}

fn config(dir: &Path, name: &str, workers: u32, http: &str) -> String {
    let dir = dir.display();
    // Workers of another user could not write to the directory.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/{name}-{kind};\n"))
        .concat();
    format!(
        "{user}daemon off;\nworker_processes {workers};\npid {dir}/{name}.pid;\n\
         error_log {dir}/{name}.log;\nevents {{ worker_connections 1024; }}\n\
         http {{\naccess_log off;\nkeepalive_requests 100000000;\n{temp}{http}}}\n"
    )
}

// === impl Rounds ===

impl Rounds {
    fn measure(&mut self, proxy: &Proxy, path: &str, seconds: u32) -> Result<()> {
        let before = cpu::seconds(proxy.process)?;
        let round = wrk(proxy, path, seconds)?;
        let used = cpu::seconds(proxy.process)? - before;
        self.per_second.add(round.per_second);
        self.p99.add(round.p99);
        self.cpu.add(used * 1e6 / round.requests);
        Ok(())
    }
}

// === impl Round ===

impl Round {
    /// Parses the output of `wrk`. An error if any request failed.
    fn parse(text: &str) -> Result<Self> {
        let line = |word: &str| text.lines().find(|line| line.contains(word));
        for wrong in ["Socket errors", "Non-2xx"] {
            ensure!(line(wrong).is_none(), "requests failed");
        }
        let word = |name: &str, number: usize| {
            line(name)
                .and_then(|line| line.split_whitespace().nth(number))
                .with_context(|| format!("no {name}"))
        };
        Ok(Self {
            requests: word(" requests in ", 0)?.parse()?,
            per_second: word("Requests/sec:", 1)?.parse()?,
            p99: millis(word("99%", 1)?)?,
        })
    }
}

fn millis(text: &str) -> Result<f64> {
    let border = text.find(|c: char| c.is_alphabetic()).context("a time without a unit")?;
    let (number, unit) = text.split_at(border);
    let unit = match unit {
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        _ => anyhow::bail!("{text} is not a time"),
    };
    Ok(number.parse::<f64>()? * unit)
}

#[cfg(test)]
mod tests;
