#![allow(clippy::unwrap_used)]

use drowse_config::{Config, DefaultPaths};
use drowse_plugins::CommandWish;

use super::*;
use crate::samples;

fn info() -> PluginInfo {
    let endpoint = |name: &str, optional| EndpointWish {
        name: name.to_owned(),
        purpose: "The engine's\nAPI.".to_owned(),
        suggested_url: Some("unix:///var/run/docker.sock".to_owned()),
        rules: vec!["GET /containers/*/json".to_owned(), "POST /x/\"y\"/**".to_owned()],
        rules_follow: Vec::new(),
        optional,
    };
    PluginInfo {
        endpoints: vec![endpoint("engine", false), endpoint("registry", true)],
        commands: vec![CommandWish {
            name: "*".to_owned(),
            purpose: "What it runs.".to_owned(),
            optional: false,
        }],
        ..samples::plugin("docker")
    }
}

/// The messages of the warnings.
fn warnings(info: &PluginInfo, settings: &ProviderSettings) -> Vec<String> {
    super::warnings(info, settings).into_iter().map(|(_, message)| message).collect()
}

fn provider(toml: &str) -> ProviderSettings {
    let toml = format!("[provider.docker]\nplugin = \"docker\"\n{toml}");
    let config =
        Config::parse(vec![("drowse.toml".into(), toml)], &DefaultPaths::default()).unwrap();
    config.providers.into_iter().next().unwrap()
}

#[test]
fn missing_grants_are_reported_with_the_line_to_add() {
    let told = missing(&info(), &provider(""));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("endpoint.engine = { url = \"unix:///var/run/docker.sock\" }"));
    assert!(told[1].contains("command.NAME = "), "{}", told[1]);
    let granted = "endpoint.engine.url = \"http://localhost\"\ncommand.x.run = [\"true\"]";
    assert!(missing(&info(), &provider(granted)).is_empty());
}

#[test]
fn a_network_is_missing_where_it_is_needed_or_named() {
    let wish = |name: &str, optional| NetworkWish {
        name: name.to_owned(),
        purpose: "Gives addresses.".to_owned(),
        optional,
        setting: Some("network".to_owned()),
    };
    let line = |name: &str| {
        format!(
            "grant it with `{}` in [provider.docker]",
            drowse_plugins::grants::network_line(name)
        )
    };
    let all = "endpoint.engine.url = \"http://localhost\"\ncommand.x.run = [\"true\"]\n";
    let named = "settings.network = \"back bone\"\n";
    for (name, optional, keys, missing_names) in [
        ("*", true, "", &[][..]),
        ("*", false, "", &["NAME"]),
        ("lan", false, "", &["lan"]),
        ("lan", true, "", &[]),
        ("*", true, named, &["back bone"]),
        ("*", false, named, &["back bone"]),
    ] {
        let mut info = info();
        info.networks = vec![wish(name, optional)];
        let told = missing(&info, &provider(&format!("{all}{keys}")));
        assert_eq!(told.len(), missing_names.len(), "{told:?}");
        let mut granted = format!("{all}{keys}");
        for (told, name) in told.iter().zip(missing_names) {
            assert!(told.contains(&line(name)), "{told}");
            granted.push_str(&format!("{}\n", drowse_plugins::grants::network_line(name)));
        }
        assert_eq!(missing(&info, &provider(&granted)), [""; 0]);
    }
}

#[test]
fn what_looks_wrong_on_this_machine_is_a_warning() {
    let told = warnings(
        &info(),
        &provider(
            "endpoint.engine = { url = \"unix:///nowhere/at-all.sock\" }\n\
             endpoint.made-up = { url = \"https://host\", ca = \"/nowhere/ca.pem\", \
             cert = \"/nowhere/cert.pem\", key = \"/nowhere/key.pem\", headers = { \
             X-Key = { env = \"DROWSE_TEST_IS_NEVER_SET\" }, X-File = { file = \"/nowhere/key\" } \
             } }\n\
             command.x = { run = [\"true\"], directory = \"/nowhere/site\", limits = { cgroup = \
             \"/nowhere/group\" } }\n\
             network.lan = { config = \"/nowhere/lan.conflist\", plugin-dirs = [\"/nowhere/cni\"] }",
        ),
    );
    let all = told.join("\n");
    for part in [
        "/nowhere/at-all.sock",
        "`made-up`",
        "`ca`: cannot read /nowhere/ca.pem",
        "`cert`: cannot read /nowhere/cert.pem",
        "`key`: cannot read /nowhere/key.pem",
        "NEVER_SET",
        "/nowhere/key",
        "/nowhere/site",
        "/nowhere/group",
        "`lan`: plugin `docker` does not use it",
        "/nowhere/lan.conflist",
        "directories in `plugin-dirs`",
    ] {
        assert!(all.contains(part), "{part} in {all}");
    }
    assert_eq!(told.len(), 12, "{all}");
}

#[test]
fn an_endpoint_for_datagrams_is_granted_without_rules_and_no_other_kind_will_do() {
    let mut info = info();
    let engine = info.endpoints[0].clone();
    let lan = EndpointWish {
        name: "lan".to_owned(),
        suggested_url: Some("udp://255.255.255.255:9".to_owned()),
        rules: Vec::new(),
        ..engine
    };
    info.endpoints.push(lan.clone());
    let told = missing(&info, &provider(""));
    let line = "endpoint.lan = { url = \"udp://255.255.255.255:9\" }";
    assert!(told.iter().any(|told| told.contains(line)), "{told:?}");

    let mut toml = String::new();
    write("docker", &[lan], &mut toml);
    assert!(!toml.contains("rules"), "{toml}");
    assert_eq!(warnings(&info, &provider(&toml)), [""; 0]);

    let told = warnings(
        &info,
        &provider(
            "endpoint.lan.url = \"http://localhost\"\nendpoint.engine.url = \"udp://10.0.0.1:9\"",
        ),
    );
    assert!(told[0].contains("is for datagrams"), "{told:?}");
    assert!(told[1].contains("should begin with `udp://`"), "{told:?}");
}

#[test]
fn rules_that_depend_on_settings_are_missing_unless_those_are_written() {
    let told = |settings: &[&str], written: &str| {
        let mut info = info();
        info.endpoints[0].rules_follow = settings.iter().map(|it| (*it).to_owned()).collect();
        let engine = "endpoint.engine = { url = \"http://localhost\", rules = [\"GET /mine\"] }";
        let granted = format!("{engine}\ncommand.x.run = [\"true\"]\n{written}");
        warnings(&info, &provider(&granted))
    };
    let written = "settings.status.path = \"/mine\"";
    assert!(told(&[], written)[0].contains("asks for rules"), "they are always the same");
    assert!(told(&["status"], "")[0].contains("asks for rules"), "the setting is not written");
    assert!(
        told(&["start"], written)[0].contains("asks for rules"),
        "that setting does not change them"
    );
    assert!(told(&["start", "status"], written).is_empty());
}

#[test]
fn a_setting_that_changes_the_requests_needs_written_rules() {
    let mut info = info();
    info.endpoints[1].rules = vec!["POST /pull?from=registry.example/*".to_owned()];
    info.endpoints[1].rules_follow = vec!["registries".to_owned()];
    let granted = |rules: &str, written: &str| {
        provider(&format!(
            "endpoint.engine.url = \"http://localhost\"\ncommand.x.run = [\"true\"]\n\
             endpoint.registry = {{ url = \"http://localhost\"{rules} }}\n{written}"
        ))
    };
    let written = "settings.registries = { \"ghcr.io\" = \"registry\" }";
    let [told] = warnings(&info, &granted("", written)).try_into().unwrap();
    assert!(told.contains("the setting `registries`"), "{told}");
    let line = "write yours in [provider.docker.endpoint.registry]: \
                rules = [\"POST /pull?from=registry.example/*\"]";
    assert!(told.ends_with(line), "{told}");
    assert!(warnings(&info, &granted("", "")).is_empty(), "the setting is not written");
    let own = ", rules = [\"POST /pull?from=ghcr.io/*\"]";
    assert!(warnings(&info, &granted(own, written)).is_empty());
}

#[test]
fn a_rule_that_lets_any_query_pass_with_credentials_is_a_warning() {
    let mut info = info();
    info.endpoints[0].rules.truncate(1);
    let told = |headers: &str, rules: &str| {
        warnings(
            &info,
            &provider(&format!(
                "endpoint.engine = {{ url = \"http://localhost\", {headers}rules = [\"GET /containers/*/json\", {rules}] }}\n\
                 command.x.run = [\"true\"]"
            )),
        )
    };
    let secret = "headers = { X-Key = \"s3cret\" }, ";
    let [warning] = told(secret, "\"GET /**?*\"").try_into().unwrap();
    assert!(warning.contains("rule \"GET /**?*\" lets any query pass"), "{warning}");
    assert!(told("", "\"GET /**?*\"").is_empty(), "nothing is added there");
    assert!(told(secret, "\"GET /a?b=*\"").is_empty(), "it says which keys");
}

#[test]
fn requirements_are_written_as_valid_grants() {
    let mut toml = "[provider.docker]\nplugin = \"docker\"\n".to_owned();
    write("docker", &info().endpoints, &mut toml);
    let config =
        Config::parse(vec![("drowse.toml".into(), toml.clone())], &DefaultPaths::default());
    let provider = config.unwrap_or_else(|errors| panic!("{errors}\n{toml}")).providers;
    let endpoints = &provider[0].endpoints;
    assert_eq!(endpoints.len(), 1, "the optional one is a comment: {toml}");
    assert_eq!(endpoints["engine"].rules.as_ref().unwrap(), &info().endpoints[0].rules);
    let uncommented: String = toml
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|rest| is_code(rest)).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    let config = Config::parse(vec![("drowse.toml".into(), uncommented)], &DefaultPaths::default());
    assert_eq!(config.unwrap().providers[0].endpoints.len(), 2);
}

fn is_code(line: &str) -> bool {
    ["[", "url", "rules", "    \"", "]"].iter().any(|begin| line.starts_with(begin))
}

#[test]
fn a_schema_is_printed_as_lines() {
    let schema = serde_json::json!({
        "required": ["node"],
        "properties": {
            "node": { "type": "string", "description": "Where it\n is." },
            "mode": { "anyOf": [{ "$ref": "#/$defs/Mode" }, { "type": "null" }] },
            "loop": { "$ref": "#/properties/loop" },
            "port": { "type": ["integer", "null"], "default": 80 },
        },
        "$defs": { "Mode": { "oneOf": [{ "const": "own" }, { "enum": ["auto", "none"] }] } },
    });
    let lines = properties(&schema);
    assert_eq!(lines["node"], "string, required: Where it is.");
    assert_eq!(lines["mode"], "\"own\" or \"auto\" or \"none\"");
    assert_eq!(lines["loop"], "value");
    assert_eq!(lines["port"], "integer, default 80");
}
