//! A private Docker engine for tests, with its own data directory, socket, bridge and containerd
//! namespace, independent of any other engine on the machine.

use std::{
    fs,
    io::Write,
    ops::Deref,
    os::unix::{net::UnixStream, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    engine::{Engine, PYTHON},
    needs, pki, ports, process, until,
};

/// Supervisor script: runs the engine until its standard input is closed, then removes everything, so
/// that nothing is left behind however the test program ends. Commands on standard input crash the
/// engine, terminate it and start it again.
///
/// Arguments: directory, bridge, the bridge's address with prefix, and optionally the port for clients
/// with a TLS certificate.
const SUPERVISOR: &str = r#"
dir=$1 bridge=$2 address=$3 port=$4
ip link add "$bridge" type bridge || exit 1
ip address add "$address" dev "$bridge" && ip link set "$bridge" up && {
    serve() {
        dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" \
            --host "unix://$dir/docker.sock" --bridge "$bridge" \
            ${port:+--host "tcp://127.0.0.1:$port" --tlsverify --tlscacert "$dir/tls/ca.pem"} \
            ${port:+--tlscert "$dir/tls/engine.pem" --tlskey "$dir/tls/engine-key.pem"} \
            --iptables=false --ip6tables=false --ip-masq=false --ip-forward=false \
            --userland-proxy=false --shutdown-timeout 1 \
            --containerd-namespace "$bridge" --containerd-plugins-namespace "$bridge-plugins" \
            </dev/null >>"$dir/log" 2>&1 &
        engine=$!
    }
    serve
    while read -r word; do
        case $word in
            crash)
                kill -KILL "$engine"
                wait "$engine"
                # Its containerd exits a little later; a new engine that finds it running would wait
                # for it forever.
                containerd=$(cat "$dir/exec/containerd/containerd.pid")
                while kill -0 "$containerd"; do sleep 0.01; done
                ;;
            terminate)
                kill "$engine"
                wait "$engine"
                ;;
            serve) serve ;;
        esac
    done
    # A stopped process does not exit.
    kill -CONT "$engine"
    # Only a running engine can remove the containers of a crashed one.
    if ! kill -0 "$engine"; then
        serve
        tries=0
        until docker --host "unix://$dir/docker.sock" version || [ "$tries" -ge 100 ]; do
            tries=$((tries + 1))
            sleep 0.1
        done
    fi
    containers=$(docker --host "unix://$dir/docker.sock" ps --all --quiet)
    [ -z "$containers" ] || docker --host "unix://$dir/docker.sock" rm --force $containers
    # Remove the bridges of the networks.
    docker --host "unix://$dir/docker.sock" network prune --force
    kill "$engine"
    tries=0
    while kill -0 "$engine" 2>/dev/null && [ "$tries" -lt 100 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
    kill -KILL "$engine" 2>/dev/null
    wait "$engine"
} >/dev/null 2>&1
# A killed engine may leave the shim of a container whose task it has lost, with the container.
for file in $(grep -lsa containerd-shim /proc/[0-9]*/cmdline); do
    shim=${file#/proc/} shim=${shim%/cmdline}
    if [ "$shim" != "$$" ] && grep -qszx -- "$bridge" "$file"; then
        kill -KILL $(cat "/proc/$shim/task/$shim/children") "$shim"
    fi
done >/dev/null 2>&1
# A killed engine leaves mounts.
while read -r _ mount _; do
    case $mount in "$dir"/*) umount -l "$mount" ;; esac
done </proc/mounts
ip link delete "$bridge"
rm -rf "$dir"
"#;

/// A running engine.
pub struct Docker {
    engine: Engine,
    dir: PathBuf,
    supervisor: Child,
    port: Option<u16>,
}

/// An engine stopped by SIGSTOP. Dropping this continues it.
pub struct Frozen {
    engine: u32,
}

// === impl Docker ===

impl Docker {
    /// The first missing requirement for an engine and for the servers and clients of the tests, if any.
    pub fn lacks() -> Option<String> {
        static LACKS: OnceLock<Option<String>> = OnceLock::new();
        LACKS.get_or_init(Self::find_missing).clone()
    }

    fn find_missing() -> Option<String> {
        if !cfg!(target_os = "linux") {
            return Some("a private engine needs Linux".to_owned());
        }
        if !rustix::process::geteuid().is_root() {
            return Some("a private engine needs root".to_owned());
        }
        let lack = Engine::lacks().or_else(|| needs::lacks(&["dockerd", "ip", "curl"]));
        if lack.is_some() {
            return lack;
        }
        let imported = Command::new(PYTHON)
            .args(["-c", "import websockets"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let missing = !imported.is_ok_and(|status| status.success());
        missing.then(|| format!("{PYTHON} with the package websockets is missing"))
    }

    /// The engine shared by the tests of one program. None, with a message, if a requirement is missing.
    ///
    /// # Panics
    ///
    /// If it does not start although all requirements are met.
    pub fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Docker> = OnceLock::new();
        needs::shared(&SHARED, test, Self::lacks(), Self::start)
    }

    /// Starts an engine and creates the images of the tests.
    pub fn start() -> Result<Self> {
        let engine = Self::start_with(TempDir::with_prefix("drowse-docker-")?.keep(), None)?;
        engine.make_images()?;
        Ok(engine)
    }

    /// Starts an engine that also listens on a loopback port, for clients with a TLS certificate.
    pub fn start_with_tls() -> Result<Self> {
        let dir = TempDir::with_prefix("drowse-docker-")?.keep();
        pki::write(&dir.join("tls"))?;
        let engine = Self::start_with(dir, Some(ports::free()?))?;
        engine.make_images()?;
        Ok(engine)
    }

    fn start_with(dir: PathBuf, port: Option<u16>) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        if let Some(lack) = Self::lacks() {
            bail!("start a Docker engine: {lack}");
        }
        // Engines of one program differ in the letter, engines of different programs in the process id.
        let (number, turn) = (std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed) % 4);
        let (letter, network) = [("", 213), ("b", 209), ("c", 208), ("d", 207)][turn as usize];
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "supervisor"])
            .arg(&dir)
            .arg(format!("drowse{number}{letter}"))
            .arg(format!("10.{network}.{}.1/24", 1 + number % 250))
            .arg(port.map(|port| port.to_string()).unwrap_or_default())
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("start the Docker engine's supervisor")?;
        let engine = Engine::at(dir.join("docker.sock"));
        let mut engine = Self { engine, dir, supervisor, port };
        engine.wait_until_ready()?;
        Ok(engine)
    }

    /// URL for clients with a certificate.
    pub fn url(&self) -> Option<String> {
        self.port.map(|port| format!("https://127.0.0.1:{port}"))
    }

    /// Directory of the client files: `ca.pem`, `cert.pem` and `key.pem`.
    pub fn tls(&self) -> PathBuf {
        self.dir.join("tls")
    }

    /// Kills the engine. Running containers keep running until the engine is started again, which stops
    /// them.
    pub fn crash(&self) -> Result<()> {
        self.command("crash")?;
        until("the Docker engine is gone", Duration::from_secs(10), || {
            UnixStream::connect(self.socket()).is_err().then_some(())
        })
    }

    /// Terminates the engine, which stops its containers first. Returns when it has exited.
    pub fn terminate(&self) -> Result<()> {
        let id = self.id()?;
        self.command("terminate")?;
        until("the Docker engine has ended", Duration::from_secs(60), || {
            (!process::exists(id)).then_some(())
        })
    }

    /// Stops the engine's process until the result is dropped. Its containers keep running, and the
    /// kernel still accepts connections to it.
    pub fn freeze(&self) -> Result<Frozen> {
        let frozen = Frozen { engine: self.id()? };
        process::signal(frozen.engine, Signal::STOP)?;
        Ok(frozen)
    }

    fn id(&self) -> Result<u32> {
        let file = self.dir.join("pid");
        let text = fs::read_to_string(&file).context("read the Docker engine's process id")?;
        text.trim().parse().with_context(|| format!("{text:?} is no process id"))
    }

    /// Starts the engine after it has exited, and waits until it answers.
    pub fn start_again(&self) -> Result<()> {
        self.command("serve")?;
        until("the Docker engine answers again", Duration::from_secs(60), || {
            self.run(&["version"]).ok().map(drop)
        })
        .with_context(|| format!("its log:\n{}", self.log_text()))
    }

    /// Sends a command to the supervisor.
    fn command(&self, word: &str) -> Result<()> {
        let mut supervisor =
            self.supervisor.stdin.as_ref().context("the engine's supervisor has exited")?;
        writeln!(supervisor, "{word}").context("write to the engine's supervisor")
    }

    /// The engine's log.
    fn log_text(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let limit = Duration::from_secs(60);
        let answered = until("the Docker engine answers", limit, || {
            if let Ok(Some(status)) = self.supervisor.try_wait() {
                return Some(Err(anyhow!("its supervisor exited with {status}")));
            }
            self.run(&["version"]).ok().map(Ok)
        });
        answered
            .flatten()
            .map(drop)
            .with_context(|| format!("start a Docker engine; its log:\n{}", self.log_text()))
    }
}

impl Deref for Docker {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = process::signal(self.engine, Signal::CONT) {
            eprintln!("continue the Docker engine: {error:#}");
        }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        if let Err(error) = self.supervisor.wait() {
            eprintln!("wait for the Docker engine's supervisor: {error}");
        }
    }
}
