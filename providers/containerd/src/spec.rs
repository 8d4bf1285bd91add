//! OCI runtime specification of a new container, with the defaults of Docker and `ctr`.

use drowse_provider_sdk::{Error, Result};
use serde_json::{Value, json};

use crate::{image::Config, proto::Container, settings::TargetSettings};

/// Capabilities of root in a container, as with Docker.
const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Search path of programs if the image has none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// containerd's type URL of a specification in JSON.
pub(crate) const TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";

/// Network mode of a container, by its specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetworkMode {
    /// The container shares the host's network.
    Host,
    /// The container has its own network namespace, which the provider attaches.
    Own,
    /// The network is managed elsewhere: a namespace created elsewhere, or hooks that attach it.
    Foreign,
}

/// Builds the specification of a container with this id.
pub(crate) fn build(
    namespace: &str,
    id: &str,
    config: &Config,
    own: &TargetSettings,
) -> Result<Value> {
    let mut namespaces: Vec<Value> =
        ["pid", "ipc", "uts", "mount"].map(|kind| json!({ "type": kind })).into();
    if !own.host_network {
        namespaces.push(json!({ "type": "network" }));
    }
    let (uid, gid) = user(own.user.as_deref().unwrap_or(&config.user))?;
    let directory = own.directory.as_deref().unwrap_or(&config.working_dir);
    Ok(json!({
        "ociVersion": "1.0.2",
        "hostname": id,
        "root": { "path": "rootfs" },
        "process": {
            "args": arguments(config, own)?,
            "env": environment(config, own),
            "cwd": if directory.is_empty() { "/" } else { directory },
            "user": { "uid": uid, "gid": gid },
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES,
            },
        },
        "mounts": mounts(own),
        "linux": {
            "namespaces": namespaces,
            "cgroupsPath": format!("/{namespace}/{id}"),
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
                "/sys/firmware",
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
            ],
        },
    }))
}

fn arguments(config: &Config, own: &TargetSettings) -> Result<Vec<String>> {
    if let Some(command) = &own.command {
        return Ok(command.clone());
    }
    let parts = [&config.entrypoint, &config.cmd].into_iter().flatten().flatten();
    let arguments: Vec<String> = parts.cloned().collect();
    if arguments.is_empty() {
        return Err(Error::invalid_request("the image has no program; set `command`"));
    }
    Ok(arguments)
}

/// The image's variables, overridden by the operator's.
fn environment(config: &Config, own: &TargetSettings) -> Vec<String> {
    let image = config.env.iter().flatten().cloned();
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let mut all: Vec<String> = image.filter(|it| !own.env.contains_key(&name(it))).collect();
    all.extend(own.env.iter().map(|(name, value)| format!("{name}={value}")));
    if !all.iter().any(|variable| variable.starts_with("PATH=")) {
        all.push(PATH.to_owned());
    }
    all
}

fn user(text: &str) -> Result<(u32, u32)> {
    let number = |word: &str| match word {
        "" | "root" => Some(0),
        word => word.parse().ok(),
    };
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    number(user).zip(number(group)).ok_or_else(|| {
        Error::invalid_request(format!(
            "the image runs as {text:?}, and user names cannot be looked up in it; set `user` to \
             numeric ids"
        ))
    })
}

fn mounts(own: &TargetSettings) -> Vec<Value> {
    let system = |kind: &str, target: &str, source: &str, options: &[&str]| json!({ "type": kind, "destination": target, "source": source, "options": options });
    let quiet = ["nosuid", "noexec", "nodev"];
    let mut mounts = vec![
        system("proc", "/proc", "proc", &quiet),
        system("tmpfs", "/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        system(
            "devpts",
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        system(
            "tmpfs",
            "/dev/shm",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        ),
        system("mqueue", "/dev/mqueue", "mqueue", &quiet),
        system("sysfs", "/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ];
    mounts.extend(own.mounts.iter().map(|mount| {
        let access = if mount.read_only { "ro" } else { "rw" };
        system("bind", &mount.target, &mount.source, &["rbind", access])
    }));
    mounts
}

/// Network mode of a container.
pub(crate) fn network_mode(container: &Container) -> NetworkMode {
    let spec = container.spec.as_ref().map(|spec| spec.value.as_slice()).unwrap_or_default();
    let Ok(spec) = serde_json::from_slice::<Value>(spec) else { return NetworkMode::Foreign };
    let hooks = ["prestart", "createRuntime", "createContainer"];
    let hooked = hooks
        .iter()
        .any(|hook| spec["hooks"][hook].as_array().is_some_and(|hooks| !hooks.is_empty()));
    let namespaces = spec["linux"]["namespaces"].as_array().map(Vec::as_slice).unwrap_or_default();
    match namespaces.iter().find(|namespace| namespace["type"] == "network") {
        None => NetworkMode::Host,
        Some(_) if hooked => NetworkMode::Foreign,
        Some(namespace) if namespace["path"].as_str().is_some_and(|it| !it.is_empty()) => {
            NetworkMode::Foreign
        }
        Some(_) => NetworkMode::Own,
    }
}
