use proptest::prelude::*;

use super::*;

fn rule(text: &str) -> Rule {
    text.parse().unwrap()
}

fn asked<'a>(method: &'a str, path: &'a str) -> Asked<'a> {
    Asked { provider: "docker", endpoint: "engine", method, path, body: false, target: None }
}

#[test]
fn a_body_needs_a_rule_that_says_so() {
    let with_body = |rules: &[&str]| {
        let rules = rules.iter().map(|text| rule(text)).collect();
        let asked = Asked { body: true, ..asked("POST", "/v1.23/containers/web/start") };
        Policy::new(Some(rules), None).check(&asked)
    };
    let refusal = with_body(&["POST /*/containers/*/start", "* /**"]).unwrap_err();
    assert!(
        refusal.contains("POST with a body /v1.23/containers/web/start is not granted")
            && refusal.ends_with("]: \"POST+body /*/containers/*/start\","),
        "{refusal}"
    );
    assert_eq!(with_body(&["POST+body /*/containers/*/start"]), Ok(()));
    assert_eq!(with_body(&["*+body /**"]), Ok(()));
    assert!(with_body(&["PUT+body /**"]).is_err());
}

#[test]
fn a_refusal_names_the_line_to_add() {
    let asked = Asked {
        provider: "docker",
        endpoint: "engine",
        method: "POST",
        path: "/v1.41/containers/x/exec",
        body: false,
        target: Some("x"),
    };
    let granted = Policy::new(Some(vec![rule("GET /*/containers/json")]), None);
    assert_eq!(
        granted.check(&asked).unwrap_err(),
        "provider \"docker\": POST /v1.41/containers/x/exec is not granted on endpoint \"engine\": \
         add to the rules of [provider.docker.endpoint.engine]: \"POST /*/containers/*/exec\","
    );
    let nobody = Policy::new(None, None).check(&asked).unwrap_err();
    assert!(
        nobody.ends_with(
            "[provider.docker.endpoint.engine]: rules = [\"POST /*/containers/*/exec\"]"
        ),
        "{nobody}"
    );
    let wished = Policy::new(None, Some(vec![rule("GET /_ping")])).check(&asked).unwrap_err();
    let line = "]: rules = [\"GET /_ping\", \"POST /*/containers/*/exec\"]";
    assert!(wished.ends_with(line), "{wished}");
}

#[test]
fn what_the_plugin_says_it_needs_is_proposed_before_anything_made_up() {
    let wished = vec![rule("GET /*/images/**"), rule("/a.v1.Tasks/*")];
    let policy = Policy::new(Some(Vec::new()), Some(wished.clone()));
    let refusal = policy.check(&asked("GET", "/v1.41/images/ghcr.io/team/a/json")).unwrap_err();
    assert!(refusal.ends_with("]: \"GET /*/images/**\","), "{refusal}");
    let called = Called { provider: "c", endpoint: "engine", method: "/a.v1.Tasks/Kill" };
    let refusal = policy.check_call(&called).unwrap_err();
    assert!(refusal.ends_with("]: \"/a.v1.Tasks/*\","), "{refusal}");
    assert!(policy.lacks().eq(&wished), "both");
    assert_eq!(Policy::new(Some(wished.clone()), Some(wished)).lacks().count(), 0);
}

#[test]
fn a_refused_call_names_the_line_to_add_and_the_line_allows_it() {
    let method = "/a.v1.Tasks/Kill";
    let called = Called { provider: "c", endpoint: "daemon", method };
    let refusal = Policy::new(Some(vec![rule("/a.v1.Tasks/Get")]), None).check_call(&called);
    assert_eq!(
        refusal.unwrap_err(),
        "provider \"c\": gRPC call /a.v1.Tasks/Kill is not granted on endpoint \"daemon\": add to \
         the rules of [provider.c.endpoint.daemon]: \"/a.v1.Tasks/Kill\","
    );
    assert_eq!(Policy::new(Some(vec![rule(method)]), None).check_call(&called), Ok(()));
}

#[test]
fn names_that_are_no_bare_keys_are_quoted() {
    assert_eq!(toml_key("pve-basement"), "pve-basement");
    assert_eq!(toml_key("pve/basement.1"), "\"pve/basement.1\"");
}

#[test]
fn a_refused_query_names_the_line_that_allows_it_and_shows_no_value() {
    let path = "/v1.41/images/create?fromImage=evil%3A5000%2Fx&tag=latest&token=s3cret";
    let own = rule("POST /*/images/create?fromImage=ghcr.io/*&tag=*");
    let policy = Policy::new(Some(vec![own]), None);
    let refusal = policy.check(&asked("POST", path)).unwrap_err();
    assert_eq!(
        refusal,
        "provider \"docker\": POST /v1.41/images/create?fromImage=<masked>&tag=<masked>&token=<masked> \
         is not granted on endpoint \"engine\": add to the rules of \
         [provider.docker.endpoint.engine]: \
         \"POST /*/images/create?fromImage=evil:5000/x&tag=latest&token=*\","
    );
    let line = "POST /*/images/create?fromImage=evil:5000/x&tag=latest&token=*";
    assert_eq!(Policy::new(Some(vec![rule(line)]), None).check(&asked("POST", path)), Ok(()));
    // What the plugin asks for is proposed as the plugin writes it.
    let wished = vec![rule("GET /*/events?since=*&filters=*")];
    let policy = Policy::new(Some(Vec::new()), Some(wished));
    let refusal =
        policy.check(&asked("GET", "/v1.41/events?filters=%7B%7D&since=1.5")).unwrap_err();
    assert!(refusal.ends_with("]: \"GET /*/events?since=*&filters=*\","), "{refusal}");
}

#[test]
fn an_ambiguous_query_is_refused_with_its_reason() {
    let policy = Policy::new(Some(vec![rule("GET /x?a=*")]), None);
    let refusal = policy.check(&asked("GET", "/x?a=1;b=s3cret")).unwrap_err();
    assert_eq!(
        refusal,
        "provider \"docker\": GET /x?a=<masked>;b=<masked> is refused on endpoint \"engine\": \
         servers may read its query in different ways: it contains `;`, which must be \
         percent-encoded; only a rule that ends in `?*` lets it pass"
    );
}

#[test]
fn a_method_that_no_rule_allows_is_refused_with_its_reason() {
    let everything = Policy::new(Some(vec![rule("* /**?*"), rule("*+body /**?*")]), None);
    for method in ["TRACE", "TRACK", "CONNECT", "get"] {
        let refusal = everything.check(&asked(method, "/")).unwrap_err();
        assert!(refusal.contains("repeats the request with the credentials"), "{refusal}");
    }
}

proptest! {
    #[test]
    fn a_refusal_is_one_line_whatever_was_asked(path in "\\PC*", method in "\\PC*", text in "\\PC*") {
        let asked = Asked { provider: &text, endpoint: &text, method: &method, path: &path, body: false, target: Some(&text) };
        let refusal = Policy::new(Some(Vec::new()), None).check(&asked).unwrap_err();
        prop_assert!(!refusal.chars().any(|c| c.is_ascii_control() && !text.contains(c)));
        let called = Called { provider: &text, endpoint: &text, method: &path };
        let refusal = Policy::new(Some(Vec::new()), None).check_call(&called).unwrap_err();
        prop_assert!(!refusal.chars().any(|c| c.is_ascii_control() && !text.contains(c)));
    }

    /// The line of a refusal, pasted, lets the request pass.
    #[test]
    fn the_line_of_a_refusal_lets_the_request_pass(
        path in "(/[a-z0-9.%:]{1,4}){1,3}", key in "[a-zA-Z%\\[]{1,3}", value in "[a-z0-9./%&*:]{0,5}", body: bool,
    ) {
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let path = format!("{path}?{}={}", encode(&key), encode(&value));
        let asked = Asked { body, ..asked("POST", &path) };
        let refusal = Policy::new(Some(Vec::new()), None).check(&asked).unwrap_err();
        if let Some((_, line)) = refusal.split_once("]: \"") {
            let line = line.strip_suffix("\",").unwrap().replace("\\\\", "\\").replace("\\\"", "\"");
            let policy = Policy::new(Some(vec![rule(&line)]), None);
            prop_assert_eq!(policy.check(&asked), Ok(()), "{}", line);
        }
    }
}
