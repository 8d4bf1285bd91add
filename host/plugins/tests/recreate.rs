//! Recreation and removal of containers of a real engine.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use drowse_core::{
    ErrorCode, Failure, Observation, Provider as _, RecreateOptions, RemoveOptions, Status,
    StopOptions,
};
use drowse_plugins::PluginProvider;
use drowse_tests::{
    Docker, Recorder, Registry,
    recorder::{Cut, RecordedRequest},
};
use serde_json::{Value, json};
use support::{Stage, start, target};

/// Runs until SIGTERM.
const POLITE: &str = "trap 'exit 0' TERM; while :; do sleep 0.05; done";

/// Rules that allow everything used here.
const GRANTS: [&str; 4] = ["engine", "exec", "recreate", "remove"];

/// An engine behind a recording proxy, and a provider that calls it.
struct Scene {
    engine: &'static Docker,
    recorder: Recorder,
    provider: Arc<PluginProvider>,
    _stage: Stage,
}

// === impl Scene ===

impl Scene {
    async fn begin(test: &str) -> Option<Self> {
        let engine = Docker::shared(test)?;
        let stage = Stage::new();
        let recorder = Recorder::begin(&stage.path("docker.sock"), engine.socket()).unwrap();
        let endpoints = GRANTS.map(|name| (name, recorder.socket()));
        let provider = support::docker(test, &stage, &endpoints).await?;
        Some(Self { engine, recorder, provider, _stage: stage })
    }

    async fn recreate(&self, name: &str, refresh: bool) -> Result<Observation, Failure> {
        let stop = StopOptions { signal: None, grace: Duration::from_secs(5) };
        self.provider.recreate(&target(name), &RecreateOptions { refresh, stop }).await
    }

    async fn remove(&self, name: &str, preserve_data: bool) -> Result<(), Failure> {
        self.provider.remove(&target(name), &RemoveOptions { preserve_data }).await
    }

    /// Runs `docker` with these arguments.
    fn docker(&self, words: &[&str]) -> String {
        self.engine.run(words).unwrap()
    }

    /// Creates a container of the image `web` that runs until SIGTERM.
    fn create(&self, name: &str, options: &[&str]) {
        let words = [&["create", "--name", name], options, &["web", "/bin/sh", "-c", POLITE]];
        self.docker(&words.concat());
    }

    fn id(&self, name: &str) -> String {
        self.engine.inspect(name).unwrap()["Id"].as_str().unwrap().to_owned()
    }

    /// Names of all containers with this prefix.
    fn containers(&self, beginning: &str) -> Vec<String> {
        let all = self.docker(&["ps", "--all", "--format", "{{.Names}}"]);
        let mut names: Vec<_> = all.lines().map(str::to_owned).collect();
        names.retain(|name| name.starts_with(beginning));
        names
    }

    fn sh(&self, name: &str, script: &str) -> String {
        self.docker(&["exec", name, "/bin/sh", "-c", script])
    }

    /// An image that uses every setting.
    fn image(&self, name: &str, more: &[&str]) {
        let maker = format!("maker-{}", name.replace(['/', ':'], "-"));
        self.docker(&["create", "--name", &maker, "web", "/bin/sh"]);
        let changes = [
            "ENV PATH=/bin",
            "ENV FROM_IMAGE=1",
            "ENTRYPOINT [\"/bin/sh\",\"-c\"]",
            "CMD [\"sleep 1000\"]",
            "VOLUME [\"/data\",\"/cache\"]",
            "EXPOSE 80",
            "LABEL of=image version=1",
            "WORKDIR /www",
            "HEALTHCHECK --interval=30s CMD [\"/bin/sh\",\"-c\",\"exit 0\"]",
        ];
        let mut words = vec!["commit"];
        for change in changes.iter().chain(more) {
            words.extend(["--change", change]);
        }
        words.extend([maker.as_str(), name]);
        self.docker(&words);
        self.docker(&["rm", &maker]);
    }
}

/// The parts of an inspected container that must not change, normalized: without IDs and addresses
/// that the engine chose, and with unordered lists sorted.
fn lasting(inspected: &Value) -> Value {
    let mut lasting = json!({});
    for key in ["Image", "Name", "Driver", "Platform"] {
        lasting[key] = inspected[key].clone();
    }
    let id = inspected["Id"].as_str().unwrap();
    let mut config = inspected["Config"].clone();
    // A volume is in `Mounts` on creation, and bound by name afterwards.
    config["Volumes"] = Value::Null;
    config["Labels"].as_object_mut().unwrap().remove("io.drowse.recreated-from");
    if config["Hostname"].as_str().is_some_and(|name| id.starts_with(name)) {
        config["Hostname"] = json!("generated");
    }
    sort(&mut config["Env"]);
    lasting["Config"] = config;
    let mut host = inspected["HostConfig"].clone();
    let hex = |name: &str| name.len() == 64;
    for bind in std::mem::take(&mut host["Binds"]).as_array().into_iter().flatten() {
        let bind = bind.as_str().unwrap();
        if !bind.split(':').next().is_some_and(hex) {
            lasting["Binds"][bind] = json!(true);
        }
    }
    for mount in host["Mounts"].as_array_mut().into_iter().flatten() {
        if mount["Source"].as_str().is_some_and(hex) {
            mount.as_object_mut().unwrap().remove("Source");
        }
    }
    lasting["HostConfig"] = host;
    for mount in inspected["Mounts"].as_array().unwrap() {
        let kept = ["Type", "Name", "RW", "Source"].map(|key| mount[key].clone());
        lasting["Mounted"][mount["Destination"].as_str().unwrap()] = json!(kept);
    }
    for (name, network) in inspected["NetworkSettings"]["Networks"].as_object().unwrap() {
        let aliases = network["Aliases"].as_array().into_iter().flatten();
        let aliases: BTreeSet<_> = aliases.filter_map(Value::as_str).collect();
        let aliases: Vec<_> = aliases.into_iter().filter(|alias| !id.starts_with(*alias)).collect();
        // Defaults are written as null or as an empty table.
        let chosen = ["IPAMConfig", "DriverOpts"].map(|key| match &network[key] {
            value if *value == json!({}) => Value::Null,
            value => value.clone(),
        });
        lasting["Networks"][name] = json!([aliases, chosen]);
    }
    lasting
}

fn sort(list: &mut Value) {
    if let Some(items) = list.as_array_mut() {
        items.sort_by_key(ToString::to_string);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_and_data_are_kept_over_repeated_recreations() {
    let test = "settings_and_data_are_kept_over_repeated_recreations";
    let Some(scene) = Scene::begin(test).await else { return };
    scene.image("everything:1", &[]);
    let net = format!("10.212.{}", 1 + std::process::id() % 250);
    for (name, from) in [("front", 0), ("back", 128)] {
        scene.docker(&["network", "create", "--subnet", &format!("{net}.{from}/25"), name]);
    }
    let (front, back) = (format!("{net}.7"), format!("{net}.135"));
    let socket = scene.engine.socket();
    let directory = socket.parent().unwrap().to_str().unwrap();
    let shared = format!("{directory}:/shared:ro");
    #[rustfmt::skip]
    let options = [
        "create", "--name", "everything", "--hostname", "everyone", "--domainname", "example.org",
        "--network", "front", "--ip", &front, "--network-alias", "front-door",
        "--env", "OWN=1", "--env", "FROM_IMAGE=2", "--label", "own=yes", "--label", "version=2",
        "--volume", "named:/named", "--volume", &shared, "--volume", "/anonymous", "--volume", "/data",
        "--mount", "type=volume,target=/mounted", "--tmpfs", "/run:size=1m",
        "--publish", "127.0.0.1:0:80", "--publish", "8080/udp", "--expose", "9090",
        "--restart", "unless-stopped", "--memory", "64m", "--pids-limit", "50", "--cpu-shares", "200",
        "--ulimit", "nofile=100:200", "--cap-add", "NET_ADMIN", "--cap-drop", "MKNOD",
        "--health-interval", "5s", "--stop-signal", "SIGTERM", "--stop-timeout", "3",
        "--user", "0", "--workdir", "/named", "--add-host", "db:10.0.0.1", "--dns", "10.0.0.53",
        "--log-opt", "max-size=1m", "--init", "--security-opt", "no-new-privileges", "--tty",
        "everything:1", POLITE,
    ];
    scene.docker(&options);
    scene.docker(&[
        "network",
        "connect",
        "--alias",
        "back-door",
        "--ip",
        &back,
        "back",
        "everything",
    ]);
    start(&scene.provider, "everything").await.unwrap();
    scene.sh(
        "everything",
        "for dir in data cache anonymous mounted named; do echo $dir >/$dir/kept; done",
    );

    let first = scene.engine.inspect("everything").unwrap();
    let mut id = first["Id"].clone();
    let entry = json!([["everyone", "front-door"], [{ "IPv4Address": front }, null]]);
    assert_eq!(lasting(&first)["Networks"]["front"], entry, "the comparison covers it");
    for _ in 0..2 {
        let seen = scene.recreate("everything", false).await.unwrap();
        assert_eq!(seen.status, Status::Running);
        let now = scene.engine.inspect("everything").unwrap();
        assert_ne!(now["Id"], id);
        assert_eq!(now["Config"]["Labels"]["io.drowse.recreated-from"], id);
        assert_eq!(seen.native_id.as_deref(), now["Id"].as_str());
        id = now["Id"].clone();
        let (was, is) = (lasting(&first), lasting(&now));
        for (part, was) in was.as_object().unwrap() {
            assert_eq!(is[part], *was, "{part}");
        }
        assert_eq!(scene.sh("everything", "cat /*/kept"), "anonymous\ncache\ndata\nmounted\nnamed");
        assert_eq!(scene.containers("everything"), ["everything"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_container_stays_stopped_with_a_new_hostname() {
    let test = "a_stopped_container_stays_stopped_with_a_new_hostname";
    let Some(scene) = Scene::begin(test).await else { return };
    scene.create("asleep", &[]);
    let old = scene.id("asleep");
    let seen = scene.recreate("asleep", false).await.unwrap();
    assert_eq!((seen.status, seen.native_status.as_str()), (Status::Stopped, "created"));
    start(&scene.provider, "asleep").await.unwrap();
    let now = scene.engine.inspect("asleep").unwrap();
    assert_ne!(now["Id"], old.as_str());
    assert!(now["Id"].as_str().unwrap().starts_with(now["Config"]["Hostname"].as_str().unwrap()));
    let missing = scene.recreate("nobody", false).await.unwrap_err();
    assert_eq!(missing.code, ErrorCode::NotFound, "{missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_and_shared_networks_are_restored_by_name() {
    let test = "links_and_shared_networks_are_restored_by_name";
    let Some(scene) = Scene::begin(test).await else { return };
    scene.create("host-of", &[]);
    start(&scene.provider, "host-of").await.unwrap();
    scene.create("sidecar", &["--network", "container:host-of"]);
    scene.create("watcher", &["--pid", "container:host-of"]);
    scene.create("linked", &["--link", "host-of:alias"]);
    for name in ["sidecar", "watcher", "linked"] {
        start(&scene.provider, name).await.unwrap();
    }
    let seen = scene.recreate("host-of", false).await.unwrap();
    // They are bound to the old container, and find the new one once recreated. Processes in its
    // PID namespace ended with it.
    assert_eq!(seen.attributes["dependants"], "linked, sidecar", "{seen:?}");
    for (name, status) in
        [("sidecar", Status::Running), ("linked", Status::Running), ("watcher", Status::Stopped)]
    {
        assert_eq!(scene.recreate(name, false).await.unwrap().status, status, "{name}");
    }
    assert_eq!(start(&scene.provider, "watcher").await.unwrap().status, Status::Running);
    let host = |name: &str| scene.engine.inspect(name).unwrap()["HostConfig"].clone();
    assert_eq!(host("linked")["Links"], json!(["/host-of:/linked/alias"]));
    let whose = scene.id("host-of");
    let modes = ["container:host-of".to_owned(), format!("container:{whose}")];
    for (name, key) in [("sidecar", "NetworkMode"), ("watcher", "PidMode")] {
        assert!(modes.contains(&host(name)[key].as_str().unwrap().to_owned()), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recreated_container_that_exits_is_replaced_by_the_old_one() {
    let test = "a_recreated_container_that_exits_is_replaced_by_the_old_one";
    let Some(scene) = Scene::begin(test).await else { return };
    scene.create("doomed", &["--volume", "/data"]);
    start(&scene.provider, "doomed").await.unwrap();
    // It runs as long as it has never run there before.
    let once = "[ -e /data/once ] && { echo once is enough; exit 3; }; : >/data/once;";
    let script = format!("{once} {POLITE}");
    scene.docker(&["rm", "--force", "doomed"]);
    scene.docker(&[
        "create", "--name", "doomed", "--volume", "/data", "web", "/bin/sh", "-c", &script,
    ]);
    scene.docker(&["start", "doomed"]);
    let old = scene.id("doomed");
    support::until("it has begun", || {
        scene.engine.run(&["exec", "doomed", "/bin/sh", "-c", "[ -e /data/once ]"]).is_ok()
    })
    .await;
    let error = scene.recreate("doomed", false).await.unwrap_err();
    assert!(error.message.contains("exited with status 3; output: once is enough"), "{error}");
    // It is the old container, started again; that it exits at once is its own behaviour.
    assert_eq!(scene.id("doomed"), old);
    assert_eq!(scene.containers("doomed"), ["doomed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recreation_interrupted_at_any_step_succeeds_on_the_next_call() {
    let test = "a_recreation_interrupted_at_any_step_succeeds_on_the_next_call";
    let Some(scene) = Scene::begin(test).await else { return };
    scene.docker(&["network", "create", "second"]);
    scene.create("broken", &["--volume", "/data", "--env", "KEEP=1"]);
    scene.docker(&["network", "connect", "second", "broken"]);
    start(&scene.provider, "broken").await.unwrap();
    scene.sh("broken", "echo data >/data/kept");
    let first = lasting(&scene.engine.inspect("broken").unwrap());
    let steps = ["/stop", "/rename", "/create", "/connect", "/start"];
    let is = |step: &'static str| move |asked: &RecordedRequest| asked.path.ends_with(step);
    for how in [Cut::Before, Cut::After] {
        for step in steps {
            scene.recorder.cut(how, is(step));
            let broken = scene.recreate("broken", false).await;
            assert!(!scene.recorder.is_to_cut(), "{step} was asked for");
            assert!(broken.is_err(), "{how:?} {step}: {broken:?}");
            assert_recreated(&scene, &first, &format!("{how:?} {step}")).await;
        }
        scene.recorder.cut(how, |asked| asked.method == "DELETE");
        let broken = scene.recreate("broken", false).await;
        assert!(broken.is_err(), "{how:?} DELETE: {broken:?}");
        assert_recreated(&scene, &first, &format!("{how:?} DELETE")).await;
    }
}

async fn assert_recreated(scene: &Scene, first: &Value, what: &str) {
    let seen = scene.recreate("broken", false).await.unwrap_or_else(|it| panic!("{what}: {it}"));
    assert_eq!(seen.status, Status::Running, "{what}");
    assert_eq!(scene.containers("broken"), ["broken"], "{what}");
    let now = scene.engine.inspect("broken").unwrap();
    assert_eq!(lasting(&now), *first, "{what}");
    assert_eq!(scene.sh("broken", "cat /data/kept"), "data", "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_pulled_only_if_its_registry_has_a_newer_one() {
    let test = "an_image_is_pulled_only_if_its_registry_has_a_newer_one";
    let Some(scene) = Scene::begin(test).await else { return };
    let Some(mut registry) = Registry::begin(test).unwrap() else { return };
    let name = format!("{}/team/fresh:1", registry.name());
    let push = |version: &str| {
        scene.image(&name, &[&format!("LABEL version={version}")]);
        scene.docker(&["push", "--quiet", &name]);
    };
    push("1");
    scene.docker(&[
        "create", "--name", "fresh", "--env", "OWN=1", "--label", "own=yes", &name, POLITE,
    ]);
    start(&scene.provider, "fresh").await.unwrap();
    let older = scene.docker(&["image", "inspect", "--format", "{{.Id}}", &name]);
    push("2");
    let newer = scene.docker(&["image", "inspect", "--format", "{{.Id}}", &name]);
    scene.docker(&["tag", &older, &name]);
    let pulls = || scene.recorder.count(|asked| asked.path.ends_with("/images/create"));
    let made_of = || scene.engine.inspect("fresh").unwrap()["Image"].as_str().unwrap().to_owned();

    scene.recreate("fresh", false).await.unwrap();
    assert_eq!((made_of(), pulls()), (older, 0), "no refresh was requested");
    scene.recreate("fresh", true).await.unwrap();
    assert_eq!((made_of(), pulls()), (newer.clone(), 1));
    let config = scene.engine.inspect("fresh").unwrap()["Config"].clone();
    assert_eq!(config["Labels"]["version"], "2", "the label is the newer image's");
    assert_eq!(
        (&config["Labels"]["own"], config["Env"].to_string().contains("OWN=1")),
        (&json!("yes"), true)
    );
    scene.recreate("fresh", true).await.unwrap();
    assert_eq!((made_of(), pulls()), (newer.clone(), 1), "it was the newest already");
    registry.stop().unwrap();
    scene.recreate("fresh", true).await.unwrap();
    assert_eq!((made_of(), pulls()), (newer, 1), "the local image is used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removal_keeps_or_deletes_the_data_as_requested() {
    let test = "removal_keeps_or_deletes_the_data_as_requested";
    let Some(scene) = Scene::begin(test).await else { return };
    for (preserve, recreated) in [(true, false), (true, true), (false, false), (false, true)] {
        scene.create("leaving", &["--volume", "/data", "--volume", "stays:/named"]);
        start(&scene.provider, "leaving").await.unwrap();
        if recreated {
            scene.recreate("leaving", false).await.unwrap();
        }
        let mounts = scene.engine.inspect("leaving").unwrap()["Mounts"].clone();
        let mounts = mounts.as_array().unwrap().iter();
        let mut volumes: Vec<_> =
            mounts.map(|it| it["Name"].as_str().unwrap().to_owned()).collect();
        volumes.sort_by_key(String::len);
        scene.remove("leaving", preserve).await.unwrap();
        assert!(scene.containers("leaving").is_empty());
        let is_there = |name: &String| scene.engine.run(&["volume", "inspect", name]).is_ok();
        let [stays, own] = volumes.as_slice() else { panic!("{volumes:?}") };
        assert!(is_there(stays), "a named volume is kept");
        assert_eq!(is_there(own), preserve, "recreated: {recreated}");
        // Removing it again succeeds.
        scene.remove("leaving", preserve).await.unwrap();
    }
}
