use std::borrow::Cow;

use super::*;
use crate::{cache::CompiledCache, compile::Compiler, context::SharedResources, runtime::Runtime};

fn host() -> (tempfile::TempDir, Arc<PluginHost>) {
    let dir = tempfile::tempdir().unwrap();
    let cache = CompiledCache::open(&dir.path().join("compiled"));
    let host = PluginHost {
        runtime: Runtime::new().unwrap(),
        cache,
        compiler: Compiler::new(None, crate::settings::CompileLimits::default()),
        shared: SharedResources::default(),
    };
    (dir, Arc::new(host))
}

async fn refusal(bytes: impl Into<Cow<'static, [u8]>>) -> String {
    let (_dir, host) = host();
    let source = PluginSource::new(PluginKind::Component, "plugins/test.wasm", bytes);
    load(&host, source).await.err().expect("it is refused")
}

async fn refusal_of_text(text: &str) -> String {
    refusal(wat::parse_str(text).unwrap()).await
}

#[tokio::test]
async fn a_file_that_is_not_wasm_is_refused() {
    let cause = refusal(&b"#!/bin/sh"[..]).await;
    assert!(cause.starts_with("plugin plugins/test.wasm: it is not WASM; build it"), "{cause}");
    assert!(refusal(&b""[..]).await.contains("it is not WASM"));
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let whole = wat::parse_str("(module (memory 1) (func (export \"f\")))").unwrap();
    let half = whole[..whole.len() - 3].to_vec();
    assert!(refusal(half).await.contains("not a complete WASM file"));
    let whole = wat::parse_str("(component (core module (memory 1)))").unwrap();
    let half = whole[..whole.len() - 3].to_vec();
    assert!(refusal(half).await.contains("not a valid component"));
}

#[tokio::test]
async fn a_wasip1_module_is_refused_with_the_target_to_use() {
    let cause = refusal_of_text(
        "(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func (param i32 i32 i32 i32) (result i32))))",
    )
    .await;
    assert!(
        cause.contains("built for wasm32-wasip1") && cause.contains("wasm32-wasip2"),
        "{cause}"
    );
}

#[tokio::test]
async fn a_module_without_a_component_type_is_refused_with_the_build_command() {
    let cause = refusal_of_text("(module (func (export \"start\")))").await;
    assert!(
        cause.contains("without a component type; build it with drowse-provider-sdk"),
        "{cause}"
    );
}

#[tokio::test]
async fn a_component_that_is_no_provider_is_refused() {
    let cause = refusal_of_text("(component)").await;
    assert!(cause.contains("does not export drowse:provider/provider@0.1.0"), "{cause}");
}

#[tokio::test]
async fn an_incompatible_contract_is_refused_with_both_versions() {
    let cause = refusal_of_text(
        "(component (instance $p) (export \"drowse:provider/provider@0.2.0\" (instance $p)))",
    )
    .await;
    assert!(cause.contains("contract 0.2.0, and this router speaks 0.1.0"), "{cause}");
}

#[tokio::test]
async fn unknown_interfaces_of_the_contract_are_named() {
    for interface in ["shell", "files"] {
        let cause = refusal_of_text(&format!(
            "(component
                (import \"drowse:provider/{interface}@0.1.0\" (instance (export \"f\" (func))))
                (instance $p) (export \"drowse:provider/provider@0.1.0\" (instance $p)))"
        ))
        .await;
        let wanted = format!(
            "imports drowse:provider/{interface}@0.1.0, and this version of the router does not offer"
        );
        assert!(cause.contains(&wanted), "{cause}");
    }
}

#[tokio::test]
async fn imports_of_other_packages_are_named() {
    let cause = refusal_of_text(
        "(component
            (import \"wasi:http/outgoing-handler@0.2.0\" (instance (export \"handle\" (func))))
            (instance $p) (export \"drowse:provider/provider@0.1.0\" (instance $p)))",
    )
    .await;
    assert!(cause.contains("wasi:http/outgoing-handler@0.2.0"), "{cause}");
}

#[tokio::test]
async fn a_provider_without_the_functions_of_the_contract_is_refused() {
    let cause = refusal_of_text(
        "(component (instance $p) (export \"drowse:provider/provider@0.1.0\" (instance $p)))",
    )
    .await;
    assert!(cause.contains("does not fit contract 0.1.0"), "{cause}");
}

#[test]
fn texts_of_describe_contain_no_control_characters() {
    const EVIL: &str = "a\nb\u{1b}[2J\u{202e}";
    let mut info = info();
    let schema = serde_json::json!({
        "properties": { EVIL: { "description": EVIL, "enum": [EVIL], "default": EVIL } },
    });
    let description = types::Description {
        name: EVIL.into(),
        version: EVIL.into(),
        summary: EVIL.into(),
        abilities: types::Abilities::empty(),
        endpoints: vec![types::EndpointWish {
            name: EVIL.into(),
            purpose: EVIL.into(),
            suggested_url: Some(EVIL.into()),
            rules: vec!["GET /a".into()],
            optional: false,
            attributes: Vec::new(),
        }],
        commands: vec![types::CommandWish {
            name: EVIL.into(),
            purpose: EVIL.into(),
            optional: false,
            attributes: Vec::new(),
        }],
        networks: vec![types::NetworkWish {
            name: EVIL.into(),
            purpose: EVIL.into(),
            optional: true,
            setting: Some(EVIL.into()),
            attributes: Vec::new(),
        }],
        settings_schema: schema.to_string(),
        target_schema: schema.to_string(),
        attributes: Vec::new(),
    };
    accept(&mut info, description).unwrap();
    let (endpoint, command) = (&info.endpoints[0], &info.commands[0]);
    let network = &info.networks[0];
    let mut texts = vec![
        &info.name,
        &info.version,
        &info.summary,
        &endpoint.name,
        &endpoint.purpose,
        endpoint.suggested_url.as_ref().unwrap(),
        &command.name,
        &command.purpose,
        &network.name,
        &network.purpose,
        network.setting.as_ref().unwrap(),
    ];
    for schema in [&info.settings_schema, &info.target_schema] {
        let (key, property) = schema["properties"].as_object().unwrap().iter().next().unwrap();
        texts.push(key);
        for value in [&property["description"], &property["enum"][0], &property["default"]] {
            let serde_json::Value::String(text) = value else { panic!("{property}") };
            texts.push(text);
        }
    }
    for text in texts {
        assert_eq!(text, "a b\\u{1b}[2J\\u{202e}");
    }
}

#[test]
fn rules_on_a_datagram_endpoint_are_refused() {
    let description = |rules: &[&str]| types::Description {
        name: "lamps".into(),
        version: "1".into(),
        summary: String::new(),
        abilities: types::Abilities::empty(),
        endpoints: vec![types::EndpointWish {
            name: "lan".into(),
            purpose: String::new(),
            suggested_url: Some("udp://255.255.255.255:9".into()),
            rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
            optional: false,
            attributes: Vec::new(),
        }],
        commands: Vec::new(),
        networks: Vec::new(),
        settings_schema: "true".into(),
        target_schema: "true".into(),
        attributes: Vec::new(),
    };
    assert_eq!(accept(&mut info(), description(&[])), Ok(()));
    let cause = accept(&mut info(), description(&["GET /a"])).unwrap_err();
    assert!(cause.contains("\"lan\": rules are not allowed on a datagram endpoint"), "{cause}");
}

#[test]
fn a_rule_with_hidden_characters_is_refused() {
    let description = types::Description {
        name: "evil".into(),
        version: "1".into(),
        summary: String::new(),
        abilities: types::Abilities::empty(),
        endpoints: vec![types::EndpointWish {
            name: "engine".into(),
            purpose: String::new(),
            suggested_url: None,
            rules: vec!["GET /\u{202e}nosj".into()],
            optional: false,
            attributes: Vec::new(),
        }],
        commands: Vec::new(),
        networks: Vec::new(),
        settings_schema: "true".into(),
        target_schema: "true".into(),
        attributes: Vec::new(),
    };
    let cause = accept(&mut info(), description).unwrap_err();
    assert!(cause.contains("contains hidden characters") && !cause.contains('\u{202e}'), "{cause}");
}

fn info() -> PluginInfo {
    PluginInfo {
        name: String::new(),
        version: String::new(),
        summary: String::new(),
        kind: PluginKind::Component,
        origin: "bundled".into(),
        digest: String::new(),
        size: 0,
        contract: "0.1.0".into(),
        abilities: Vec::new(),
        endpoints: Vec::new(),
        commands: Vec::new(),
        networks: Vec::new(),
        imports: Vec::new(),
        settings_schema: serde_json::Value::Null,
        target_schema: serde_json::Value::Null,
        load: Load::Compiled,
        load_time: Duration::ZERO,
    }
}
