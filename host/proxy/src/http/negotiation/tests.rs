use super::*;

fn media_type(accept: &'static str) -> MediaType {
    accepted(Some(&HeaderValue::from_static(accept)))
}

#[test]
fn people_get_html_and_programs_get_json() {
    assert_eq!(media_type("text/html,application/xhtml+xml,*/*;q=0.8"), MediaType::Html);
    assert_eq!(media_type("application/json, TEXT/HTML;q=0.1"), MediaType::Html);
    assert_eq!(media_type("text/html;q=0, application/json"), MediaType::Json);
    assert_eq!(media_type("*/*"), MediaType::Json);
    assert_eq!(media_type("application/json"), MediaType::Json);
    assert_eq!(accepted(None), MediaType::Json);
}

#[test]
fn a_navigation_is_declared_by_the_browser_or_accepts_html() {
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
fn a_request_for_a_frame_gets_no_page() {
    let mut headers = HeaderMap::new();
    headers.insert("sec-fetch-mode", HeaderValue::from_static("navigate"));
    for (destination, page) in
        [("document", true), ("iframe", false), ("embed", false), ("object", false)]
    {
        headers.insert("sec-fetch-dest", HeaderValue::from_static(destination));
        assert_eq!(is_navigation(&Method::GET, &headers), page, "{destination}");
        assert_eq!(can_show_page(&Method::GET, &headers), page, "{destination}");
        assert!(is_repeatable(&Method::GET, &headers));
    }
}

#[test]
fn a_request_that_cannot_be_repeated_gets_no_page() {
    let mut headers = HeaderMap::new();
    assert!(can_show_page(&Method::GET, &headers) && can_show_page(&Method::HEAD, &headers));
    assert!(!can_show_page(&Method::POST, &headers) && !can_show_page(&Method::PUT, &headers));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    assert!(!can_show_page(&Method::GET, &headers));
}
