//! The containerd provider through the binary, on a real containerd with real CNI plugins.

mod anew;
mod images;
mod remove;

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use drowse_tests::{
    Containerd, Home, Programs, Registry, Router,
    containerd::{IMAGE, PLUGINS},
    curl,
};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(60);

/// The router's configuration.
struct Setting<'a> {
    daemon: &'a Containerd,
    container: &'a str,
    idle: &'a str,
    image: &'a str,
    /// Additional keys of the provider, and of its settings.
    provider: String,
    settings: String,
}

impl<'a> Setting<'a> {
    fn new(daemon: &'a Containerd, container: &'a str, idle: &'a str) -> Self {
        let (provider, settings) = (String::new(), String::new());
        Self { daemon, container, idle, image: IMAGE, provider, settings }
    }

    /// Uses an image of this registry.
    fn with_registry(self, registry: &Registry, image: &'a str) -> Self {
        self.with_registry_and(registry, image, "")
    }

    /// Uses an image of this registry, with additional keys of its endpoint.
    fn with_registry_and(mut self, registry: &Registry, image: &'a str, keys: &str) -> Self {
        let name = registry.name();
        self.image = image;
        self.provider += &format!("endpoint.registry = {{ url = \"http://{name}\"{keys} }}\n");
        self.settings += &format!(", registries = {{ \"{name}\" = \"registry\" }}");
        self
    }

    fn tables(&self, config: &Path, plugins: &[&Path]) -> String {
        let Self { daemon, container, idle, image, provider, settings } = self;
        format!(
            "{}[workload.web]\nprovider = \"box\"\ntarget = \"{container}\"\nidle = \"{idle}\"\n\
             sleep = {{ grace = \"1s\" }}\nsettings = {{ image = \"{image}\" }}\n\n\
             [[route]]\nworkload = \"web\"\nport = 80\n",
            daemon.provider_on(config, plugins, settings, provider),
        )
    }

    fn home(&self) -> Result<Home> {
        let home = Home::new(&Programs::from_env())?;
        home.configure(&self.tables(&self.daemon.network(), &[Path::new(PLUGINS)]))?;
        Ok(home)
    }
}

fn home(daemon: &Containerd, container: &str, idle: &str) -> Result<Home> {
    Setting::new(daemon, container, idle).home()
}

/// Starts the router and waits until it has loaded the plugin.
fn start(home: Home) -> Result<Router> {
    let router = home.start()?;
    drowse_tests::until("the provider is loaded", PATIENCE, || router.provider("box").ok())?;
    Ok(router)
}

/// Sends a request, which must be answered with 200, and returns the body.
fn visit(router: &Router, path: &str) -> Result<String> {
    let answer = router.get("any.example", path)?;
    ensure!(
        answer.status == 200,
        "{} {}; the router's log:\n{}",
        answer.status,
        answer.text(),
        router.log().tail(20)
    );
    Ok(answer.text().trim().to_owned())
}

/// Appends a word to a file in the container and returns the file's contents.
fn note(router: &Router, word: &str) -> Result<String> {
    let output = curl(&["--silent", "--fail", &router.url(&format!("/cgi-bin/note?{word}"))])?;
    ensure!(output.status.success(), "{}; its log:\n{}", output.status, router.log().tail(20));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[test]
fn a_visitor_creates_and_wakes_a_container_which_sleeps_without_leaving_anything_behind()
-> Result<()> {
    let Some(daemon) = Containerd::shared("has_a_container_made") else { return Ok(()) };
    let router = start(home(daemon, "made", "500ms")?)?;
    assert_eq!(router.phase("web")?, "asleep", "it can be created, so it is not missing");
    let (mut addresses, mut macs) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        assert_eq!(visit(&router, "/")?, "<p>awake</p>");
        addresses.push(daemon.addresses("made")?);
        macs.push(daemon.mac_address("made")?);
        router.wait_for_phase("web", "asleep", PATIENCE)?;
        assert_eq!(daemon.task("made")?, None);
        assert_eq!(daemon.addresses("made")?, [""; 0], "still given out");
    }
    assert_eq!(addresses[0].len(), 1, "{addresses:?}");
    assert_eq!(addresses[0], addresses[1], "the address changed");
    assert_eq!(macs[0], macs[1], "the MAC address changed");
    Ok(())
}

#[test]
fn data_outlives_a_container_that_is_deleted_externally() -> Result<()> {
    let Some(daemon) = Containerd::shared("data_outlives") else { return Ok(()) };
    let router = start(home(daemon, "kept", "500ms")?)?;
    assert_eq!(note(&router, "first")?, "first");
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    daemon.run(&["containers", "delete", "--keep-snapshot", "kept"])?;
    // Deleting a lease synchronously runs the garbage collection.
    daemon.run(&["leases", "create", "--id", "collect"])?;
    daemon.run(&["leases", "delete", "--sync", "collect"])?;
    assert_eq!(note(&router, "second")?, "first\nsecond");
    Ok(())
}

#[test]
fn a_failing_cni_plugin_is_reported_and_leaves_nothing_behind() -> Result<()> {
    let Some(daemon) = Containerd::shared("fails_half_way") else { return Ok(()) };
    let (config, plugins) = daemon.broken_network()?;
    let home = Home::new(&Programs::from_env())?;
    let places = [Path::new(PLUGINS), &plugins];
    home.configure(&Setting::new(daemon, "half", "never").tables(&config, &places))?;
    let router = start(home)?;
    let answer = router.get("any.example", "/")?;
    assert!([502, 503].contains(&answer.status), "{}", answer.status);
    let status = router.workload("web")?.to_string();
    assert!(status.contains("fails on purpose"), "{status}");
    assert_eq!(daemon.task("half")?, None);
    assert_eq!(daemon.addresses("half")?, [""; 0], "still given out");
    Ok(())
}

#[test]
fn a_restarted_router_finds_the_container_and_its_address_again() -> Result<()> {
    let Some(daemon) = Containerd::shared("finds_the_container") else { return Ok(()) };
    let mut router = start(home(daemon, "found", "never")?)?;
    assert_eq!(note(&router, "before")?, "before");
    let before = daemon.task("found")?.context("it runs")?;
    router.signal(Signal::KILL)?;
    drowse_tests::until("the router is gone", PATIENCE, || {
        router.ended().ok().flatten().map(drop)
    })?;
    drop(router);
    // Without the label, only the network has the address.
    daemon.run(&["containers", "label", "found", "drowse.address="])?;
    let router = start(home(daemon, "found", "never")?)?;
    assert_eq!(note(&router, "after")?, "before\nafter");
    assert_eq!(daemon.task("found")?, Some(before), "another process");
    Ok(())
}

#[test]
fn manual_changes_are_detected() -> Result<()> {
    let Some(daemon) = Containerd::shared("by_hand") else { return Ok(()) };
    let router = start(home(daemon, "by-hand", "never")?)?;
    visit(&router, "/")?;
    daemon.run(&["tasks", "pause", "by-hand"])?;
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    visit(&router, "/")?;
    daemon.run(&["tasks", "kill", "--signal", "KILL", "by-hand"])?;
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    visit(&router, "/")?;
    Ok(())
}

#[test]
fn a_busy_containerd_container_is_not_put_to_sleep() -> Result<()> {
    let Some(daemon) = Containerd::shared("what_computes") else { return Ok(()) };
    let home = Home::new(&Programs::from_env())?;
    let setting = Setting::new(daemon, "computing", "500ms");
    let tables = setting.tables(&daemon.network(), &[Path::new(PLUGINS)]);
    let busy = "sleep = { grace = \"1s\" }\nkeep-awake-if = { cpu-above = 20 }";
    let tables = tables.replace("sleep = { grace = \"1s\" }", busy);
    // A busy loop runs beside the server from the start on.
    let work = "/bin/httpd -f -p 80 -h /www & while ! test -e /done; do :; done; wait";
    let image = "settings = { image = ";
    let command = format!("settings = {{ command = [\"/bin/sh\", \"-c\", {work:?}], image = ");
    home.configure(&tables.replace(image, &command))?;
    let router = start(home)?;
    visit(&router, "/")?;
    drowse_tests::until("it is found busy", PATIENCE, || {
        let veto = router.workload("web").ok()?["veto"].to_string();
        veto.contains("of a core").then_some(())
    })?;
    assert!(daemon.task("computing")?.is_some());
    let done = ["/bin/sh", "-c", ": >/done"];
    daemon.run(&[&["tasks", "exec", "--exec-id", "done", "computing"][..], &done[..]].concat())?;
    router.wait_for_phase("web", "asleep", PATIENCE)
}

#[test]
fn a_pausing_workload_keeps_its_process_and_its_address() -> Result<()> {
    let Some(daemon) = Containerd::shared("a_pausing_workload") else { return Ok(()) };
    let home = Home::new(&Programs::from_env())?;
    let setting = Setting::new(daemon, "pausing", "500ms");
    let tables = setting.tables(&daemon.network(), &[Path::new(PLUGINS)]);
    home.configure(
        &tables.replace("sleep = { grace = \"1s\" }", "sleep = { method = \"pause\" }"),
    )?;
    let router = start(home)?;
    visit(&router, "/")?;
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    let paused = daemon.task("pausing")?.context("no paused task")?;
    assert_eq!(paused.1, "PAUSED");
    visit(&router, "/")?;
    assert_eq!(daemon.task("pausing")?.context("it runs")?.0, paused.0);
    Ok(())
}
