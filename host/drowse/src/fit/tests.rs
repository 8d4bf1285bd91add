#![allow(clippy::unwrap_used)]

use std::time::Duration;

use drowse_config::{Config, Places};
use drowse_plugins::Load;
use serde_json::json;

use super::*;

fn info(abilities: &[Ability], target_schema: Value) -> PluginInfo {
    PluginInfo {
        name: "pve".to_owned(),
        version: "0.1.0".to_owned(),
        summary: String::new(),
        origin: "bundled".to_owned(),
        digest: String::new(),
        size: 1,
        contract: "0.1.0".to_owned(),
        abilities: abilities.to_vec(),
        endpoints: Vec::new(),
        commands: Vec::new(),
        imports: Vec::new(),
        settings_schema: json!({}),
        target_schema,
        load: Load::Cached,
        load_time: Duration::ZERO,
    }
}

fn workload(keys: &str) -> WorkloadSpec {
    let toml =
        format!("[provider.pve]\nplugin = \"pve\"\n[workload.a]\nprovider = \"pve\"\n{keys}");
    let config = Config::parse(vec![("drowse.toml".into(), toml)], &Places::default()).unwrap();
    config.workloads.into_iter().next().unwrap()
}

#[test]
fn a_way_to_sleep_that_the_plugin_does_not_know_is_told() {
    for (keys, ability, word) in [
        ("sleep.method = \"pause\"", Ability::Pause, "cannot pause"),
        ("sleep.method = \"kill\"", Ability::Kill, "cannot kill"),
        ("sleep.signal = \"SIGINT\"", Ability::StopSignal, "`signal`"),
    ] {
        let told = flaws(&info(&[], json!({})), &workload(keys));
        assert!(told.len() == 1 && told[0].contains(word), "{keys}: {told:?}");
        assert!(flaws(&info(&[ability], json!({})), &workload(keys)).is_empty(), "{keys}");
    }
    assert!(flaws(&info(&[], json!({})), &workload("")).is_empty());
}

#[test]
fn a_setting_that_the_plugin_does_not_know_is_told_with_the_nearest() {
    let schema = json!({
        "properties": { "network": {}, "address": {} },
        "additionalProperties": false,
    });
    let told = flaws(&info(&[], schema.clone()), &workload("settings = { netwrok = \"a\" }"));
    assert_eq!(told, ["`settings`: unknown key `netwrok`; did you mean `network`?"]);
    let told = flaws(&info(&[], schema.clone()), &workload("settings = { x = 1 }"));
    assert!(told[0].contains("known keys are `address`, `network`"), "{told:?}");
    assert!(flaws(&info(&[], schema), &workload("settings = { network = \"a\" }")).is_empty());
    let told = flaws(&info(&[], json!(false)), &workload("settings = { x = 1 }"));
    assert!(told[0].contains("has none for a workload"), "{told:?}");
}

#[test]
fn a_schema_that_is_open_takes_any_setting() {
    for schema in [json!({ "properties": { "network": {} } }), json!(true)] {
        assert!(flaws(&info(&[], schema), &workload("settings = { x = 1 }")).is_empty());
    }
}

#[test]
fn a_setting_that_must_be_there_is_told() {
    let told = flaws(&info(&[], json!({ "required": ["node"] })), &workload(""));
    assert!(told.len() == 1 && told[0].contains("needs `node`"), "{told:?}");
}
