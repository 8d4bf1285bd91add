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

/// What is told where nothing is granted.
fn told(info: &PluginInfo, workload: &WorkloadSpec) -> Vec<String> {
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
        let said = told(&info, &workload(keys));
        assert!(said.len() == 1 && said[0].contains("endpoint.exec = { url = "), "{said:?}");
        assert!(flaws(&info, &granted, &workload(keys)).is_empty(), "{keys}");
    }
    assert!(told(&info, &workload("")).is_empty());
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
    let said = told(&info, &named);
    assert!(said.len() == 1 && said[0].contains("`network.lan = { config = "), "{said:?}");
    let several = told(&info, &workload("settings = { network = [\"lan\", \"wan\"] }"));
    assert!(several.len() == 2 && several[1].contains("`network.wan = "), "{several:?}");
    let granted = provider("network.lan.config = \"/etc/cni/net.d/lan.conflist\"");
    assert!(flaws(&info, &granted, &named).is_empty());
    assert!(told(&info, &workload("settings = { other = \"lan\" }")).is_empty());
}

#[test]
fn a_signal_that_the_router_cannot_send_is_told() {
    let signal = workload("sleep.signal = \"SIGRTMIN+3\"");
    let mut info = info(&[Ability::StopSignal], json!({}));
    assert!(told(&info, &signal).is_empty(), "a platform sends its own");
    info.commands.push(CommandWish {
        name: "*".to_owned(),
        purpose: "What it runs.".to_owned(),
        optional: false,
    });
    assert!(told(&info, &signal)[0].contains("real-time"));
}

#[test]
fn memory_that_nobody_tells_or_measures_is_a_doubt_where_it_has_a_ceiling() {
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
fn a_way_to_sleep_that_the_plugin_does_not_know_is_told() {
    for (keys, ability, word) in [
        ("sleep.method = \"pause\"", Ability::Pause, "cannot pause"),
        ("sleep.method = \"kill\"", Ability::Kill, "cannot kill"),
        ("sleep.signal = \"SIGINT\"", Ability::StopSignal, "`signal`"),
    ] {
        let said = told(&info(&[], json!({})), &workload(keys));
        assert!(said.len() == 1 && said[0].contains(word), "{keys}: {said:?}");
        assert!(told(&info(&[ability], json!({})), &workload(keys)).is_empty(), "{keys}");
    }
    assert!(told(&info(&[], json!({})), &workload("")).is_empty());
}

#[test]
fn a_setting_that_the_plugin_does_not_know_is_told_with_the_nearest() {
    let schema = json!({
        "properties": { "network": {}, "address": {} },
        "additionalProperties": false,
    });
    let said = told(&info(&[], schema.clone()), &workload("settings = { netwrok = \"a\" }"));
    assert_eq!(said, ["`settings`: unknown key `netwrok`; did you mean `network`?"]);
    let said = told(&info(&[], schema.clone()), &workload("settings = { x = 1 }"));
    assert!(said[0].contains("known keys are `address`, `network`"), "{said:?}");
    assert!(told(&info(&[], schema), &workload("settings = { network = \"a\" }")).is_empty());
    let said = told(&info(&[], json!(false)), &workload("settings = { x = 1 }"));
    assert!(said[0].contains("has no settings for a workload"), "{said:?}");
}

#[test]
fn a_schema_that_is_open_takes_any_setting() {
    for schema in [json!({ "properties": { "network": {} } }), json!(true)] {
        assert!(told(&info(&[], schema), &workload("settings = { x = 1 }")).is_empty());
    }
}

#[test]
fn a_setting_that_must_be_there_is_told() {
    let said = told(&info(&[], json!({ "required": ["node"] })), &workload(""));
    assert!(said.len() == 1 && said[0].contains("needs `node`"), "{said:?}");
}
