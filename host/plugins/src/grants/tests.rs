use proptest::prelude::*;

use super::*;

fn rule(text: &str) -> Rule {
    text.parse().unwrap()
}

fn asked<'a>(method: &'a str, path: &'a str) -> HttpAttempt<'a> {
    HttpAttempt { provider: "docker", endpoint: "engine", method, path, body: false, target: None }
}

#[test]
fn a_request_body_needs_a_rule_with_body() {
    let with_body = |rules: &[&str]| {
        let rules = rules.iter().map(|text| rule(text)).collect();
        let asked = HttpAttempt { body: true, ..asked("POST", "/v1.23/containers/web/start") };
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
    let asked = HttpAttempt {
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
    let undeclared = Policy::new(None, None).check(&asked).unwrap_err();
    assert!(
        undeclared.ends_with(
            "[provider.docker.endpoint.engine]: rules = [\"POST /*/containers/*/exec\"]"
        ),
        "{undeclared}"
    );
    let required = Policy::new(None, Some(vec![rule("GET /_ping")])).check(&asked).unwrap_err();
    let line = "]: rules = [\"GET /_ping\", \"POST /*/containers/*/exec\"]";
    assert!(required.ends_with(line), "{required}");
}

#[test]
fn rules_that_the_plugin_requires_are_proposed_first() {
    let required = vec![rule("GET /*/images/**"), rule("/a.v1.Tasks/*")];
    let policy = Policy::new(Some(Vec::new()), Some(required.clone()));
    let refusal = policy.check(&asked("GET", "/v1.41/images/ghcr.io/team/a/json")).unwrap_err();
    assert!(refusal.ends_with("]: \"GET /*/images/**\","), "{refusal}");
    let called = GrpcAttempt { provider: "c", endpoint: "engine", method: "/a.v1.Tasks/Kill" };
    let refusal = policy.check_call(&called).unwrap_err();
    assert!(refusal.ends_with("]: \"/a.v1.Tasks/*\","), "{refusal}");
    assert!(policy.lacks().eq(&required), "both");
    assert_eq!(Policy::new(Some(required.clone()), Some(required)).lacks().count(), 0);
}

#[test]
fn a_refused_call_names_the_line_to_add_and_the_line_allows_it() {
    let method = "/a.v1.Tasks/Kill";
    let called = GrpcAttempt { provider: "c", endpoint: "daemon", method };
    let refusal = Policy::new(Some(vec![rule("/a.v1.Tasks/Get")]), None).check_call(&called);
    assert_eq!(
        refusal.unwrap_err(),
        "provider \"c\": gRPC call /a.v1.Tasks/Kill is not granted on endpoint \"daemon\": add to \
         the rules of [provider.c.endpoint.daemon]: \"/a.v1.Tasks/Kill\","
    );
    assert_eq!(Policy::new(Some(vec![rule(method)]), None).check_call(&called), Ok(()));
}

#[test]
fn names_are_quoted_unless_they_are_bare_keys() {
    assert_eq!(toml_key("pve-basement"), "pve-basement");
    assert_eq!(toml_key("pve/basement.1"), "\"pve/basement.1\"");
}

#[test]
fn the_refusal_of_a_query_names_the_line_to_add_and_masks_values() {
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
    // A rule that the plugin requires is proposed verbatim.
    let required = vec![rule("GET /*/events?since=*&filters=*")];
    let policy = Policy::new(Some(Vec::new()), Some(required));
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
         percent-encoded; only a rule that ends in `?*` allows it"
    );
}

#[test]
fn a_method_that_no_rule_allows_is_refused_with_its_reason() {
    let everything = Policy::new(Some(vec![rule("* /**?*"), rule("*+body /**?*")]), None);
    for method in ["TRACE", "TRACK", "CONNECT", "get"] {
        let refusal = everything.check(&asked(method, "/")).unwrap_err();
        assert!(refusal.contains("repeats the request with its credentials"), "{refusal}");
    }
}

proptest! {
    #[test]
    fn a_refusal_is_one_line_for_any_request(path in "\\PC*", method in "\\PC*", text in "\\PC*") {
        let asked = HttpAttempt { provider: &text, endpoint: &text, method: &method, path: &path, body: false, target: Some(&text) };
        let refusal = Policy::new(Some(Vec::new()), None).check(&asked).unwrap_err();
        prop_assert!(!refusal.chars().any(|c| c.is_ascii_control() && !text.contains(c)));
        let called = GrpcAttempt { provider: &text, endpoint: &text, method: &path };
        let refusal = Policy::new(Some(Vec::new()), None).check_call(&called).unwrap_err();
        prop_assert!(!refusal.chars().any(|c| c.is_ascii_control() && !text.contains(c)));
    }

    /// The proposed line, pasted into the configuration, allows the request.
    #[test]
    fn the_proposed_line_allows_the_request(
        path in "(/[a-z0-9.%:]{1,4}){1,3}", key in "[a-zA-Z%\\[]{1,3}", value in "[a-z0-9./%&*:]{0,5}", body: bool,
    ) {
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let path = format!("{path}?{}={}", encode(&key), encode(&value));
        let asked = HttpAttempt { body, ..asked("POST", &path) };
        let refusal = Policy::new(Some(Vec::new()), None).check(&asked).unwrap_err();
        if let Some((_, line)) = refusal.split_once("]: \"") {
            let line = line.strip_suffix("\",").unwrap().replace("\\\\", "\\").replace("\\\"", "\"");
            let policy = Policy::new(Some(vec![rule(&line)]), None);
            prop_assert_eq!(policy.check(&asked), Ok(()), "{}", line);
        }
    }
}
