use schemars::JsonSchema;
use serde::Deserialize;

use super::*;
use crate::ErrorCode;

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Tree {
    leaf: Leaf,
    #[serde(default)]
    mode: Option<Mode>,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Leaf {
    count: u16,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Fast,
    Slow,
}

fn refusal(json: &str) -> String {
    let error = parse::<Tree>("settings", json).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::InvalidRequest);
    error.message().to_owned()
}

#[test]
fn valid_settings_are_parsed() {
    let tree: Tree = parse("settings", r#"{"leaf": {"count": 3}, "mode": "slow"}"#).unwrap();
    assert_eq!(tree, Tree { leaf: Leaf { count: 3 }, mode: Some(Mode::Slow) });
    assert_eq!(parse::<NoSettings>("settings", "").unwrap(), NoSettings {});
}

#[test]
fn an_error_names_the_key_and_the_expected_value() {
    assert_eq!(
        refusal(r#"{"leaf": {"count": "three"}}"#),
        r#"settings: key "leaf.count": invalid type: string "three", expected u16"#
    );
    assert_eq!(
        refusal(r#"{"leaf": {"count": 3}, "mode": "brisk"}"#),
        r#"settings: key "mode": unknown variant `brisk`, expected `fast` or `slow`"#
    );
}

#[test]
fn an_unknown_key_is_refused_with_the_valid_ones() {
    assert_eq!(
        refusal(r#"{"leaf": {"count": 3, "cuont": 4}}"#),
        r#"settings: key "leaf.cuont": unknown field `cuont`, expected `count`"#
    );
}

#[test]
fn a_missing_key_is_named() {
    assert_eq!(refusal("{}"), "settings: missing field `leaf`");
}

#[test]
fn a_value_other_than_a_table_is_refused() {
    assert_eq!(refusal("[1]"), "settings: expected a table, found a list");
    assert!(refusal("{").starts_with("settings: not JSON: "));
}

#[test]
fn the_schema_forbids_unknown_keys() {
    let schema: serde_json::Value = serde_json::from_str(&schema::<Tree>()).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], serde_json::json!(["leaf"]));
}
