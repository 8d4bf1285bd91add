use drowse_core::Stage;

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
    let json = problem.response(Format::Json);
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
    let theme = Theme::default();
    let html = problem.response(Format::Html { theme: &theme, repeatable: true });
    let text = std::str::from_utf8(html.body()).unwrap();
    assert!(text.contains("blog is &lt;asleep&gt;"));
    assert_eq!(html.headers()["retry-after"], "2");
}

#[test]
fn every_answer_of_ours_refuses_to_be_framed() {
    let theme = Theme::default();
    let problem = Problem::new(StatusCode::NOT_FOUND, "no");
    let pages = [
        problem.response(Format::Html { theme: &theme, repeatable: true }),
        waiting_page(Bytes::new(), &theme, 2),
    ];
    for page in &pages {
        assert_eq!(page.headers()["x-frame-options"], "DENY");
    }
    for answer in pages.iter().chain([&problem.response(Format::Json)]) {
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    }
}

#[test]
fn a_problem_is_a_page_of_the_theme_that_says_what_can_be_done() {
    let theme = Theme::default();
    let shown = |problem: &Problem, repeatable| {
        let page = problem.response(Format::Html { theme: &theme, repeatable });
        String::from_utf8(page.body().to_vec()).unwrap()
    };
    let missing = shown(&Problem::new(StatusCode::NOT_FOUND, "Nothing is served."), true);
    for part in ["data-state=\"notice\"", "There is nothing here", "404 Not Found", "class=\"sky\""]
    {
        assert!(missing.contains(part), "{part} in {missing}");
    }
    assert!(missing.contains("data-drowse-if=\"retry\" hidden"), "a link would lead here again");
    let broken = Problem::new(StatusCode::BAD_GATEWAY, "It is ready but does not answer.");
    let page = shown(&broken, true);
    assert!(page.contains("data-state=\"failed\"") && page.contains("502 Bad Gateway"), "{page}");
    assert!(page.contains("data-drowse-if=\"retry\">"), "{page}");
    let page = shown(&broken, false);
    assert!(page.contains("data-drowse-if=\"retry\" hidden"), "a body would be lost: {page}");
    let asked = Problem::new(StatusCode::UNAUTHORIZED, "no");
    let page = shown(&asked.challenge(HeaderValue::from_static("Basic realm=\"x\"")), true);
    assert!(page.contains("data-drowse-if=\"retry\">"), "the browser asks again: {page}");
    let later = Problem::new(StatusCode::TOO_MANY_REQUESTS, "no");
    let page = shown(&later.retry_after(Duration::from_secs(7)), true);
    assert!(page.contains("It can be tried again in 7 seconds."), "{page}");
}

#[test]
fn what_is_for_a_frame_is_held_and_gets_no_page() {
    let mut headers = HeaderMap::new();
    headers.insert("sec-fetch-mode", HeaderValue::from_static("navigate"));
    for (destination, page) in
        [("document", true), ("iframe", false), ("embed", false), ("object", false)]
    {
        headers.insert("sec-fetch-dest", HeaderValue::from_static(destination));
        assert_eq!(is_navigation(&Method::GET, &headers), page, "{destination}");
        assert_eq!(can_be_shown(&Method::GET, &headers), page, "{destination}");
        assert!(is_repeatable(&Method::GET, &headers));
    }
}

#[test]
fn a_program_learns_how_far_the_wake_has_come() {
    let name = WorkloadName::parse("blog").unwrap();
    let snapshot = Snapshot {
        phase: Phase::Waking,
        generation: drowse_core::Generation(1),
        stage: Some(Stage::Queued { position: 2, length: 5 }),
        expected: Some(Duration::from_millis(8_250)),
        failure: None,
        since: std::time::Instant::now() - Duration::from_secs(3),
        wake_wanted: false,
        rest_until: None,
        completed: None,
    };
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not yet").code("not-ready");
    let json = problem.at(&name, &snapshot).response(Format::Json);
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
