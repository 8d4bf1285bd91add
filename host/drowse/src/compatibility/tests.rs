#![allow(clippy::unwrap_used)]

use drowse_config::{Config, DefaultPaths};
use drowse_plugins::{CommandWish, EndpointWish, NetworkWish};
use serde_json::json;

use super::*;
use crate::samples;

fn info(abilities: &[Ability], target_schema: Value) -> PluginInfo {
    PluginInfo { abilities: abilities.to_vec(), target_schema, ..samples::plugin("pve") }
}

fn workload(keys: &str) -> WorkloadSpec {
    let toml =
        format!("[provider.pve]\nplugin = \"pve\"\n[workload.a]\nprovider = \"pve\"\n{keys}");
    let config =
        Config::parse(vec![("drowse.toml".into(), toml)], &DefaultPaths::default()).unwrap();
    config.workloads.into_iter().next().unwrap()
}

/// The flaws without any grant.
fn found(info: &PluginInfo, workload: &WorkloadSpec) -> Vec<String> {
    flaws(info, &provider(""), workload)
}

fn provider(keys: &str) -> ProviderSettings {
    let toml = format!("[provider.pve]\nplugin = \"pve\"\n{keys}");
    let config =
        Config::parse(vec![("drowse.toml".into(), toml)], &DefaultPaths::default()).unwrap();
    config.providers.into_iter().next().unwrap()
}

#[test]
fn a_command_inside_needs_the_grant_that_is_named_like_the_ability() {
    let mut info = info(&[Ability::Exec], json!({}));
    info.endpoints.push(EndpointWish {
        name: "exec".to_owned(),
        purpose: "To run commands.".to_owned(),
        suggested_url: Some("unix:///run/engine.sock".to_owned()),
        rules: Vec::new(),
        rules_follow: Vec::new(),
        optional: true,
    });
    let granted = provider("endpoint.exec.url = \"unix:///run/engine.sock\"");
    for keys in ["keep-awake-if.exec = [\"/bin/runs\"]", "ready.exec = [\"/bin/healthy\"]"] {
        let flaws_found = found(&info, &workload(keys));
        assert!(
            flaws_found.len() == 1 && flaws_found[0].contains("endpoint.exec = { url = "),
            "{flaws_found:?}"
        );
        assert!(flaws(&info, &granted, &workload(keys)).is_empty(), "{keys}");
    }
    assert!(found(&info, &workload("")).is_empty());
}

#[test]
fn a_network_that_the_workload_names_needs_its_grant() {
    let mut info = info(&[], json!({}));
    info.networks.push(NetworkWish {
        name: "*".to_owned(),
        purpose: "Gives addresses.".to_owned(),
        optional: true,
        setting: Some("network".to_owned()),
    });
    let named = workload("settings = { network = \"lan\" }");
    let flaws_found = found(&info, &named);
    assert!(
        flaws_found.len() == 1 && flaws_found[0].contains("`network.lan = { config = "),
        "{flaws_found:?}"
    );
    let several = found(&info, &workload("settings = { network = [\"lan\", \"wan\"] }"));
    assert!(several.len() == 2 && several[1].contains("`network.wan = "), "{several:?}");
    let granted = provider("network.lan.config = \"/etc/cni/net.d/lan.conflist\"");
    assert!(flaws(&info, &granted, &named).is_empty());
    assert!(found(&info, &workload("settings = { other = \"lan\" }")).is_empty());
}

#[test]
fn a_signal_that_the_router_cannot_send_is_a_flaw() {
    let signal = workload("sleep.signal = \"SIGRTMIN+3\"");
    let mut info = info(&[Ability::StopSignal], json!({}));
    assert!(found(&info, &signal).is_empty(), "a platform sends its own");
    info.commands.push(CommandWish {
        name: "*".to_owned(),
        purpose: "What it runs.".to_owned(),
        optional: false,
    });
    assert!(found(&info, &signal)[0].contains("real-time"));
}

#[test]
fn unknown_memory_in_a_pool_with_a_memory_limit_is_a_warning() {
    let toml = "[provider.pve]\nplugin = \"pve\"\n[pool.small]\nmax-memory = \"1GiB\"\n\
                [pool.few]\nmax-awake = 1\n[workload.a]\nprovider = \"pve\"\npool = \"small\"\n\
                [workload.b]\nprovider = \"pve\"\npool = \"few\"\n[workload.c]\n\
                provider = \"pve\"\npool = \"small\"\nmemory = \"1MiB\"\n";
    let files = vec![("drowse.toml".into(), toml.to_owned())];
    let config = Config::parse(files, &DefaultPaths::default()).unwrap();
    let without_memory = |info: &PluginInfo| -> Vec<&str> {
        let without_memory = config.workloads.iter();
        let without_memory = without_memory.filter(|it| warning(info, &config.pools, it).is_some());
        without_memory.map(|it| it.name.as_str()).collect()
    };
    assert_eq!(without_memory(&info(&[], json!({}))), ["a"]);
    assert!(without_memory(&info(&[Ability::Usage], json!({}))).is_empty());
}

#[test]
fn a_sleep_method_that_the_plugin_lacks_is_a_flaw() {
    for (keys, ability, word) in [
        ("sleep.method = \"pause\"", Ability::Pause, "cannot pause"),
        ("sleep.method = \"kill\"", Ability::Kill, "cannot kill"),
        ("sleep.signal = \"SIGINT\"", Ability::StopSignal, "`signal`"),
    ] {
        let flaws_found = found(&info(&[], json!({})), &workload(keys));
        assert!(flaws_found.len() == 1 && flaws_found[0].contains(word), "{keys}: {flaws_found:?}");
        assert!(found(&info(&[ability], json!({})), &workload(keys)).is_empty(), "{keys}");
    }
    assert!(found(&info(&[], json!({})), &workload("")).is_empty());
}

#[test]
fn an_unknown_setting_is_a_flaw_with_the_nearest_one() {
    let schema = json!({
        "properties": { "network": {}, "address": {} },
        "additionalProperties": false,
    });
    let flaws_found =
        found(&info(&[], schema.clone()), &workload("settings = { netwrok = \"a\" }"));
    assert_eq!(flaws_found, ["`settings`: unknown key `netwrok`; did you mean `network`?"]);
    let flaws_found = found(&info(&[], schema.clone()), &workload("settings = { x = 1 }"));
    assert!(flaws_found[0].contains("known keys are `address`, `network`"), "{flaws_found:?}");
    assert!(found(&info(&[], schema), &workload("settings = { network = \"a\" }")).is_empty());
    let flaws_found = found(&info(&[], json!(false)), &workload("settings = { x = 1 }"));
    assert!(flaws_found[0].contains("has no settings for a workload"), "{flaws_found:?}");
}

#[test]
fn a_schema_that_is_open_takes_any_setting() {
    for schema in [json!({ "properties": { "network": {} } }), json!(true)] {
        assert!(found(&info(&[], schema), &workload("settings = { x = 1 }")).is_empty());
    }
}

#[test]
fn a_missing_required_setting_is_a_flaw() {
    let flaws_found = found(&info(&[], json!({ "required": ["node"] })), &workload(""));
    assert!(flaws_found.len() == 1 && flaws_found[0].contains("needs `node`"), "{flaws_found:?}");
}
