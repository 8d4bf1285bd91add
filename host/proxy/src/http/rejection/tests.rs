use drowse_core::Stage;

use super::*;

const JSON: Negotiated = Negotiated { media_type: MediaType::Json, repeatable: true };
const HTML_REPEATABLE: Negotiated = Negotiated { media_type: MediaType::Html, repeatable: true };

#[test]
fn an_error_is_rendered_in_the_negotiated_form() {
    let name = WorkloadName::parse("blog").unwrap();
    let problem = ProblemDetails::new(StatusCode::SERVICE_UNAVAILABLE, "blog is <asleep>")
        .of(&name, Phase::Asleep)
        .retry_after(Duration::from_millis(1500));
    let theme = Theme::default();
    let json = problem.render(JSON, &theme);
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
    let html = problem.render(HTML_REPEATABLE, &theme);
    let text = std::str::from_utf8(html.body()).unwrap();
    assert!(text.contains("blog is &lt;asleep&gt;"));
    assert_eq!(html.headers()["retry-after"], "2");
}

#[test]
fn no_response_of_the_router_can_be_framed() {
    let theme = Theme::default();
    let problem = ProblemDetails::new(StatusCode::NOT_FOUND, "no");
    let pages = [problem.render(HTML_REPEATABLE, &theme), waiting_page(Bytes::new(), &theme, 2)];
    for page in &pages {
        assert_eq!(page.headers()["x-frame-options"], "DENY");
    }
    for response in pages.iter().chain([&problem.render(JSON, &theme)]) {
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    }
}

#[test]
fn an_error_page_uses_the_theme_and_shows_what_the_visitor_can_do() {
    let theme = Theme::default();
    let shown = |problem: &ProblemDetails, repeatable| {
        let negotiated = Negotiated { media_type: MediaType::Html, repeatable };
        let page = problem.render(negotiated, &theme);
        String::from_utf8(page.body().to_vec()).unwrap()
    };
    let missing = shown(&ProblemDetails::new(StatusCode::NOT_FOUND, "Nothing is served."), true);
    for part in ["data-state=\"notice\"", "There is nothing here", "404 Not Found", "class=\"sky\""]
    {
        assert!(missing.contains(part), "{part} in {missing}");
    }
    assert!(missing.contains("data-drowse-if=\"retry\" hidden"), "a link would lead here again");
    let broken = ProblemDetails::new(StatusCode::BAD_GATEWAY, "It is ready but does not answer.");
    let page = shown(&broken, true);
    assert!(page.contains("data-state=\"failed\"") && page.contains("502 Bad Gateway"), "{page}");
    assert!(page.contains("data-drowse-if=\"retry\">"), "{page}");
    let page = shown(&broken, false);
    assert!(page.contains("data-drowse-if=\"retry\" hidden"), "a body would be lost: {page}");
    let asked = ProblemDetails::new(StatusCode::UNAUTHORIZED, "no");
    let page = shown(&asked.challenge(HeaderValue::from_static("Basic realm=\"x\"")), true);
    assert!(page.contains("data-drowse-if=\"retry\">"), "the browser asks again: {page}");
    let later = ProblemDetails::new(StatusCode::TOO_MANY_REQUESTS, "no");
    let page = shown(&later.retry_after(Duration::from_secs(7)), true);
    assert!(page.contains("It can be tried again in 7 seconds."), "{page}");
}

#[test]
fn problem_details_contain_the_progress_of_the_wake() {
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
    let problem = ProblemDetails::new(StatusCode::SERVICE_UNAVAILABLE, "not yet").code("not-ready");
    let json = problem.at(&name, &snapshot).render(JSON, &Theme::default());
    let value: serde_json::Value = serde_json::from_slice(json.body()).unwrap();
    assert_eq!(value["code"], "not-ready");
    assert_eq!(value["phase"], "waking");
    assert_eq!(value["stage"], "queued");
    assert_eq!(value["queue"], serde_json::json!({ "position": 2, "length": 5 }));
    assert!((3.0..5.0).contains(&value["elapsed"].as_f64().unwrap()), "{value}");
    assert_eq!(value["expected"], 8.3);
}
