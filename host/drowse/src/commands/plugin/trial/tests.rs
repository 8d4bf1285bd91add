#![allow(clippy::unwrap_used)]

use super::*;
use crate::samples;

fn wish(name: &str, url: &str) -> EndpointWish {
    EndpointWish {
        name: name.to_owned(),
        purpose: "to be called".to_owned(),
        suggested_url: Some(url.to_owned()),
        rules: vec!["GET /".to_owned()],
        rules_follow: Vec::new(),
        optional: true,
    }
}

fn info(endpoint: EndpointWish) -> PluginInfo {
    PluginInfo {
        endpoints: vec![endpoint],
        settings_schema: json!({ "properties": { "network": { "type": "string" } } }),
        ..samples::plugin("lamps")
    }
}

#[test]
fn requirements_that_cannot_be_granted_are_flaws() {
    assert_eq!(flaws(&info(wish("hub", "http://127.0.0.1:80"))), [""; 0]);
    let told = flaws(&info(wish("hub", "gopher://hub"))).join("\n");
    assert!(told.contains("endpoint.hub") && told.contains("are known"), "{told}");
}

#[test]
fn a_network_that_is_named_by_an_unknown_setting_is_a_flaw() {
    let mut info = info(wish("hub", "http://127.0.0.1:80"));
    let named_by = |setting: &str| NetworkWish {
        name: "*".to_owned(),
        purpose: "gives addresses".to_owned(),
        optional: true,
        setting: Some(setting.to_owned()),
    };
    info.networks = vec![named_by("network")];
    assert_eq!(flaws(&info), [""; 0]);
    info.networks = vec![named_by("netwrok")];
    let told = flaws(&info);
    assert!(told.len() == 1 && told[0].contains("\"netwrok\""), "{told:?}");
}

#[test]
fn an_endpoint_is_called_through_what_its_rules_are_for() {
    let http = wish("hub", "http://127.0.0.1:80");
    assert_eq!(interfaces(&http), ["http"].into());
    let rules = |rules: &[&str]| rules.iter().map(|&rule| rule.to_owned()).collect();
    let call = "/hub.v1.Lamps/Switch";
    let grpc = EndpointWish { rules: rules(&[call]), ..http.clone() };
    assert_eq!(interfaces(&grpc), ["grpc"].into());
    let both = EndpointWish { rules: rules(&["GET /", call]), ..http };
    assert_eq!(interfaces(&both), ["grpc", "http"].into());
    let datagrams = EndpointWish { rules: Vec::new(), ..wish("lan", "udp://255.255.255.255:9") };
    assert_eq!(interfaces(&datagrams), ["udp"].into());
}

#[test]
fn a_check_is_printed_with_what_to_do_about_it() {
    let check = |verdict| Check { name: "stop", promise: "what runs is stopped", verdict };
    let plain = Output::plain();
    let told = line(&check(Verdict::Passed { note: Some("7 ms".to_owned()) }), &plain);
    assert_eq!(told, "passed   stop              what runs is stopped (7 ms)");
    let (expected, actual) = ("`stopped`".to_owned(), "Running".to_owned());
    let told = line(&check(Verdict::Failed { expected, actual }), &plain);
    assert_eq!(
        told,
        "FAILED   stop              what runs is stopped\n           expected  `stopped`\n           \
         actual    Running"
    );
    let told = line(&check(Verdict::Skipped { reason: "say more".to_owned() }), &plain);
    assert!(told.ends_with("\n           say more"), "{told}");
}
