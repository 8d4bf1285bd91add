//! A private Podman for tests, in its own network and mount namespaces, so that its bridge, firewall
//! rules and locks are independent of any other Podman on the machine. Its containers are reached
//! through a veth pair.

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

/// Supervisor script: runs the service until its standard input is closed, then removes everything, so
/// that nothing is left behind however the test program ends.
///
/// Arguments: directory, the name of the namespace and interfaces, and two network prefixes: between
/// the machine and the namespace, and of the containers.
const SUPERVISOR: &str = r#"
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
            # Directories that all Podmans of the machine share.
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
        # The monitor of an exec session keeps running for minutes after its end.
        for file in $(grep -ls -- "$dir/" /proc/[0-9]*/cmdline); do
            pid=${file#/proc/}
            [ "${pid%/cmdline}" = "$$" ] || kill -KILL "${pid%/cmdline}"
        done
    }
    # Removing the namespace removes its interfaces and the route.
    ip netns delete "$name"
    rm -rf "$dir"
} >>"$dir/log" 2>&1
"#;

/// Configuration without command line options. The limits are those that any machine permits.
const CONFIG: &str = "\
[containers]
log_driver = \"k8s-file\"
default_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]
";

/// Required programs in addition to the Docker client and [`NETAVARK`].
const PROGRAMS: [&str; 8] =
    ["podman", "conmon", "runc", "ip", "iptables", "nsenter", "unshare", "curl"];

/// Path of netavark, Podman's network stack, in Debian's package.
pub const NETAVARK: &str = "/usr/lib/podman/netavark";

/// A running Podman, driven by Docker's client.
pub struct Podman {
    engine: Engine,
    dir: PathBuf,
    between: String,
    inside: String,
    supervisor: Child,
}

// === impl Podman ===

impl Podman {
    /// The first missing requirement for a Podman with networks, if any.
    pub fn lacks() -> Option<String> {
        if !cfg!(target_os = "linux") || !rustix::process::geteuid().is_root() {
            return Some("a private Podman needs Linux and root".to_owned());
        }
        Engine::lacks().or_else(|| needs::lacks(&PROGRAMS)).or_else(|| {
            let found = Path::new(NETAVARK).exists();
            (!found).then(|| format!("{NETAVARK} is missing"))
        })
    }

    /// The Podman shared by the tests of one program. None, with a message, if a requirement is missing.
    ///
    /// # Panics
    ///
    /// If it does not start although all requirements are met.
    pub fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Podman> = OnceLock::new();
        needs::shared(&SHARED, test, Self::lacks(), Self::start)
    }

    /// Starts a Podman and creates the images of the tests.
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
        // The default network would be the same for all Podmans on this machine.
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
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "supervisor"])
            .arg(&dir)
            .args([&format!("drowsep{number}"), &between, &inside])
            .env("CONTAINERS_CONF", dir.join("containers.conf"))
            // Do not wait for a session bus. systemd timers, which run health checks, do not exist in
            // tests.
            .env("DISABLE_HC_SYSTEMD", "true")
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("start Podman's supervisor")?;
        let engine = Engine::at(dir.join("podman.sock"));
        let mut podman = Self { engine, dir, between, inside, supervisor };
        podman.wait_until_ready()?;
        podman.make_images()?;
        Ok(podman)
    }

    /// Host of ports that containers publish on all interfaces.
    pub fn host(&self) -> String {
        format!("{}.2", self.between)
    }

    /// A reachable subnet for another network.
    pub fn subnet(&self) -> String {
        format!("{}.128/25", self.inside)
    }

    /// Podman's own description of a container, which is more complete than that of Docker's API.
    pub fn inspect_whole(&self, name: &str) -> Result<Value> {
        self.libpod_get(&format!("containers/{name}/json"))
    }

    /// Runs a container's health check now, as a systemd timer would. True if it is healthy.
    pub fn check_health(&self, name: &str) -> Result<bool> {
        Ok(self.libpod_get(&format!("containers/{name}/healthcheck"))?["Status"] == "healthy")
    }

    /// `GET` on Podman's own API.
    fn libpod_get(&self, what: &str) -> Result<Value> {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--unix-socket"])
            .arg(self.socket())
            .arg(format!("http://podman/v4.0.0/libpod/{what}"))
            .stdin(Stdio::null())
            .output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).with_context(|| format!("GET {what}: {stderr}"))
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let answered = until("Podman answers", Duration::from_secs(60), || {
            if let Ok(Some(status)) = self.supervisor.try_wait() {
                return Some(Err(anyhow!("its supervisor exited with {status}")));
            }
            self.run(&["version"]).ok().map(Ok)
        });
        answered.flatten().map(drop).with_context(|| {
            let written = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            format!("start a Podman; its log:\n{written}")
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
        drop(self.supervisor.stdin.take());
        if let Err(error) = self.supervisor.wait() {
            eprintln!("wait for Podman's supervisor: {error}");
        }
    }
}
