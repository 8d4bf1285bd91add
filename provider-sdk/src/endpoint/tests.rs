use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::{
    Description, EndpointWish, Error, ErrorCode, NoSettings, Observation, Provider, Result,
    StopOptions, Target,
    testing::{Harness, Reply},
};

struct Any;

impl Provider for Any {
    type Settings = NoSettings;
    type TargetSettings = NoSettings;

    fn describe() -> Description {
        Description::new("any", "1.0.0", "asks anything")
            .endpoint(EndpointWish::new("api", "everything").rules(["*+body /**?*"]))
    }

    fn configure(_: NoSettings) -> Result<Self> {
        Ok(Self)
    }

    fn start(&self, target: &Target<NoSettings>) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }

    fn stop(&self, target: &Target<NoSettings>, _: &StopOptions) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }

    fn status(&self, target: &Target<NoSettings>) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }
}

#[derive(Debug, PartialEq, Deserialize)]
struct Count {
    n: u32,
}

fn answered<R>(reply: Reply, read: impl FnOnce(Response) -> R) -> R {
    let test = Harness::<Any>::new();
    test.expect("api", "GET /x", reply);
    test.run(|| read(Endpoint::new("api").get("/x").send().unwrap()))
}

#[test]
fn a_request_carries_query_headers_json_and_timeout() {
    let test = Harness::<Any>::new();
    test.expect("api", "POST /a/b?all=1&filters=%7B%22a%22%3A1%7D", Reply::status(204));
    let response = test.run(|| {
        Endpoint::new("api")
            .post("/a/b?all=1")
            .query("filters", r#"{"a":1}"#)
            .header("Accept", "k")
            .json(&json!({"n": 1}))
            .timeout(Duration::from_secs(2))
            .send()
            .unwrap()
    });
    assert!(response.is_success());
    let request = test.requests().remove(0);
    assert_eq!(request.body, br#"{"n":1}"#);
    assert_eq!(request.timeout_ms, Some(2000));
    let headers: Vec<(&str, &str)> =
        request.headers.iter().map(|it| (it.name.as_str(), it.value.as_str())).collect();
    assert_eq!(headers, [("accept", "k"), ("content-type", "application/json")]);
}

#[test]
fn a_response_slower_than_the_timeout_is_a_timeout() {
    let test = Harness::<Any>::new();
    test.expect("api", "GET /x", Reply::status(200).after(Duration::from_secs(3)));
    let request = Endpoint::new("api").get("/x").timeout(Duration::from_secs(2));
    let error = test.run(|| request.send().map(|_| ()).unwrap_err());
    assert_eq!(*error.code(), ErrorCode::Timeout);
    assert_eq!(test.elapsed(), Duration::from_secs(2));
}

#[test]
fn lines_are_split_across_piece_boundaries() {
    let reply = Reply::status(200).body("one\ntw").body("o\r").body("\n\nthree");
    let lines: Vec<String> = answered(reply, |it| it.lines().map(Result::unwrap).collect());
    assert_eq!(lines, ["one", "two", "", "three"]);
}

#[test]
fn json_values_are_split_across_piece_boundaries_without_separators() {
    let reply =
        Reply::status(200).body(r#"{"n":1}{"n""#).body(":2}\n").body(" ").body(r#"{"n":3}"#);
    let values: Vec<Count> = answered(reply, |it| it.values().map(Result::unwrap).collect());
    assert_eq!(values, [Count { n: 1 }, Count { n: 2 }, Count { n: 3 }]);
}

#[test]
fn a_value_of_another_type_is_an_error_of_its_own() {
    let reply = Reply::status(200).body(r#"{"n":1}{"n":"two"}{"n":3}"#);
    let values: Vec<Result<Count>> = answered(reply, |it| it.values().collect());
    assert_eq!(values[0], Ok(Count { n: 1 }));
    let message = values[1].as_ref().unwrap_err().message();
    assert!(message.starts_with("GET /x: unexpected value: invalid type"), "{message}");
    assert_eq!(values[2], Ok(Count { n: 3 }));
}

#[test]
fn a_broken_or_invalid_stream_ends_after_its_error() {
    let broken = Error::internal("connection reset");
    let reply = Reply::status(200).body(r#"{"n":1}{"n""#).breaks(broken);
    let values: Vec<Result<Count>> = answered(reply, |it| it.values().collect());
    assert_eq!(values.len(), 2);
    assert_eq!(values[1].as_ref().unwrap_err().message(), "GET /x: connection reset");

    let reply = Reply::status(200).body(r#"{"n":1} oops {"n":2}"#);
    let values: Vec<Result<Count>> = answered(reply, |it| it.values().collect());
    assert_eq!(values.len(), 2);
    assert!(values[1].is_err());

    let reply = Reply::status(200).body(r#"{"n":1}{"n"#);
    let values: Vec<Result<Count>> = answered(reply, |it| it.values().collect());
    assert_eq!(values.len(), 2);
    assert!(values[1].is_err());
}

#[test]
fn an_endless_line_or_value_is_an_error() {
    let flood = || {
        let mut reply = Reply::status(200);
        for _ in 0..40 {
            reply = reply.body(vec![b'['; 60 << 10]);
        }
        reply
    };
    let lines: Vec<Result<String>> = answered(flood(), |it| it.lines().collect());
    assert_eq!(lines.len(), 1);
    assert!(lines[0].as_ref().unwrap_err().message().contains("without an end"));
    let mut quoted = Reply::status(200).body("\"");
    for _ in 0..40 {
        quoted = quoted.body(vec![b'a'; 60 << 10]);
    }
    let values: Vec<Result<Count>> = answered(quoted, |it| it.values().collect());
    assert_eq!(values.len(), 1);
    assert!(values[0].as_ref().unwrap_err().message().contains("without an end"));
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let error = answered(Reply::status(200).body("12345"), |it| it.bytes(4)).unwrap_err();
    assert_eq!(error.message(), "GET /x: the response has more than 4 bytes");
}

#[test]
fn an_unexpected_json_body_names_the_expected_type() {
    let error = answered(Reply::json(json!({"n": "x"})), |it| it.json::<Count>()).unwrap_err();
    assert_eq!(
        error.message(),
        r#"GET /x: unexpected response: invalid type: string "x", expected u32 at line 1 column 8"#
    );
}

#[test]
fn a_custom_reason_phrase_is_returned() {
    let reply = Reply::status(500).reason("CT 100 already running");
    assert_eq!(answered(reply, |it| it.reason()).unwrap(), "CT 100 already running");
    assert_eq!(answered(Reply::status(500), |it| it.reason()), None);
}
