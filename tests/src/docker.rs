//! A Docker engine of our own, beside whatever runs on the machine: its data, socket, bridge and
//! containerd namespace are used by nobody else.

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

/// Runs the engine until its standard input ends, then takes everything away again: so nothing
/// stays behind however the program ends that asked for the engine. On its way it is told to let
/// the engine crash and to start it again.
///
/// Arguments: directory, bridge, the bridge's address with prefix; and for an engine that listens
/// on a port, too, to those who show a certificate: the port.
const KEEPER: &str = r#"
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
                # Its containerd ends with it, a little later; an engine that met it would wait for
                # it in vain.
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
    # One that is stopped ends nothing.
    kill -CONT "$engine"
    # Only an engine takes away the containers of one that has crashed.
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
    # Their bridges would stay on the machine.
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
# One that was killed may leave the keeper of a container whose task it has lost, with the container.
for file in $(grep -lsa containerd-shim /proc/[0-9]*/cmdline); do
    shim=${file#/proc/} shim=${shim%/cmdline}
    if [ "$shim" != "$$" ] && grep -qszx -- "$bridge" "$file"; then
        kill -KILL $(cat "/proc/$shim/task/$shim/children") "$shim"
    fi
done >/dev/null 2>&1
# An engine that had to be killed leaves mounts.
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
    keeper: Child,
    port: Option<u16>,
}

/// An engine that is stopped by a signal. It goes on when this is dropped.
pub struct Frozen {
    engine: u32,
}

// === impl Docker ===

impl Docker {
    /// What this machine lacks to run an engine and the servers and clients of the tests.
    pub fn lacks() -> Option<String> {
        static LACKS: OnceLock<Option<String>> = OnceLock::new();
        LACKS.get_or_init(Self::look).clone()
    }

    fn look() -> Option<String> {
        if !cfg!(target_os = "linux") {
            return Some("an engine of our own needs Linux".to_owned());
        }
        if !rustix::process::geteuid().is_root() {
            return Some("an engine of our own needs root".to_owned());
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

    /// The engine that the tests of one program share. None where it cannot run, after saying so.
    ///
    /// # Panics
    ///
    /// When it does not start although the machine has what it needs.
    pub fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Docker> = OnceLock::new();
        needs::shared(&SHARED, test, Self::lacks(), Self::start)
    }

    /// Starts an engine with the images of the tests.
    pub fn start() -> Result<Self> {
        let engine = Self::start_with(TempDir::with_prefix("drowse-docker-")?.keep(), None)?;
        engine.make_images()?;
        Ok(engine)
    }

    /// Starts an engine that listens on a port of the loopback interface, too, to those who show a
    /// certificate.
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
        // The engines of one program differ in the letter, those of two programs in the number.
        let (number, turn) = (std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed) % 4);
        let (letter, network) = [("", 213), ("b", 209), ("c", 208), ("d", 207)][turn as usize];
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&dir)
            .arg(format!("drowse{number}{letter}"))
            .arg(format!("10.{network}.{}.1/24", 1 + number % 250))
            .arg(port.map(|port| port.to_string()).unwrap_or_default())
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("start the Docker engine's keeper")?;
        let engine = Engine::at(dir.join("docker.sock"));
        let mut engine = Self { engine, dir, keeper, port };
        engine.wait_until_it_answers()?;
        Ok(engine)
    }

    /// Where it listens to those who show a certificate.
    pub fn url(&self) -> Option<String> {
        self.port.map(|port| format!("https://127.0.0.1:{port}"))
    }

    /// The files of a client that it listens to: `ca.pem`, `cert.pem` and `key.pem`.
    pub fn tls(&self) -> PathBuf {
        self.dir.join("tls")
    }

    /// Ends the engine as a crash does. Its containers are left alone; what runs goes on until the
    /// engine is started again, which ends it.
    pub fn crash(&self) -> Result<()> {
        self.say("crash")?;
        until("the Docker engine is gone", Duration::from_secs(10), || {
            UnixStream::connect(self.socket()).is_err().then_some(())
        })
    }

    /// Asks the engine to end. It ends its containers first. Returns when it has ended.
    pub fn terminate(&self) -> Result<()> {
        let id = self.id()?;
        self.say("terminate")?;
        until("the Docker engine has ended", Duration::from_secs(60), || {
            (!process::exists(id)).then_some(())
        })
    }

    /// Stops the engine as a machine without a free processor does, until this is dropped. Its
    /// containers go on, and connections to it are accepted.
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

    /// Starts the engine again after it has ended, and waits until it answers.
    pub fn start_again(&self) -> Result<()> {
        self.say("serve")?;
        until("the Docker engine answers again", Duration::from_secs(60), || {
            self.run(&["version"]).ok().map(drop)
        })
        .with_context(|| format!("it wrote:\n{}", self.written()))
    }

    /// A word to the engine's keeper.
    fn say(&self, word: &str) -> Result<()> {
        let mut keeper = self.keeper.stdin.as_ref().context("the engine's keeper has ended")?;
        writeln!(keeper, "{word}").context("speak to the engine's keeper")
    }

    /// What the engine has written.
    fn written(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let limit = Duration::from_secs(60);
        let answered = until("the Docker engine answers", limit, || {
            if let Ok(Some(status)) = self.keeper.try_wait() {
                return Some(Err(anyhow!("its keeper ended with {status}")));
            }
            self.run(&["version"]).ok().map(Ok)
        });
        answered
            .flatten()
            .map(drop)
            .with_context(|| format!("start a Docker engine; it wrote:\n{}", self.written()))
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
            eprintln!("let the Docker engine go on: {error:#}");
        }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        if let Err(error) = self.keeper.wait() {
            eprintln!("wait for the Docker engine's end: {error}");
        }
    }
}
