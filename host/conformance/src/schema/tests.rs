use serde_json::json;

use super::*;

#[test]
fn valid_schemas_have_no_flaw() {
    for schema in [
        json!(true),
        json!({}),
        json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Settings",
            "type": "object", "additionalProperties": false, "required": ["path"],
            "properties": { "path": { "type": ["string", "null"], "minLength": 2, "default": 7 } } }),
        json!({ "properties": { "ask": { "$ref": "#/$defs/Ask" } }, "$defs": { "Ask": { "anyOf": [true] } } }),
        json!({ "x-of-our-own": 7 }),
    ] {
        assert_eq!(flaw(&schema), None, "{schema}");
    }
}

#[test]
fn a_flaw_names_its_position_in_the_schema() {
    for (schema, expected) in [
        (json!("object"), "the schema is neither an object nor a boolean"),
        (json!({ "type": "text" }), "/type is not one or several of"),
        (json!({ "type": ["string", "string"] }), "/type is not"),
        (json!({ "properties": { "a": { "minLength": -1 } } }), "/properties/a/minLength is not"),
        (json!({ "properties": [] }), "/properties is not an object of schemas"),
        (json!({ "oneOf": [] }), "/oneOf is not a list of schemas"),
        (json!({ "required": ["a", "a"] }), "/required is not a list of unique texts"),
        (json!({ "items": { "$ref": "#/$defs/Missing" } }), "/items/$ref is not a reference"),
        (json!({ "anyOf": [{ "deprecated": 1 }] }), "/anyOf/0/deprecated is not true or false"),
    ] {
        let flaw = flaw(&schema).unwrap_or_default();
        assert!(flaw.starts_with(expected), "{schema}: {flaw}");
    }
}

#[test]
fn a_recursive_reference_ends() {
    assert_eq!(flaw(&json!({ "properties": { "inner": { "$ref": "#" } } })), None);
    let deep = (0..100).fold(json!(true), |inner, _| json!({ "not": inner }));
    assert!(flaw(&deep).is_some_and(|flaw| flaw.ends_with("deeper than 64 levels")));
}

#[test]
fn only_a_closed_schema_refuses_unknown_keys() {
    assert!(is_closed(&json!(false)));
    assert!(is_closed(&json!({ "additionalProperties": false })));
    assert!(is_closed(&json!({ "unevaluatedProperties": false })));
    assert!(!is_closed(&json!({ "type": "object" })));
    assert!(!is_closed(&json!({ "additionalProperties": { "type": "string" } })));
}
