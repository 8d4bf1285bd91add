#![allow(clippy::unwrap_used)]

use super::*;

fn wish(name: &str, url: &str) -> EndpointWish {
    EndpointWish {
        name: name.to_owned(),
        purpose: "to be called".to_owned(),
        suggested_url: Some(url.to_owned()),
        rules: vec!["GET /".to_owned()],
        optional: true,
    }
}

#[test]
fn wishes_that_no_operator_could_grant_are_flaws() {
    assert_eq!(flaws(&[wish("hub", "http://127.0.0.1:80")]), [""; 0]);
    let told = flaws(&[wish("hub", "gopher://hub")]).join("\n");
    assert!(told.contains("endpoint.hub") && told.contains("are known"), "{told}");
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
fn a_check_is_told_with_what_to_do_about_it() {
    let check = |verdict| Check { name: "stop", promise: "what runs is stopped", verdict };
    let plain = Output::plain();
    let told = line(&check(Verdict::Passed { note: Some("7 ms".to_owned()) }), &plain);
    assert_eq!(told, "passed   stop              what runs is stopped (7 ms)");
    let (expected, came) = ("`stopped`".to_owned(), "Running".to_owned());
    let told = line(&check(Verdict::Failed { expected, came }), &plain);
    assert_eq!(
        told,
        "FAILED   stop              what runs is stopped\n           expected  `stopped`\n           \
         came      Running"
    );
    let told = line(&check(Verdict::Skipped { reason: "say more".to_owned() }), &plain);
    assert!(told.ends_with("\n           say more"), "{told}");
}
