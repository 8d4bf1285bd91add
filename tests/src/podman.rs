//! A Podman of our own, beside whatever runs on the machine: it lives in a network namespace and a
//! mount namespace that were made for it, so its bridge, its firewall rules and its locks are nobody
//! else's. Its containers are reached over a pair of interfaces.

use std::{
    fs,
    ops::Deref,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{engine::Engine, needs, until};

/// Runs the service until its standard input ends, then takes everything away again: so nothing stays
/// behind however the program ends that asked for it.
///
/// Arguments: directory, the name of the namespace and of the interfaces, and the beginnings of two
/// networks: the one between the machine and the namespace, and the one of the containers.
const KEEPER: &str = r#"
dir=$1 name=$2 between=$3 inside=$4
{
    ip netns add "$name" &&
    ip link add "${name}o" type veth peer name "${name}i" netns "$name" &&
    ip address add "$between.1/24" dev "${name}o" && ip link set "${name}o" up &&
    ip -n "$name" address add "$between.2/24" dev "${name}i" &&
    ip -n "$name" link set "${name}i" up && ip -n "$name" link set lo up &&
    ip route add "$inside.0/24" via "$between.2" &&
    ip -n "$name" route add default via "$between.1" && {
        nsenter "--net=/run/netns/$name" unshare --mount sh -c '
            # What Podman shares with every other of this machine.
            mount -t tmpfs none /dev/shm && mount -t tmpfs none /run/netns && exec "$@"
        ' sh podman --root "$dir/root" --runroot "$dir/run" --tmpdir "$dir/tmp" \
            --storage-driver vfs --cgroup-manager cgroupfs --runtime runc --events-backend file \
            --network-backend netavark --network-config-dir "$dir/networks" \
            system service --time=0 "unix://$dir/podman.sock" </dev/null &
        service=$!
        while read -r _; do :; done
        containers=$(docker --host "unix://$dir/podman.sock" ps --all --quiet)
        [ -z "$containers" ] || docker --host "unix://$dir/podman.sock" rm --force $containers
        kill "$service"
        tries=0
        while kill -0 "$service" && [ "$tries" -lt 100 ]; do
            tries=$((tries + 1))
            sleep 0.1
        done
        kill -KILL "$service"
        wait "$service"
        # Who watches over a command inside a container stays for minutes after its end.
        for file in $(grep -ls -- "$dir/" /proc/[0-9]*/cmdline); do
            pid=${file#/proc/}
            [ "${pid%/cmdline}" = "$$" ] || kill -KILL "${pid%/cmdline}"
        done
    }
    # With the namespace its interfaces go, and with them the route.
    ip netns delete "$name"
    rm -rf "$dir"
} >>"$dir/log" 2>&1
"#;

/// What is not said by arguments. The limits are those that any machine allows.
const CONFIG: &str = "\
[containers]
log_driver = \"k8s-file\"
default_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]
";

/// The programs beside the Docker client: `netavark` is looked for where its package puts it.
const PROGRAMS: [&str; 8] =
    ["podman", "conmon", "runc", "ip", "iptables", "nsenter", "unshare", "curl"];

/// Where Debian's package puts what makes Podman's networks.
pub const NETAVARK: &str = "/usr/lib/podman/netavark";

/// A running Podman, asked by Docker's client.
pub struct Podman {
    engine: Engine,
    dir: PathBuf,
    between: String,
    inside: String,
    keeper: Child,
}

// === impl Podman ===

impl Podman {
    /// What this machine lacks to run a Podman with networks.
    pub fn lacks() -> Option<String> {
        if !cfg!(target_os = "linux") || !rustix::process::geteuid().is_root() {
            return Some("a Podman of our own needs Linux and root".to_owned());
        }
        Engine::lacks().or_else(|| needs::lacks(&PROGRAMS)).or_else(|| {
            let found = Path::new(NETAVARK).exists();
            (!found).then(|| format!("{NETAVARK} is missing"))
        })
    }

    /// The one that the tests of one program share. None where it cannot run, after saying so.
    ///
    /// # Panics
    ///
    /// When it does not start although the machine has what it needs.
    pub fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Podman> = OnceLock::new();
        needs::shared(&SHARED, test, Self::lacks(), Self::start)
    }

    /// Starts one with the images of the tests.
    pub fn start() -> Result<Self> {
        if let Some(lack) = Self::lacks() {
            bail!("start a Podman: {lack}");
        }
        let dir = TempDir::with_prefix("drowse-podman-")?.keep();
        let number = std::process::id();
        let part = 1 + number % 250;
        let (between, inside) = (format!("10.205.{part}"), format!("10.206.{part}"));
        fs::write(dir.join("containers.conf"), CONFIG)?;
        fs::create_dir(dir.join("networks"))?;
        // Its own default would be the same for all on this machine.
        let network = json!({
            "name": "podman",
            "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
            "driver": "bridge",
            "network_interface": "podman0",
            "created": "2026-01-01T00:00:00Z",
            "subnets": [{ "subnet": format!("{inside}.0/25"), "gateway": format!("{inside}.1") }],
            "ipv6_enabled": false,
            "internal": false,
            "dns_enabled": false,
            "ipam_options": { "driver": "host-local" },
        });
        fs::write(dir.join("networks/podman.json"), network.to_string())?;
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&dir)
            .args([&format!("drowsep{number}"), &between, &inside])
            .env("CONTAINERS_CONF", dir.join("containers.conf"))
            // A session bus that is not there would be waited for; health checks run by systemd's
            // timers, which tests do not have.
            .env("DISABLE_HC_SYSTEMD", "true")
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("start Podman's keeper")?;
        let engine = Engine::at(dir.join("podman.sock"));
        let mut podman = Self { engine, dir, between, inside, keeper };
        podman.wait_until_it_answers()?;
        podman.make_images()?;
        Ok(podman)
    }

    /// Where ports are reached that containers publish on all interfaces.
    pub fn host(&self) -> String {
        format!("{}.2", self.between)
    }

    /// What another network may give to its containers, so that they can be reached, too.
    pub fn subnet(&self) -> String {
        format!("{}.128/25", self.inside)
    }

    /// All that Podman itself tells of a container: more than Docker's API has words for.
    pub fn inspect_whole(&self, name: &str) -> Result<Value> {
        self.ask(&format!("containers/{name}/json"))
    }

    /// Runs a container's health check now, as systemd's timers do, and says whether it is well.
    pub fn check_health(&self, name: &str) -> Result<bool> {
        Ok(self.ask(&format!("containers/{name}/healthcheck"))?["Status"] == "healthy")
    }

    /// Asks by Podman's own API.
    fn ask(&self, what: &str) -> Result<Value> {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--unix-socket"])
            .arg(self.socket())
            .arg(format!("http://podman/v4.0.0/libpod/{what}"))
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).with_context(|| format!("ask for {what}: {said}"))
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let answered = until("Podman answers", Duration::from_secs(60), || {
            if let Ok(Some(status)) = self.keeper.try_wait() {
                return Some(Err(anyhow!("its keeper ended with {status}")));
            }
            self.run(&["version"]).ok().map(Ok)
        });
        answered.flatten().map(drop).with_context(|| {
            let written = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            format!("start a Podman; it wrote:\n{written}")
        })
    }
}

impl Deref for Podman {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        if let Err(error) = self.keeper.wait() {
            eprintln!("wait for Podman's end: {error}");
        }
    }
}
