//! Missing grants are reported with the line to add. These tests paste the lines without knowledge of the
//! providers, and the workloads then wake.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Context, Result, anyhow, bail, ensure};
use drowse_tests::{
    Containerd, ControlPlane, Docker, FakeProxmox, Hello, Home, Programs, Router, SleepingMachine,
    containerd::{IMAGE, PLUGINS},
    control_plane::KEY,
    fake_proxmox::{Generation, TOKEN},
    until,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// Number of attempts of a refused operation.
const TIMES: usize = 3;

const PROVIDERS: [&str; 6] =
    ["containerd", "docker", "http-waker", "process", "proxmox", "wake-on-lan"];

/// The line to add in a message, and the configuration with it. `adapt` inserts values that the message
/// cannot know.
fn paste(
    text: &str,
    message: &str,
    adapt: impl Fn(String) -> String,
) -> Result<(String, (String, String))> {
    let unknown = || format!("no line to add in: {message}\n{text}");
    let (table, line, rules) = if let Some((_, rest)) = message.split_once("add to the rules of ") {
        let (table, line) = rest.split_once(": ").with_context(unknown)?;
        (table, line, true)
    } else if let Some((_, rest)) = message.split_once("add to ") {
        let (table, line) = rest.split_once(": ").with_context(unknown)?;
        (table, line, false)
    } else {
        let (_, rest) = message.split_once("grant it with `").with_context(unknown)?;
        let (line, table) = rest.split_once("` in ").with_context(unknown)?;
        (table, line, false)
    };
    // A plugin does not know its provider's name.
    let table = table.lines().next().with_context(unknown)?.trim();
    let table = if table == "the provider's table" { "[provider.p]" } else { table };
    // The message may continue after the line.
    let ends = ["},", "};", "}:", ",;", ",:"].iter().filter_map(|end| line.find(end)).min();
    let line = ends.map_or(line, |end| &line[..=end]);
    let line = adapt(line.lines().next().with_context(unknown)?.trim().to_owned());
    let header = format!("{table}\n");
    let mut at = text.find(&header).with_context(unknown)? + header.len();
    if rules {
        let opens = "rules = [\n";
        at += text[at..].find(opens).with_context(unknown)? + opens.len();
    }
    let pasted = format!("{}{line}\n{}", &text[..at], &text[at..]);
    Ok((pasted, (table.to_owned(), line)))
}

fn wishes(home: &Home, plugin: &str) -> Result<Value> {
    let output = home.drowse(&["plugin", "inspect", plugin, "--json"])?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("inspect {plugin}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The table of an endpoint, with one rule per line.
fn endpoint(name: &str, keys: &str, rules: &[&str]) -> String {
    let rules: String = rules.iter().map(|rule| format!("{rule:?},\n")).collect();
    let rules =
        if keys.contains("udp://") { "".to_owned() } else { format!("rules = [\n{rules}]\n") };
    format!("\n[provider.p.endpoint.{name}]\n{keys}\n{rules}")
}

/// The report of `check` about grants: errors and warnings with a line to add.
fn found(home: &Home, tables: &str) -> Result<Vec<String>> {
    home.configure(tables)?;
    let output = home.drowse(&["check", "--json"])?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let findings = ["errors", "warnings"].iter().flat_map(|kind| report[kind].as_array());
    let messages = findings.flatten().map(|finding| text(&finding["message"]).to_owned());
    Ok(messages.filter(|it| it.contains("grant it with") || it.contains("add to the")).collect())
}

#[test]
fn rules_of_default_requests_are_not_reported_if_settings_replace_these_requests() -> Result<()> {
    let home = Home::new(&Programs::from_env())?;
    let own = endpoint("api", "url = \"http://127.0.0.1:9\"", &["GET /v1/*", "PUT /v1/*"]);
    let provider = |settings: &str| {
        format!("[provider.p]\nplugin = \"http-waker\"\nsettings = {{ {settings} }}\n{own}")
    };
    let missed = found(&home, &provider("poll = \"1s\""))?;
    ensure!(missed.len() == 1 && missed[0].contains("POST /servers/*/start"), "{missed:?}");
    let ask = "{ method = \"PUT\", path = \"/v1/{name}\" }";
    let settings = format!("start = {ask}, stop = {ask}, status = {{ path = \"/v1/{{name}}\" }}");
    let missed = found(&home, &provider(&settings))?;
    ensure!(missed.is_empty(), "{missed:?}");
    Ok(())
}

#[test]
fn check_prints_the_line_of_each_requested_rule_endpoint_and_command() -> Result<()> {
    let home = Home::new(&Programs::from_env())?;
    home.configure("")?;
    let mut tried = 0;
    for plugin in PROVIDERS {
        let wishes = wishes(&home, plugin)?;
        let list = |key: &str| wishes[key].as_array().cloned().unwrap_or_default();
        // The parts of a configuration with everything granted; each can be left out.
        let head = format!("[provider.p]\nplugin = {plugin:?}\n");
        let mut endpoints = Vec::new();
        for wish in list("endpoints") {
            let url = wish["suggested_url"].as_str().unwrap_or("https://host.example");
            let rules: Vec<String> = wish["rules"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|it| text(it).to_owned())
                .collect();
            let optional = wish["optional"] == true;
            endpoints.push((
                text(&wish["name"]).to_owned(),
                format!("url = {url:?}"),
                rules,
                optional,
            ));
        }
        let table = |(name, keys, rules, _): &(String, String, Vec<String>, bool)| {
            endpoint(name, keys, &rules.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let commands = list("commands");
        let granted: String = commands
            .iter()
            .map(|wish| text(&wish["name"]).replace('*', "some"))
            .map(|name| format!("command.{name} = {{ run = [\"true\"] }}\n"))
            .collect();
        let whole = format!("{head}{granted}{}", endpoints.iter().map(table).collect::<String>());
        assert_eq!(found(&home, &whole)?, [""; 0], "{plugin}: nothing is missing in\n{whole}");

        let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        for place in &endpoints {
            let (name, keys, rules, optional) = place;
            for rule in rules {
                let fewer: Vec<&str> =
                    rules.iter().filter(|other| *other != rule).map(String::as_str).collect();
                let less = whole.replace(&table(place), &endpoint(name, keys, &fewer));
                let messages = found(&home, &less)?;
                ensure!(messages.len() == 1, "{plugin}, {rule} on {name}: {messages:?}");
                let (pasted, _) = paste(&less, &messages[0], |line| line)?;
                assert_eq!(lines(&pasted), lines(&whole), "{plugin}: {}", messages[0]);
                tried += 1;
            }
            if !optional {
                let less = whole.replace(&table(place), "");
                let messages = found(&home, &less)?;
                ensure!(messages.len() == 1, "{plugin}, {name}: {messages:?}");
                let (pasted, _) = paste(&less, &messages[0], |line| line)?;
                assert_eq!(found(&home, &pasted)?, [""; 0], "{plugin}: {}", messages[0]);
                tried += 1;
            }
        }
        for wish in commands.iter().filter(|wish| wish["optional"] == false) {
            let less = whole.replace(&granted, "");
            let messages = found(&home, &less)?;
            ensure!(messages.len() == 1, "{plugin}, {wish}: {messages:?}");
            let (pasted, _) = paste(&less, &messages[0], |line| line)?;
            assert_eq!(found(&home, &pasted)?, [""; 0], "{plugin}: {}", messages[0]);
            tried += 1;
        }
    }
    ensure!(tried > 60, "only {tried} were tried");
    Ok(())
}

#[test]
fn check_prints_the_line_of_a_network_named_by_a_setting_but_not_granted() -> Result<()> {
    let home = Home::new(&Programs::from_env())?;
    home.configure("")?;
    let sheet = home.drowse(&["plugin", "inspect", "containerd"])?;
    let sheet = String::from_utf8(sheet.stdout)?;
    for part in ["Networks it asks for", "any that is granted (works without it)", "`network`"] {
        ensure!(sheet.contains(part), "{part} is missing:\n{sheet}");
    }

    let tables = |own: &str, target: &str| {
        format!(
            "[provider.p]\nplugin = \"containerd\"\n\
             endpoint.containerd = {{ url = \"unix:///run/containerd/containerd.sock\" }}\n{own}\n{}",
            workload(&format!("target = \"web\"\nsettings = {{ {target} }}")),
        )
    };
    // A container in the host network needs no network.
    assert_eq!(found(&home, &tables("", ""))?, [""; 0]);
    let named = "network = \"lan\"";
    for text in [tables(&format!("settings = {{ {named} }}"), ""), tables("", named)] {
        let messages = found(&home, &text)?;
        ensure!(messages.len() == 1 && messages[0].contains("network `lan`"), "{messages:?}");
        ensure!(!home.drowse(&["check"])?.status.success(), "it must be an error, not a warning");
        let (pasted, (_, line)) = paste(&text, &messages[0], |line| line)?;
        assert_eq!(line, "network.lan = { config = \"/etc/cni/net.d/10-drowse.conflist\" }");
        assert_eq!(found(&home, &pasted)?, [""; 0]);
    }
    Ok(())
}

/// Wakes the workload repeatedly and puts it to sleep; returns the errors of the first refused
/// operation.
fn refusals(router: &Router) -> Result<Vec<String>> {
    until("the provider is loaded", PATIENCE, || {
        router.provider("p").ok()?["plugin"].is_string().then_some(())
    })?;
    let mut refusals = Vec::new();
    // After a refused wake the sleep is not tried.
    for (verb, times) in [("wake", TIMES), ("sleep", 1)] {
        for _ in 0..times {
            let output = router.home().drowse(&[verb, "web", "--wait"])?;
            if !output.status.success() {
                refusals.push(String::from_utf8(output.stderr)?);
            } else if let Some(refusal) = refusals.first() {
                bail!("{verb} was refused, and then was not: {refusal}");
            }
        }
        if !refusals.is_empty() {
            break;
        }
    }
    Ok(refusals)
}

/// Wakes the workload and puts it to sleep, and pastes the line of each refusal, until nothing is
/// refused. Returns the tables and lines that were pasted, in this order.
fn grow(
    mut home: Home,
    mut text: String,
    adapt: impl Fn(String) -> String,
) -> Result<Vec<(String, String)>> {
    let mut added = Vec::new();
    loop {
        home.configure(&text)?;
        let router = home.start()?;
        let mut refusals = refusals(&router)?;
        home = router.stop()?;
        if !refusals.is_empty() {
            // A restarted router reports the same.
            let router = home.start()?;
            refusals.extend(self::refusals(&router)?);
            home = router.stop()?;
        }
        let Some(refusal) = refusals.first() else { return Ok(added) };
        let (pasted, line) = paste(&text, refusal, &adapt)?;
        for again in &refusals[1..] {
            let (_, other) = paste(&text, again, &adapt)?;
            ensure!(other == line, "{refusal}, and asked again: {again}");
        }
        ensure!(!added.contains(&line), "{line:?} was added, and still: {refusal}");
        added.push(line);
        text = pasted;
    }
}

/// The pasted rules. Checks that the plugin requests each of them.
fn rules(home: &Home, plugin: &str, added: &[(String, String)]) -> Result<BTreeSet<String>> {
    let wishes = wishes(home, plugin)?;
    let mut rules = BTreeSet::new();
    for (table, line) in added {
        let name = table.strip_prefix("[provider.p.endpoint.").and_then(|it| it.strip_suffix(']'));
        let name = name.with_context(|| format!("{table}: {line}"))?;
        let rule = line.trim_end_matches(',').trim_matches('"').to_owned();
        let places = wishes["endpoints"].as_array().into_iter().flatten();
        let mut asked =
            places.filter(|it| it["name"] == name).flat_map(|it| it["rules"].as_array());
        ensure!(asked.any(|asked| asked.contains(&Value::from(rule.as_str()))), "{name}: {rule}");
        rules.insert(rule);
    }
    Ok(rules)
}

fn workload(keys: &str) -> String {
    format!(
        "\n[workload.web]\nprovider = \"p\"\nidle = \"never\"\nwake = {{ cooldown = \"100ms\", timeout = \"5s\" }}\n{keys}\n\n\
         [[route]]\nworkload = \"web\"\nport = 80\n"
    )
}

fn have(rules: &BTreeSet<String>, expected: &[&str]) -> Result<()> {
    for rule in expected {
        ensure!(rules.contains(*rule), "{rule} was not needed: {rules:?}");
    }
    Ok(())
}

#[test]
fn a_docker_container_wakes_and_sleeps_after_the_line_of_each_refusal_is_pasted() -> Result<()> {
    let Some(engine) = Docker::shared("each_refusal_was_pasted") else { return Ok(()) };
    engine.create_web("grown", 0.0)?;
    let programs = Programs::from_env();
    let keys = format!("url = \"unix://{}\"", engine.socket().display());
    let tables = |rules: &[&str]| {
        format!(
            "[provider.p]\nplugin = \"docker\"\n{}{}",
            endpoint("engine", &keys, rules),
            workload("target = \"grown\"\nsleep = { grace = \"1s\" }"),
        )
    };
    let added = grow(Home::new(&programs)?, tables(&[]), |line| line)?;
    let spare = Home::new(&programs)?;
    spare.configure("")?;
    let rules = rules(&spare, "docker", &added)?;
    let start = "POST /*/containers/*/start";
    let stop = "POST /*/containers/*/stop?t=*&signal=*";
    let needed = ["GET /_ping", "GET /*/containers/*/json", start, stop];
    have(&rules, &needed)?;
    assert!(!engine.is_running("grown")?, "it must be asleep");

    // If only the rule for `start` is missing, a visitor gets 503 and nothing is started.
    let fewer: Vec<&str> = rules.iter().map(String::as_str).filter(|rule| *rule != start).collect();
    let text = tables(&fewer);
    spare.configure(&text)?;
    let router = spare.start()?;
    assert_eq!(router.get("any.example", "/")?.status, 503);
    assert!(!engine.is_running("grown")?);
    let workload = router.workload("web")?;
    let failure_text = workload["failure"]["message"].as_str().context("no failure")?;
    let (pasted, line) = paste(&text, failure_text, |line| line)?;
    assert_eq!(line, ("[provider.p.endpoint.engine]".to_owned(), format!("{start:?},")));
    let spare = router.stop()?;
    spare.configure(&pasted)?;
    let router = spare.start()?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    Ok(())
}

/// Removes each of these rules in turn from the requested ones of the endpoint: the refusal names exactly
/// that rule, and after it is added the workload wakes and sleeps.
fn one_by_one(
    programs: &Programs,
    plugin: &str,
    tables: impl Fn(&[&str]) -> String,
    tried: &[&str],
) -> Result<()> {
    let spare = Home::new(programs)?;
    spare.configure("")?;
    let wishes = wishes(&spare, plugin)?;
    let all = wishes["endpoints"][0]["rules"].as_array().context("no rules")?;
    for rule in tried {
        let rest: Vec<&str> = all.iter().map(text).filter(|other| other != rule).collect();
        ensure!(rest.len() + 1 == all.len(), "{plugin} does not ask for {rule}");
        let added = grow(Home::new(programs)?, tables(&rest), |line| line)?;
        let lines: Vec<&str> = added.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(lines, [format!("{rule:?},")], "{plugin}");
    }
    Ok(())
}

#[test]
fn a_containerd_container_wakes_and_sleeps_after_the_missing_rule_is_pasted() -> Result<()> {
    let Some(daemon) = Containerd::shared("the_missing_rule_was_pasted") else { return Ok(()) };
    let tables = |rules: &[&str]| {
        format!(
            "[provider.p]\nplugin = \"containerd\"\n\
             settings = {{ namespace = \"{}\", network = \"lan\" }}\n\
             network.lan = {{ config = {:?}, plugin-dirs = [{PLUGINS:?}], results-dir = {:?} }}\n{}{}",
            Containerd::NAMESPACE,
            daemon.network(),
            daemon.results(),
            endpoint(
                "containerd",
                &format!("url = \"unix://{}\"", daemon.socket().display()),
                rules
            ),
            workload(&format!(
                "target = \"grown\"\nsleep = {{ grace = \"1s\" }}\nsettings = {{ image = {IMAGE:?} }}"
            )),
        )
    };
    let tried = [
        "Containers/Create",
        "Containers/Get",
        "Containers/Update",
        "Tasks/Get",
        "Tasks/Create",
        "Tasks/Start",
        "Tasks/Kill",
        "Tasks/Wait",
        "Tasks/Delete",
        "Snapshots/Mounts",
    ]
    .map(|call| {
        let (service, _) = call.split_once('/').unwrap_or_default();
        format!("/containerd.services.{}.v1.{call}", service.to_lowercase())
    });
    let tried: Vec<&str> = tried.iter().map(String::as_str).collect();
    one_by_one(&Programs::from_env(), "containerd", tables, &tried)?;
    assert_eq!(daemon.task("grown")?, None, "it must be asleep");
    Ok(())
}

#[test]
fn a_containerd_container_wakes_after_the_line_of_its_network_is_pasted() -> Result<()> {
    let Some(daemon) = Containerd::shared("the_line_of_its_network_was_pasted") else {
        return Ok(());
    };
    let text = format!(
        "[provider.p]\nplugin = \"containerd\"\nsettings = {{ namespace = \"{}\" }}\n\
         endpoint.containerd = {{ url = \"unix://{}\" }}\n{}",
        Containerd::NAMESPACE,
        daemon.socket().display(),
        workload(&format!(
            "target = \"unattached\"\nsleep = {{ grace = \"1s\" }}\n\
             settings = {{ image = {IMAGE:?}, network = \"lan\" }}"
        )),
    );
    let home = Home::new(&Programs::from_env())?;
    // The paths of the network's configuration and plugins are specific to this machine.
    let own = format!(
        "network.lan = {{ config = {:?}, plugin-dirs = [{PLUGINS:?}], results-dir = {:?} }}",
        daemon.network(),
        daemon.results(),
    );
    let adapt = |line: String| {
        line.replace("network.lan = { config = \"/etc/cni/net.d/10-drowse.conflist\" }", &own)
    };
    let [printed] = found(&home, &text)?.try_into().map_err(|it| anyhow!("{it:?}"))?;
    let (_, line) = paste(&text, &printed, adapt)?;
    let added = grow(home, text, adapt)?;
    assert_eq!(added, [line], "`check` and the wake report different lines");
    assert_eq!(daemon.task("unattached")?, None, "it must be asleep");
    Ok(())
}

#[test]
fn a_proxmox_guest_wakes_and_sleeps_after_the_missing_rule_is_pasted() -> Result<()> {
    let programs = Programs::from_env();
    let place = Home::new(&programs)?;
    let hello = Hello::new(&programs, place.path(), Duration::ZERO)?;
    let fake = FakeProxmox::begin(Generation::New)?;
    fake.add_container(100, &hello);
    let token = place.path().join("token");
    fs::write(&token, format!("{TOKEN}\n"))?;
    let keys = format!(
        "url = {:?}\nfingerprint = {:?}\n\
         headers = {{ Authorization = {{ file = {token:?}, prefix = \"PVEAPIToken=\" }} }}",
        fake.url(),
        fake.fingerprint(),
    );
    let tables = |rules: &[&str]| {
        format!(
            "[provider.p]\nplugin = \"proxmox\"\n\
             settings = {{ networks = [\"127.0.0.0/8\"], poll = \"100ms\", every = \"500ms\" }}\n{}{}",
            endpoint("api", &keys, rules),
            workload("target = \"100\"\nsleep = { grace = \"5s\" }")
                .replace("port = 80", &format!("port = {}", hello.port())),
        )
    };
    let tried = [
        "GET /api2/json/cluster/resources?type=vm",
        "GET /api2/json/nodes/*/lxc/*/config?current=1",
        "GET /api2/json/nodes/*/lxc/*/interfaces",
        "GET /api2/json/nodes/*/lxc/*/status/current",
        "GET /api2/json/nodes/*/tasks/*/status",
        "POST /api2/json/nodes/*/lxc/*/status/start",
        "POST+body /api2/json/nodes/*/lxc/*/status/shutdown",
    ];
    one_by_one(&programs, "proxmox", tables, &tried)?;
    assert!(!fake.runs(100)?, "it must be asleep");
    Ok(())
}

#[test]
fn an_http_waker_server_wakes_and_sleeps_after_the_line_of_each_refusal_is_pasted() -> Result<()> {
    let programs = Programs::from_env();
    let home_dir = Home::new(&programs)?;
    let hello = Hello::new(&programs, home_dir.path(), Duration::ZERO)?;
    let plane = ControlPlane::begin(&hello)?;
    let (name, key) = KEY;
    let keys = format!("url = {:?}\nheaders = {{ {name} = {key:?} }}", plane.url());
    let text = format!(
        "[provider.p]\nplugin = \"http-waker\"\nsettings = {{ poll = \"50ms\" }}\n{}{}",
        endpoint("api", &keys, &[]),
        workload("target = \"lobby\""),
    );
    let added = grow(home_dir, text, |line| line)?;
    let spare = Home::new(&programs)?;
    spare.configure("")?;
    let rules = rules(&spare, "http-waker", &added)?;
    have(&rules, &["GET /servers/*", "POST /servers/*/start", "POST /servers/*/stop"])
}

#[test]
fn a_machine_wakes_after_the_lines_of_the_refusals_are_pasted() -> Result<()> {
    let programs = Programs::from_env();
    let home_dir = Home::new(&programs)?;
    let hello = Hello::new(&programs, home_dir.path(), Duration::ZERO)?;
    let card = SleepingMachine::begin(&hello, home_dir.path().join("nas"))?;
    let sleep = format!(
        "command.sleep = {{ run = [\"touch\"], allow-extra-arguments = true, directory = {:?} }}",
        home_dir.path()
    );
    let text = format!(
        "[provider.p]\nplugin = \"wake-on-lan\"\n{}",
        workload(&format!(
            "target = \"nas\"\nsettings = {{ mac = \"02:11:22:aa:bb:cc\", address = {:?} }}",
            hello.address().to_string()
        )),
    );
    // The broadcast address and the sleep command are specific to this network.
    let adapt = |line: String| match line.starts_with("command.sleep = { run = ") {
        true => sleep.clone(),
        false => line.replace("udp://255.255.255.255:9", &card.url()),
    };
    let added = grow(home_dir, text, adapt)?;
    let lines: Vec<&str> = added.iter().map(|(_, line)| line.as_str()).collect();
    let lan = format!("endpoint.lan = {{ url = {:?} }}", card.url());
    assert_eq!(lines, [lan.as_str(), sleep.as_str()]);
    until("the machine sleeps", PATIENCE, || (!card.is_awake()).then_some(()))
}

#[test]
fn a_program_wakes_after_the_line_of_the_refusal_is_pasted() -> Result<()> {
    let programs = Programs::from_env();
    let home_dir = Home::new(&programs)?;
    let hello = Hello::new(&programs, home_dir.path(), Duration::ZERO)?;
    // The completed line, as an operator would write it.
    let line = hello.provider();
    let line = line.lines().find(|line| line.starts_with("command.hello")).context("no command")?;
    let text = format!("[provider.p]\nplugin = \"process\"\n{}", workload("target = \"hello\""))
        .replace("port = 80", &format!("port = {}", hello.port()));
    let added =
        grow(home_dir, text, |printed| match printed.starts_with("command.hello = { run = ") {
            true => line.to_owned(),
            false => printed,
        })?;
    assert_eq!(added, [("[provider.p]".to_owned(), line.to_owned())]);
    Ok(())
}
