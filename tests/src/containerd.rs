//! A private containerd for tests, with its own data directory, socket and bridge, independent of any
//! other containerd on the machine.

mod image;

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::json;
use tempfile::TempDir;

pub use self::image::Image;
use crate::{needs, until};

/// Supervisor script: runs the daemon until its standard input is closed, then removes everything, so
/// that nothing is left behind however the test program ends.
///
/// Arguments: directory, bridge, namespace.
const SUPERVISOR: &str = r#"
dir=$1 bridge=$2 namespace=$3
containerd --config "$dir/config.toml" </dev/null >>"$dir/log" 2>&1 &
daemon=$!
while read -r _; do :; done
own() { ctr --address "$dir/containerd.sock" --namespace "$namespace" "$@"; }
{
    for task in $(own tasks list --quiet); do
        own tasks kill --signal KILL "$task"
        tries=0
        until own tasks delete --force "$task" || [ "$tries" -ge 50 ]; do
            tries=$((tries + 1))
            sleep 0.1
        done
    done
    kill "$daemon"
    wait "$daemon"
    while read -r _ mount _; do
        case $mount in "$dir"/*) umount -l "$mount" ;; esac
    done </proc/mounts
    ip link delete "$bridge"
    rm -rf "$dir"
} >/dev/null 2>&1
"#;

/// Image of the web server.
pub const IMAGE: &str = "docker.io/library/web:1";

/// Directory of the CNI plugins in Debian's package.
pub const PLUGINS: &str = "/usr/lib/cni";

/// A running daemon.
pub struct Containerd {
    dir: PathBuf,
    supervisor: Child,
}

// === impl Containerd ===

impl Containerd {
    /// The containerd namespace of the tests.
    pub const NAMESPACE: &'static str = "drowse-test";

    /// The first missing requirement for a containerd with networks, if any.
    pub fn lacks() -> Option<String> {
        if !cfg!(target_os = "linux") || !rustix::process::geteuid().is_root() {
            return Some("a private containerd needs Linux and root".to_owned());
        }
        let programs = ["containerd", "ctr", "runc", "ip", "busybox", "tar", "sha256sum"];
        needs::lacks(&programs).or_else(|| {
            let bridge = Path::new(PLUGINS).join("bridge");
            (!bridge.exists()).then(|| format!("the CNI plugin {} is missing", bridge.display()))
        })
    }

    /// The daemon shared by the tests of one program. None, with a message, if a requirement is missing.
    ///
    /// # Panics
    ///
    /// If it does not start although all requirements are met.
    pub fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Containerd> = OnceLock::new();
        needs::shared(&SHARED, test, Self::lacks(), Self::start)
    }

    /// Starts a daemon and imports [`IMAGE`].
    pub fn start() -> Result<Self> {
        if let Some(lack) = Self::lacks() {
            bail!("start a containerd: {lack}");
        }
        let dir = TempDir::with_prefix("drowse-containerd-")?.keep();
        let number = std::process::id();
        let bridge = format!("drowsec{number}");
        let shown = dir.display();
        fs::write(
            dir.join("config.toml"),
            format!(
                "version = 2\nroot = \"{shown}/root\"\nstate = \"{shown}/state\"\n\
                 disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
                 [grpc]\naddress = \"{shown}/containerd.sock\"\n"
            ),
        )?;
        let lan = json!({
            "cniVersion": "1.0.0",
            "name": "drowse-test",
            "plugins": [{
                "type": "bridge",
                "bridge": bridge,
                "isGateway": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": dir.join("ipam"),
                    "ranges": [[{ "subnet": format!("10.214.{}.0/24", 1 + number % 250) }]],
                },
            }],
        });
        fs::write(dir.join("lan.conflist"), lan.to_string())?;
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "supervisor"])
            .arg(&dir)
            .args([&bridge, Self::NAMESPACE])
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("start containerd's supervisor")?;
        let mut daemon = Self { dir, supervisor };
        daemon.wait_until_ready()?;
        daemon.import(&Image::new(IMAGE, "awake"))?;
        Ok(daemon)
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("containerd.sock")
    }

    /// CNI configuration with addresses of the private bridge.
    pub fn network(&self) -> PathBuf {
        self.dir.join("lan.conflist")
    }

    /// The same configuration with an additional plugin that always fails, and that plugin's directory.
    pub fn broken_network(&self) -> Result<(PathBuf, PathBuf)> {
        let mut lan: serde_json::Value = serde_json::from_slice(&fs::read(self.network())?)?;
        lan["plugins"].as_array_mut().context("no plugins")?.push(json!({ "type": "fails" }));
        let (config, plugins) = (self.dir.join("broken.conflist"), self.dir.join("plugins"));
        fs::write(&config, lan.to_string())?;
        fs::create_dir_all(&plugins)?;
        let fails = "#!/bin/sh\n[ \"$CNI_COMMAND\" = DEL ] && exit 0\n\
                     echo '{\"code\":11,\"msg\":\"fails on purpose\"}'\nexit 1\n";
        script(&plugins.join("fails"), fails)?;
        Ok((config, plugins))
    }

    /// Directory for the results of CNI ADD.
    pub fn results(&self) -> PathBuf {
        self.dir.join("results")
    }

    /// MAC address of a container's interface, from the stored CNI result.
    pub fn mac_address(&self, container: &str) -> Result<String> {
        let own = format!("--{container}@eth0");
        for entry in fs::read_dir(self.results())? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().ends_with(&own) {
                continue;
            }
            let kept: serde_json::Value = serde_json::from_slice(&fs::read(entry.path())?)?;
            let interfaces = kept["result"]["interfaces"].as_array().context("no interfaces")?;
            let inside =
                |it: &&serde_json::Value| it["sandbox"].as_str().is_some_and(|it| !it.is_empty());
            let inside = interfaces.iter().find(inside).context("no interface of the container")?;
            return Ok(inside["mac"].as_str().context("it has no MAC address")?.to_owned());
        }
        bail!("{container:?} is not attached")
    }

    /// IP addresses currently allocated to a container.
    pub fn addresses(&self, container: &str) -> Result<Vec<String>> {
        // host-local has one file per address, with the owner's name.
        let Ok(entries) = fs::read_dir(self.dir.join("ipam/drowse-test")) else {
            return Ok(Vec::new());
        };
        let owner = format!("{}--{container}", Self::NAMESPACE);
        let mut addresses = Vec::new();
        for entry in entries {
            let entry = entry?;
            if fs::read_to_string(entry.path())?.lines().next() == Some(owner.as_str()) {
                addresses.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(addresses)
    }

    /// Configuration table of a provider `box` on this daemon and its network, with additional settings
    /// and keys.
    pub fn provider(&self, settings: &str, keys: &str) -> String {
        self.provider_on(&self.network(), &[Path::new(PLUGINS)], settings, keys)
    }

    /// As [`Containerd::provider`], with another network.
    pub fn provider_on(
        &self,
        config: &Path,
        plugins: &[&Path],
        settings: &str,
        keys: &str,
    ) -> String {
        format!(
            "[provider.box]\nplugin = \"containerd\"\n\
             settings = {{ namespace = \"{}\", network = \"lan\"{settings} }}\n{keys}\
             endpoint.containerd = {{ url = \"unix://{}\" }}\n\
             network.lan = {{ config = \"{}\", plugin-dirs = {plugins:?}, results-dir = \"{}\" }}\n\n",
            Self::NAMESPACE,
            self.socket().display(),
            config.display(),
            self.results().display(),
        )
    }

    /// Command line of `ctr` with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let socket = self.socket();
        let socket = socket.to_str().context("a path of UTF-8")?;
        let own = ["ctr", "--address", socket, "--namespace", Self::NAMESPACE];
        Ok(own.into_iter().chain(arguments.iter().copied()).map(str::to_owned).collect())
    }

    /// Runs `ctr` with these arguments and returns its standard output.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let words = self.command(arguments)?;
        let output = Command::new(&words[0]).args(&words[1..]).stdin(Stdio::null()).output()?;
        ensure!(
            output.status.success(),
            "ctr {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr),
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Process id and status of a container's task, if it has one.
    pub fn task(&self, container: &str) -> Result<Option<(u32, String)>> {
        let listed = self.run(&["tasks", "list"])?;
        let words =
            |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
        let found = listed.lines().map(words).find(|words| words[0] == container);
        let Some(words) = found else { return Ok(None) };
        let pid = words.get(1).and_then(|pid| pid.parse().ok()).context("a task without a pid")?;
        Ok(Some((pid, words.get(2).cloned().unwrap_or_default())))
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let answered = until("containerd answers", Duration::from_secs(60), || {
            if let Ok(Some(status)) = self.supervisor.try_wait() {
                return Some(Err(anyhow!("its supervisor exited with {status}")));
            }
            self.run(&["version"]).ok().map(Ok)
        });
        answered.flatten().map(drop).with_context(|| {
            let written = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            format!("start a containerd; its log:\n{written}")
        })
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        if let Err(error) = self.supervisor.wait() {
            eprintln!("wait for containerd's supervisor: {error}");
        }
    }
}

fn script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
