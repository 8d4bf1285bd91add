use super::*;

fn accept(value: &'static str) -> Reads {
    reads(Some(&HeaderValue::from_static(value)))
}

#[test]
fn people_get_html_and_programs_get_json() {
    assert_eq!(accept("text/html,application/xhtml+xml,*/*;q=0.8"), Reads::Html);
    assert_eq!(accept("application/json, TEXT/HTML;q=0.1"), Reads::Html);
    assert_eq!(accept("text/html;q=0, application/json"), Reads::Json);
    assert_eq!(accept("*/*"), Reads::Json);
    assert_eq!(accept("application/json"), Reads::Json);
    assert_eq!(reads(None), Reads::Json);
}

#[test]
fn a_navigation_is_what_the_browser_says_or_what_reads_html() {
    let navigates = |method: Method, lines: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        is_navigation(&method, &headers)
    };
    assert!(navigates(Method::GET, &[("sec-fetch-mode", "navigate")]));
    assert!(navigates(Method::HEAD, &[("accept", "text/html")]));
    assert!(!navigates(Method::POST, &[("sec-fetch-mode", "navigate")]));
    assert!(!navigates(Method::GET, &[("sec-fetch-mode", "cors"), ("accept", "text/html")]));
    assert!(!navigates(Method::GET, &[("sec-fetch-mode", "websocket")]));
    assert!(!navigates(Method::GET, &[("accept", "*/*")]));
}

#[test]
fn a_problem_is_told_in_the_clients_language() {
    let name = WorkloadName::parse("blog").unwrap();
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "blog is <asleep>")
        .of(&name, Phase::Asleep)
        .retry_after(Duration::from_millis(1500));
    let json = problem.response(Reads::Json);
    assert_eq!(json.headers()["content-type"], "application/problem+json");
    assert_eq!(json.headers()["cache-control"], "no-store");
    assert_eq!(json.headers()["retry-after"], "2");
    let value: serde_json::Value = serde_json::from_slice(json.body()).unwrap();
    assert_eq!(
        value,
        serde_json::json!({
            "type": "about:blank",
            "title": "Service Unavailable",
            "status": 503,
            "detail": "blog is <asleep>",
            "workload": "blog",
            "phase": "asleep",
            "retry_after": 2,
        })
    );
    let html = problem.response(Reads::Html);
    let text = std::str::from_utf8(html.body()).unwrap();
    assert!(text.contains("blog is &lt;asleep&gt;"));
    assert!(html.headers()["content-security-policy"].to_str().unwrap().contains("'none'"));
}

#[test]
fn a_program_learns_how_far_the_wake_has_come() {
    let name = WorkloadName::parse("blog").unwrap();
    let snapshot = Snapshot {
        phase: Phase::Waking,
        generation: drowse_core::Generation(1),
        stage: Some(Stage::Queued { place: 2, of: 5 }),
        expected: Some(Duration::from_millis(8_250)),
        failure: None,
        since: std::time::Instant::now() - Duration::from_secs(3),
        wake_wanted: false,
        rest_until: None,
        completed: None,
    };
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not yet").code("not-ready");
    let json = problem.during(&name, &snapshot).response(Reads::Json);
    let value: serde_json::Value = serde_json::from_slice(json.body()).unwrap();
    assert_eq!(value["code"], "not-ready");
    assert_eq!(value["phase"], "waking");
    assert_eq!(value["stage"], "queued");
    assert_eq!(value["queue"], serde_json::json!({ "place": 2, "of": 5 }));
    assert!((3.0..5.0).contains(&value["elapsed"].as_f64().unwrap()), "{value}");
    assert_eq!(value["expected"], 8.3);
}

#[test]
fn a_page_is_never_an_answer_to_what_could_be_lost() {
    let mut headers = HeaderMap::new();
    assert!(can_be_shown(&Method::GET, &headers) && can_be_shown(&Method::HEAD, &headers));
    assert!(!can_be_shown(&Method::POST, &headers) && !can_be_shown(&Method::PUT, &headers));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    assert!(!can_be_shown(&Method::GET, &headers));
}
