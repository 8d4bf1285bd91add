//! Several Docker engines under one router, and the requests of the provider to an engine.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Docker, Home, Programs, Recorder, Registry, recorder::RecordedRequest, until};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(90);

/// Shell script that serves until SIGTERM.
const GENTLE: &str = "trap 'exit 0' TERM; httpd -p 80 -h /www; while :; do sleep 0.05; done";

fn workload(name: &str, provider: &str, container: &str, more: &str) -> String {
    format!(
        "\n[workload.{name}]\nprovider = \"{provider}\"\ntarget = \"{container}\"\n\
         sleep = {{ grace = \"10s\" }}\n{more}\n\n\
         [[route]]\nhost = \"{name}.example\"\nworkload = \"{name}\"\nport = 80\n"
    )
}

#[test]
fn a_local_engine_and_one_behind_tls_work_side_by_side() -> Result<()> {
    let test = "a_local_engine_and_one_behind_tls_work_side_by_side";
    let Some(near) = Docker::shared(test) else { return Ok(()) };
    let far = Docker::start_with_tls()?;
    // Containers with the same name on both engines.
    near.create_web("same", 0.0)?;
    far.create_web("same", 0.0)?;
    let url = far.url().context("the far engine has no port")?;
    let (tls, socket) = (far.tls(), near.socket());
    let home = Home::new(&Programs::from_env())?;
    let files = |dir: &Path| {
        ["ca", "cert", "key"]
            .map(|key| format!("{key} = {:?}", dir.join(format!("{key}.pem"))))
            .join(", ")
    };
    // Files of another authority.
    let strange = home.path().join("strange");
    drowse_tests::pki::write(&strange)?;
    fs::copy(tls.join("ca.pem"), strange.join("ca.pem"))?;
    home.configure(&format!(
        "[provider.near]\nplugin = \"docker\"\n\
         endpoint.engine = {{ url = \"unix://{}\" }}\n\n\
         [provider.far]\nplugin = \"docker\"\n\
         endpoint.engine = {{ url = \"{url}\", {} }}\n\n\
         [provider.stranger]\nplugin = \"docker\"\n\
         endpoint.engine = {{ url = \"{url}\", {} }}\n{}{}{}",
        socket.display(),
        files(&tls),
        files(&strange),
        workload("near", "near", "same", "idle = \"never\""),
        workload("far", "far", "same", "idle = \"never\""),
        workload("stranger", "stranger", "same", "idle = \"never\""),
    ))?;
    let router = home.start()?;
    for provider in ["near", "far", "stranger"] {
        until(&format!("{provider} is loaded"), PATIENCE, || {
            router.provider(provider).ok()?["plugin"].is_string().then_some(())
        })?;
    }
    for (name, here, there) in [("far", &far, near), ("near", near, &far)] {
        let before = there.is_running("same")?;
        let answer = router.get(&format!("{name}.example"), "/")?;
        let status_text = format!("{} {}", answer.text(), router.provider(name)?);
        assert_eq!(answer.status, 200, "{name}: {status_text}");
        assert!(here.is_running("same")?, "{name}");
        assert_eq!(there.is_running("same")?, before, "{name}");
        let seen = &router.workload(name)?["observed"]["native_id"];
        assert_eq!(*seen, here.inspect("same")?["Id"], "{name}");
    }
    // Events of the remote engine are received.
    far.run(&["kill", "same"])?;
    router.wait_for_phase("far", "asleep", PATIENCE)?;
    assert_eq!(router.phase("near")?, "ready");
    let answer = router.get("stranger.example", "/")?;
    assert!([502, 503].contains(&answer.status), "{}", answer.head);
    let cause = format!("{} {}", router.provider("stranger")?, router.workload("stranger")?);
    assert!(cause.contains("received fatal alert"), "the cause is not in the status: {cause}");
    let log = router.log().since(0).join("\n");
    let secret = fs::read_to_string(tls.join("key.pem"))?;
    assert!(secret.lines().filter(|line| !line.contains("-----")).all(|line| !log.contains(line)));
    Ok(())
}

/// An endpoint with a recorder, and the rules that the provider declares for it.
struct RecordedEndpoint {
    endpoint: String,
    rules: Vec<String>,
    recorder: Recorder,
}

impl RecordedEndpoint {
    /// One for each endpoint that the plugin requests. `registry` replaces the registry in its example rules.
    fn all(home: &Home, engine: &Docker, registry: &str) -> Result<Vec<Self>> {
        let output = home.drowse(&["plugin", "inspect", "docker", "--json"])?;
        let info: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let requested = info["endpoints"].as_array().context("no endpoints")?;
        let text = |value: &serde_json::Value| {
            value.as_str().unwrap_or_default().replace("registry.example", registry)
        };
        let record = |wish: &serde_json::Value| {
            let endpoint = text(&wish["name"]);
            let rules = wish["rules"].as_array().context("no rules")?.iter().map(text).collect();
            let socket = home.path().join(format!("{endpoint}.sock"));
            let recorder = Recorder::begin(&socket, engine.socket())?;
            Ok(Self { endpoint, rules, recorder })
        };
        requested.iter().map(record).collect()
    }

    fn requests(&self) -> Vec<RecordedRequest> {
        self.recorder.requests()
    }
}

#[test]
fn every_request_matches_a_rule_declared_for_its_endpoint() -> Result<()> {
    let test = "every_request_matches_a_rule_declared_for_its_endpoint";
    let Some(engine) = Docker::shared(test) else { return Ok(()) };
    let Some(registry) = Registry::begin(test)? else { return Ok(()) };
    let image = format!("{}/team/declared:1", registry.name());
    engine.run(&["tag", "web", &image])?;
    engine.run(&["push", "--quiet", &image])?;
    engine.run(&["network", "create", "declared"])?;
    let words = ["create", "--name", "declared", &image, "/bin/sh", "-c", GENTLE];
    engine.run(&words)?;
    engine.run(&["network", "connect", "declared", "declared"])?;

    let home = Home::new(&Programs::from_env())?;
    home.configure("")?;
    let endpoints = RecordedEndpoint::all(&home, engine, &registry.name())?;
    let mut tables = "[provider.docker]\nplugin = \"docker\"\n".to_owned();
    for RecordedEndpoint { endpoint, rules, recorder } in &endpoints {
        let socket = recorder.socket().display();
        // The operator writes the rules with the name of the registry.
        let rules = match endpoint.as_str() {
            "registry" => format!(", rules = {rules:?}"),
            _ => String::new(),
        };
        tables += &format!("endpoint.{endpoint} = {{ url = \"unix://{socket}\"{rules} }}\n");
    }
    tables += &format!("settings.registries = {{ \"{}\" = \"registry\" }}\n", registry.name());
    tables += &workload(
        "declared",
        "docker",
        "declared",
        "idle = \"2s\"\nready = { exec = [\"/bin/sh\", \"-c\", \"true\"] }\nkeep-awake-if = { cpu-above = 90 }\n\
         deep-sleep = { after = \"1s\", method = \"stop\" }",
    )
    .replace("sleep = { grace = \"10s\" }", "sleep = { method = \"pause\" }");
    home.configure(&tables)?;
    let router = home.start()?;
    assert_eq!(router.get("declared.example", "/")?.status, 200);
    let (worked, printed) = router.drowse(&["recreate", "declared", "--wait"])?;
    ensure!(worked, "{printed}");
    engine.run(&["commit", "--change", "ENV NEWER=1", "declared", &image])?;
    engine.run(&["push", "--quiet", &image])?;
    engine.run(&["tag", "web", &image])?;
    let (worked, printed) = router.drowse(&["recreate", "declared", "--refresh", "--wait"])?;
    ensure!(worked, "{printed}");
    assert_eq!(router.get("declared.example", "/")?.status, 200);
    // The image was fetched before the container was stopped.
    let ops = router.home().drowse(&["ops", "declared", "--json", "--limit", "1000"])?;
    let ops: Vec<Value> = serde_json::from_slice(&ops.stdout)?;
    let mut kinds: Vec<_> = ops.iter().filter_map(|entry| entry["kind"].as_str()).collect();
    kinds.reverse();
    let fetched = kinds.iter().position(|kind| *kind == "fetch").context("fetched")?;
    ensure!(kinds[fetched + 1..].contains(&"recreate"), "{kinds:?}");
    let environment = engine.inspect("declared")?["Config"]["Env"].to_string();
    assert!(environment.contains("NEWER=1"), "it does not have the pulled image: {environment}");
    // First paused, then stopped.
    until("it is stopped", PATIENCE, || {
        let state = engine.inspect("declared").ok()?["State"]["Status"].clone();
        (state == "exited").then_some(())
    })?;
    router.stop()?;

    let mut done = Vec::new();
    for endpoint in &endpoints {
        for request in endpoint.requests() {
            let declared: Vec<_> =
                endpoint.rules.iter().filter(|rule| request.matches_rule(rule)).collect();
            ensure!(!declared.is_empty(), "{}: {request:?} is not declared", endpoint.endpoint);
            let name = |rule: &String| {
                let path = rule.split('?').next().unwrap_or_default();
                format!("{} {}", endpoint.endpoint, path.replace(&registry.name(), "REGISTRY"))
            };
            done.extend(declared.into_iter().map(name));
        }
    }
    // These requests were made, each at its endpoint.
    for expected in [
        "engine GET /_ping",
        "engine GET /*/events",
        "engine GET /*/containers/*/json",
        "engine GET /*/containers/*/stats",
        "engine POST /*/containers/*/start",
        "engine POST /*/containers/*/stop",
        "engine POST /*/containers/*/pause",
        "exec POST+body /*/containers/*/exec",
        "exec POST+body /*/exec/*/start",
        "exec GET /*/exec/*/json",
        "recreate GET /*/images/**",
        "recreate POST+body /*/containers/create",
        "recreate POST /*/containers/*/rename",
        "recreate POST+body /*/networks/*/connect",
        "recreate DELETE /*/containers/*",
        "registry GET /*/distribution/REGISTRY/**",
        "registry POST /*/images/create",
    ] {
        ensure!(done.iter().any(|rule| rule == expected), "{expected}: never requested");
    }
    Ok(())
}
