//! Runs `drowse plugin test` on every bundled provider and its real platform, as a component and as a
//! dynamic library. The skipped checks are known.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use drowse_tests::{
    Containerd, ControlPlane, Docker, FakeProxmox, Hello, Home, Programs, SleepingMachine,
    checks::{
        EXEC, LOGS, OF_HTTP_WAKER, OF_PROCESS, OF_PROXMOX, OF_WAKE_ON_LAN, PAUSE, RECREATE, REMOVE,
    },
    containerd::{IMAGE, PLUGINS},
    control_plane::KEY,
    dylibs::{self, Dylib},
    fake_proxmox::{Generation, TOKEN},
};
use serde_json::Value;

/// Shell script that writes more lines than are returned.
const MUCH: &str = "i=0; while [ $i -lt 300 ]; do i=$((i + 1)); echo $i; done; exit 7";

/// How a provider is built.
#[derive(Clone, Copy)]
enum Built {
    /// The bundled component.
    Component,
    /// This library, copied to the plugins directory and allowed.
    Library(Dylib),
}

impl Built {
    /// A target name that is unique among concurrent tests of all programs, because container runtimes
    /// have machine-wide state.
    fn target(self) -> String {
        let built = match self {
            Self::Component => "component",
            Self::Library(_) => "library",
        };
        format!("conform-{built}-{}", std::process::id())
    }
}

/// Runs the suite on a plugin with these grants. No check may fail, and exactly `skipped` are skipped, in
/// this order.
fn conforms(
    home: &Home,
    plugin: &str,
    built: Built,
    grants: &str,
    skipped: &[&[&str]],
) -> Result<()> {
    home.configure("")?;
    let mut expected = skipped.concat();
    if let Built::Library(library) = built {
        dylibs::put(library, env!("CARGO_TARGET_TMPDIR"), home)?;
        dylibs::allow(home)?;
        // The imports of a library cannot be inspected.
        expected.insert(0, "imports");
    }
    let file = home.path().join("grants.toml");
    fs::write(&file, grants)?;
    let file = file.to_str().context("a path of UTF-8")?;
    let output = home.drowse(&["plugin", "test", plugin, "--grants", file, "--json"])?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_str(&stdout).with_context(|| format!("{stdout}\n{stderr}"))?;
    let kind = match built {
        Built::Component => "component",
        Built::Library(_) => "dylib",
    };
    ensure!(report["plugin"]["kind"] == kind, "another plugin was tested: {:#}", report["plugin"]);
    let failed = named(&report, "failed");
    ensure!(
        output.status.success() && failed.is_empty(),
        "{failed:?} failed: {report:#}\n{stderr}"
    );
    ensure!(report["ok"] == true && report["failed"] == 0, "{report:#}");
    let made = report["checks"].as_array().map_or(0, Vec::len);
    ensure!(made > 50, "only {made} checks: {report:#}");
    assert_eq!(named(&report, "skipped"), expected, "{report:#}");
    Ok(())
}

fn named(report: &Value, verdict: &str) -> Vec<String> {
    let checks = report["checks"].as_array().into_iter().flatten();
    let named = checks.filter(|check| check["verdict"] == verdict);
    named.filter_map(|check| Some(check["name"].as_str()?.to_owned())).collect()
}

/// The key of `[test]` with a command that kills the last start without the provider.
fn kill_the_last(hello: &Hello) -> String {
    format!("disturb = {:?}\n", hello.kill_last_start())
}

fn process(built: Built) -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    let grants = format!(
        "{}[test]\ntarget = \"hello\"\nsettings = {{ port = {} }}\n{}",
        hello.provider(),
        hello.port(),
        kill_the_last(&hello),
    );
    conforms(&home, "process", built, &grants, &OF_PROCESS)?;
    let last = *hello.starts()?.last().context("it was started")?;
    assert!(!drowse_tests::process::exists(last), "the process is still running after the test");
    Ok(())
}

#[test]
fn the_process_provider_conforms_with_real_programs() -> Result<()> {
    process(Built::Component)
}

#[test]
fn the_process_provider_conforms_as_a_library() -> Result<()> {
    process(Built::Library(dylibs::PROCESS))
}

fn docker(engine: &Docker, built: Built) -> Result<()> {
    let name = &built.target();
    engine.create_web(name, 0.0)?;
    let home = Home::new(&Programs::from_env())?;
    let socket = format!("unix://{}", engine.socket().display());
    let endpoint = |name: &str| format!("endpoint.{name} = {{ url = {socket:?} }}\n");
    let grants = format!(
        "[provider.docker]\nplugin = \"docker\"\n{}\n\
         [test]\ntarget = \"{name}\"\ngrace = \"1s\"\nmay-recreate = true\nmay-remove = true\n\
         exec = [\"sh\", \"-c\", {MUCH:?}]\nexec-status = 7\n\
         disturb = [\"docker\", \"--host\", {socket:?}, \"kill\", \"{name}\"]\n",
        ["engine", "exec", "recreate", "remove"].map(endpoint).concat(),
    );
    conforms(&home, "docker", built, &grants, &[])?;
    let left = engine.run(&["ps", "--all", "--quiet", "--filter", &format!("name={name}")])?;
    assert_eq!(left, "", "the container was recreated twice and removed");
    Ok(())
}

#[test]
fn the_docker_provider_conforms_on_a_real_engine() -> Result<()> {
    let Some(engine) = Docker::shared("the_docker_provider_keeps") else { return Ok(()) };
    docker(engine, Built::Component)
}

#[test]
fn the_docker_provider_conforms_as_a_library() -> Result<()> {
    let Some(engine) = Docker::shared("the_docker_provider_as_a_library") else { return Ok(()) };
    docker(engine, Built::Library(dylibs::DOCKER))
}

/// Grants for a container on the daemon.
fn of_containerd(daemon: &Containerd, name: &str, test: &str) -> String {
    let socket = daemon.socket();
    let socket = socket.display();
    let namespace = Containerd::NAMESPACE;
    format!(
        "[provider.box]\nplugin = \"containerd\"\n\
         settings = {{ namespace = \"{namespace}\", network = \"lan\" }}\n\
         endpoint.containerd = {{ url = \"unix://{socket}\" }}\n\
         network.lan = {{ config = {:?}, plugin-dirs = [{PLUGINS:?}], results-dir = {:?} }}\n\n\
         [test]\ntarget = \"{name}\"\ngrace = \"1s\"\n\
         exec = [\"sh\", \"-c\", {MUCH:?}]\nexec-status = 7\n\
         disturb = [\"ctr\", \"--address\", \"{socket}\", \"--namespace\", \"{namespace}\",\
         \"tasks\", \"kill\", \"--signal\", \"KILL\", \"{name}\"]\n{test}",
        daemon.network(),
        daemon.results(),
    )
}

/// A container created with `ctr`; it is removed at the end.
fn containerd(daemon: &Containerd, built: Built) -> Result<()> {
    let name = &built.target();
    daemon.run(&["containers", "create", IMAGE, name])?;
    let home = Home::new(&Programs::from_env())?;
    // The settings name no image, so it cannot be recreated.
    let grants = of_containerd(daemon, name, "may-remove = true\n");
    conforms(&home, "containerd", built, &grants, &[&LOGS, &EXEC, &RECREATE])?;
    let left = daemon.run(&["containers", "list", "--quiet"])?;
    assert!(!left.lines().any(|it| it == name), "it was not removed: {left}");
    assert_eq!(daemon.task(name)?, None);
    assert_eq!(daemon.addresses(name)?, [""; 0], "still given out");
    Ok(())
}

#[test]
fn the_containerd_provider_conforms_on_a_real_daemon() -> Result<()> {
    let Some(daemon) = Containerd::shared("the_containerd_provider_keeps") else { return Ok(()) };
    containerd(daemon, Built::Component)
}

#[test]
fn the_containerd_provider_conforms_as_a_library() -> Result<()> {
    let Some(daemon) = Containerd::shared("the_containerd_provider_as_a_library") else {
        return Ok(());
    };
    containerd(daemon, Built::Library(dylibs::CONTAINERD))
}

#[test]
fn the_containerd_provider_conforms_for_a_container_that_it_creates() -> Result<()> {
    let Some(daemon) = Containerd::shared("a_container_that_it_makes") else { return Ok(()) };
    let home = Home::new(&Programs::from_env())?;
    let name = &format!("conform-made-{}", std::process::id());
    let test = format!(
        "settings = {{ image = {IMAGE:?} }}\nunknown-settings = {{}}\nmay-recreate = true\n"
    );
    let grants = of_containerd(daemon, name, &test);
    let skipped: [&[&str]; 3] = [&LOGS, &EXEC, &REMOVE];
    conforms(&home, "containerd", Built::Component, &grants, &skipped)?;
    assert_eq!(daemon.task(name)?, None, "it must be left as it was found");
    Ok(())
}

/// Runs the suite on one guest of a server of one generation.
fn proxmox(
    built: Built,
    generation: Generation,
    guest: &str,
    test: &str,
    skipped: &[&[&str]],
) -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    let fake = FakeProxmox::begin(generation)?;
    fake.add_container(100, &hello);
    fake.add_machine(101, &hello, Duration::from_millis(50));
    let grants = format!(
        "[provider.pve]\nplugin = \"proxmox\"\n\
         settings = {{ networks = [\"127.0.0.0/8\"], poll = \"50ms\", every = \"200ms\" }}\n\
         [provider.pve.endpoint.api]\nurl = {:?}\nfingerprint = {:?}\n\
         headers = {{ Authorization = \"PVEAPIToken={TOKEN}\" }}\n\n\
         [test]\ntarget = \"{guest}\"\nunknown = \"999\"\n{test}{}",
        fake.url(),
        fake.fingerprint(),
        kill_the_last(&hello),
    );
    conforms(&home, "proxmox", built, &grants, skipped)?;
    assert!(!fake.runs(100)? && !fake.runs(101)?, "it is left as it was found");
    Ok(())
}

/// Containers on servers of both generations.
fn proxmox_containers(built: Built) -> Result<()> {
    for generation in [Generation::Old, Generation::New] {
        // Suspending a container terminates it.
        let test = "without = [\"pause\"]\n";
        let skipped: [&[&str]; 6] = [&["stop-signal"], &PAUSE, &LOGS, &EXEC, &RECREATE, &REMOVE];
        proxmox(built, generation, "100", test, &skipped)?;
    }
    Ok(())
}

#[test]
fn the_proxmox_provider_conforms_for_containers() -> Result<()> {
    proxmox_containers(Built::Component)
}

#[test]
fn the_proxmox_provider_conforms_for_containers_as_a_library() -> Result<()> {
    proxmox_containers(Built::Library(dylibs::PROXMOX))
}

/// Machines on servers of both generations.
fn proxmox_machines(built: Built) -> Result<()> {
    for generation in [Generation::Old, Generation::New] {
        proxmox(built, generation, "101", "", &OF_PROXMOX)?;
    }
    Ok(())
}

#[test]
fn the_proxmox_provider_conforms_for_machines() -> Result<()> {
    proxmox_machines(Built::Component)
}

#[test]
fn the_proxmox_provider_conforms_for_machines_as_a_library() -> Result<()> {
    proxmox_machines(Built::Library(dylibs::PROXMOX))
}

fn http_waker(built: Built) -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    let plane = ControlPlane::begin(&hello)?;
    let (name, key) = KEY;
    let post = |verb: &str| format!("{verb} = {{ path = \"/servers/{{name}}/{verb}\" }}");
    let grants = format!(
        "[provider.plane]\nplugin = \"http-waker\"\n\
         endpoint.api = {{ url = {:?}, headers = {{ {name} = {key:?} }}, rules = [\"* /servers/**\"] }}\n\
         [provider.plane.settings]\npoll = \"50ms\"\npatience = \"10s\"\n{}\n{}\n{}\nstatus = {{ id = \"/id\" }}\n\
         list = {{ path = \"/servers\", items = \"/servers\", every = \"50ms\" }}\n\n\
         [test]\ntarget = \"lobby\"\n{}",
        plane.url(),
        post("pause"),
        post("resume"),
        post("kill"),
        kill_the_last(&hello),
    );
    conforms(&home, "http-waker", built, &grants, &OF_HTTP_WAKER)
}

#[test]
fn the_http_waker_provider_conforms_on_a_control_plane() -> Result<()> {
    http_waker(Built::Component)
}

#[test]
fn the_http_waker_provider_conforms_as_a_library() -> Result<()> {
    http_waker(Built::Library(dylibs::HTTP_WAKER))
}

fn wake_on_lan(built: Built) -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    // The sleep command creates a file with the machine's name.
    let card = SleepingMachine::begin(&hello, home.path().join("nas"))?;
    let grants = format!(
        "[provider.lan]\nplugin = \"wake-on-lan\"\nendpoint.lan = {{ url = {:?} }}\n\
         command.sleep = {{ run = [\"touch\"], allow-extra-arguments = true, directory = {:?} }}\n\n\
         [test]\ntarget = \"nas\"\n\
         settings = {{ mac = \"02:11:22:aa:bb:cc\", address = {:?} }}\n\
         unknown-settings = {{}}\n",
        card.url(),
        home.path(),
        hello.address().to_string(),
    );
    conforms(&home, "wake-on-lan", built, &grants, &OF_WAKE_ON_LAN)
}

#[test]
fn the_wake_on_lan_provider_conforms_on_a_machine() -> Result<()> {
    wake_on_lan(Built::Component)
}

#[test]
fn the_wake_on_lan_provider_conforms_as_a_library() -> Result<()> {
    wake_on_lan(Built::Library(dylibs::WAKE_ON_LAN))
}
