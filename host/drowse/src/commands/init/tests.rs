#![allow(clippy::unwrap_used)]

use drowse_config::Config;
use drowse_plugins::{CommandWish, EndpointWish, NetworkWish};

use super::*;
use crate::samples;

fn parse(text: &str) -> Config {
    let read =
        Config::parse(vec![("drowse.toml".into(), text.to_owned())], &DefaultPaths::default());
    read.unwrap_or_else(|errors| panic!("{errors}\n\n{text}"))
}

#[test]
fn what_is_written_is_a_valid_configuration() {
    for platform in [Platform::Docker, Platform::Process] {
        let config = parse(&starter(&platform, None));
        assert_eq!(config.listeners.len(), 1);
        assert_eq!(config.providers[0].plugin, platform.plugin());
        assert_eq!(config.routes[0].workload, config.workloads[0].name);
    }
}

#[test]
fn commented_lines_are_valid() {
    for platform in [Platform::Docker, Platform::Process] {
        let text = starter(&platform, None);
        let code = |line: &str| {
            ["trusted-proxies =", "sleep =", "ready =", "waiting =", "environment ="]
                .iter()
                .any(|begin| line.starts_with(begin))
        };
        let all: String = text
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| code(rest)).unwrap_or(line))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_ne!(all, text);
        parse(&all);
    }
}

#[test]
fn every_key_is_documented_as_in_the_reference() {
    let text = starter(&Platform::Docker, None);
    assert!(text.contains("# Sleeps after this time without visits"), "{text}");
    assert!(!text.contains("#\n"), "a key without documentation: {text}");
}

#[test]
fn an_existing_file_is_replaced_only_with_force() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("drowse.toml");
    std::fs::write(&file, "mine").unwrap();
    let asked =
        |force| Init { docker: false, process: true, provider: None, file: file.clone(), force };
    let error = write(&asked(false), "yours", &Output::plain()).unwrap_err();
    assert!(error.to_string().contains("--force"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    write(&asked(true), "yours", &Output::plain()).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "yours");
}

#[test]
fn the_first_program_serves_a_directory_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("drowse.toml");
    let asked =
        Init { docker: false, process: true, provider: None, file: file.clone(), force: true };
    for _ in 0..2 {
        write(&asked, &starter(&Platform::Process, None), &Output::plain()).unwrap();
    }
    let config = Config::load(&file, &DefaultPaths::default()).unwrap();
    let served = config.providers[0].commands["hello"].directory.as_ref().unwrap();
    assert_eq!(std::fs::read_dir(served).unwrap().count(), 1);
    assert_eq!(served.parent(), Some(directory.path()));
}

#[test]
fn any_plugin_gets_a_first_configuration_from_its_description() {
    let wish = |name: &str, optional| CommandWish {
        name: name.to_owned(),
        purpose: "Does\nit.".to_owned(),
        optional,
    };
    let network = |name: &str, optional| NetworkWish {
        name: name.to_owned(),
        purpose: "Gives\naddresses.".to_owned(),
        optional,
        setting: Some("bridge".to_owned()),
    };
    let info = PluginInfo {
        endpoints: vec![EndpointWish {
            name: "hub".to_owned(),
            purpose: "Switches them.".to_owned(),
            suggested_url: None,
            rules: vec!["GET /lamps/*".to_owned()],
            rules_follow: Vec::new(),
            optional: false,
        }],
        commands: vec![wish("dim", false), wish("paint", true)],
        networks: vec![network("lan", false), network("*", true)],
        settings_schema: json!({ "properties": { "colour": { "type": "string" } } }),
        target_schema: json!({
            "properties": { "room": { "type": "string" }, "watts": { "type": "integer" } },
            "required": ["room", "watts"],
        }),
        ..samples::plugin("lamps.2")
    };
    let text = starter(&Platform::Other("lamps".to_owned()), Some(&info));
    let config = parse(&text);
    let provider = &config.providers[0];
    assert_eq!((provider.name.as_str(), provider.plugin.as_str()), ("lamps.2", "lamps"));
    assert_eq!(provider.endpoints["hub"].rules.as_deref(), Some(&["GET /lamps/*".to_owned()][..]));
    assert_eq!(provider.commands.keys().collect::<Vec<_>>(), ["dim"], "the other is optional");
    assert!(text.contains("# [provider.\"lamps.2\".command.paint]"), "{text}");
    assert_eq!(provider.networks.keys().collect::<Vec<_>>(), ["lan"], "the other is optional");
    assert!(text.contains("# [provider.\"lamps.2\".network.NAME]"), "{text}");
    assert!(text.contains("# The setting `bridge` says which one it is.\n"), "{text}");
    assert!(text.contains("# settings.colour: string"), "{text}");
    assert_eq!(config.routes[0].workload, config.workloads[0].name);
    for line in ["settings.room = \"put yours here\"", "settings.watts = 1"] {
        assert!(text.lines().any(|held| held == line), "{line} is missing:\n{text}");
    }
}
