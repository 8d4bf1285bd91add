//! Live progress of waiting pages on the reserved path.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::{sync::atomic::Ordering, time::Duration};

use common::{Backend, LAST_GET, OK, Plan, Router, Wire, until};
use drowse_core::{ErrorCode, Failure, Phase};
use drowse_proxy::WaitingSettings;
use drowse_routes::Waiting;
use serde_json::Value;

/// The data of a waiting page.
struct Page {
    data: Value,
}

/// An event stream.
struct Stream(Wire);

/// One event.
struct Event {
    id: String,
    data: Value,
}

// === impl Page ===

impl Page {
    async fn load(router: &Router) -> Self {
        let answer = router.ask(LAST_GET).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        let data = answer.split("id=\"drowse-state\">").nth(1).unwrap();
        let data = data.split("</script>").next().unwrap();
        Self { data: serde_json::from_str(data).unwrap() }
    }

    fn url(&self, which: &str) -> &str {
        self.data["live"][which].as_str().unwrap()
    }

    async fn follow(&self, router: &Router) -> Stream {
        Stream::open(router, self.url("events"), "").await
    }
}

// === impl Stream ===

impl Stream {
    async fn open(router: &Router, url: &str, lines: &str) -> Self {
        let mut wire = router.connect().await;
        wire.send(get(url, lines)).await;
        let head = wire.head().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        assert!(head.contains("cache-control: no-store"), "{head}");
        Self(wire)
    }

    /// The text of one chunk: an event or a comment.
    async fn chunk(&mut self) -> String {
        let mut size = String::new();
        while !size.ends_with("\r\n") {
            size.push_str(&self.0.exactly(1).await);
        }
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let text = self.0.exactly(size + 2).await;
        text.trim_end_matches("\r\n").to_owned()
    }

    async fn next(&mut self) -> Event {
        loop {
            let chunk = self.chunk().await;
            assert!(!chunk.is_empty(), "the stream must not end");
            if chunk.starts_with("event: alive\n") {
                continue;
            }
            let field = |name: &str| {
                let line = chunk.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.trim_start().to_owned()
            };
            assert_eq!(field("event:"), "progress");
            assert_eq!(field("retry:"), "2000");
            let data = serde_json::from_str(&field("data:")).unwrap();
            return Event { id: field("id:"), data };
        }
    }

    /// The next event with this phase.
    async fn phase(&mut self, phase: &str) -> Event {
        loop {
            let event = self.next().await;
            if event.data["phase"] == phase {
                return event;
            }
        }
    }
}

fn get(url: &str, lines: &str) -> String {
    format!("GET {url} HTTP/1.1\r\nHost: app.test\r\n{lines}\r\n")
}

fn last_get(url: &str) -> String {
    get(url, "Connection: close\r\n")
}

async fn asleep(settings: WaitingSettings) -> (Backend, Router) {
    let (backend, _) = Backend::answering(OK).await;
    let plan = Plan {
        waiting: Waiting::Page,
        eager: false,
        waiting_settings: settings,
        ..Plan::new(backend.address)
    };
    let router = plan.run();
    (backend, router)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_gets_progress_until_the_workload_is_ready() {
    let (_backend, router) = asleep(WaitingSettings::default()).await;
    let page = Page::load(&router).await;
    assert_eq!(page.data["progress"]["phase"], "waking");
    let mut stream = page.follow(&router).await;
    let first = stream.next().await;
    assert_eq!(first.data["phase"], "waking", "the current state is sent at once");
    assert!(first.data["elapsed"].is_number());
    router.fake.may_start.add_permits(1);
    let ready = stream.phase("ready").await;
    assert_ne!(ready.id, first.id);
    assert_eq!(ready.data["state"], "ready");
    assert_eq!(router.visits(), 0, "a progress stream is not a visit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_subscribes_after_the_gate_has_opened_gets_ready() {
    let (_backend, router) = asleep(WaitingSettings::default()).await;
    let page = Page::load(&router).await;
    router.fake.may_start.add_permits(1);
    router.phase(Phase::Ready).await;
    assert_eq!(page.follow(&router).await.next().await.data["state"], "ready");
    let answer = router.ask(&last_get(page.url("state"))).await;
    assert!(answer.contains("application/json") && answer.contains("\"state\":\"ready\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reopened_stream_starts_with_the_current_state() {
    let (_backend, router) = asleep(WaitingSettings::default()).await;
    let page = Page::load(&router).await;
    let mut stream = page.follow(&router).await;
    let last = stream.next().await.id;
    drop(stream);
    router.fake.may_start.add_permits(1);
    router.phase(Phase::Ready).await;
    let line = format!("Last-Event-ID: {last}\r\n");
    let mut again = Stream::open(&router, page.url("events"), &line).await;
    assert_eq!(again.next().await.data["phase"], "ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_subscriber_gets_the_elapsed_time() {
    let (backend, _) = Backend::answering(OK).await;
    let waiting = Waiting::Page;
    let plan = Plan { waiting, eager: false, threads: 1, ..Plan::new(backend.address) };
    let router = plan.run();
    let page = Page::load(&router).await;
    let mut first = page.follow(&router).await;
    first.next().await;
    // Only time passes.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let event = page.follow(&router).await.next().await;
    assert!(event.data["elapsed"].as_f64().unwrap() >= 0.7, "{}", event.data);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_streams_wake_nothing_and_keep_nothing_awake() {
    let (backend, _) = Backend::answering(OK).await;
    let idle = Some(Duration::from_millis(200));
    let plan = Plan { waiting: Waiting::Page, eager: false, idle, ..Plan::new(backend.address) };
    let router = plan.run();
    let page = Page::load(&router).await;
    let mut stream = page.follow(&router).await;
    router.fake.may_start.add_permits(1);
    stream.phase("ready").await;
    // The workload goes to sleep while the stream is open.
    stream.phase("asleep").await;
    assert_eq!((router.fake.starts(), router.fake.stops()), (1, 1));
    let answer = router.ask(&last_get(page.url("state"))).await;
    assert!(answer.contains("\"phase\":\"asleep\""), "{answer}");
    assert_eq!(router.fake.starts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_has_a_reason_and_a_retry_time_but_no_details() {
    let (_backend, router) = asleep(WaitingSettings::default()).await;
    let message = "connect unix:///var/run/engine.sock 172.17.0.2: refused";
    let page = Page::load(&router).await;
    let mut stream = page.follow(&router).await;
    stream.next().await;
    *router.fake.refusal.lock().unwrap() = Some(Failure::new(ErrorCode::Unavailable, message));
    router.fake.may_start.add_permits(1);
    let failed = stream.phase("failed").await.data;
    assert_eq!(failed["failure"]["reason"], "The platform that runs it cannot be reached.");
    assert!(failed["failure"]["retry_in"].as_f64().unwrap() > 0.0, "{failed}");
    assert!(!failed.to_string().contains("172.17"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_signed_urls_get_progress() {
    let (_backend, router) = asleep(WaitingSettings::default()).await;
    let page = Page::load(&router).await;
    let url = page.url("events").to_owned();
    let endpoint = "/.well-known/drowse/waiting/events";
    for url in [
        endpoint.to_owned(),
        format!("{endpoint}?route=%2F"),
        format!("{endpoint}?route=%2F&key=00"),
        url.replace("route=%2F", "route=%2Fother"),
        "/.well-known/drowse/other".to_owned(),
    ] {
        let answer = router.ask(&last_get(&url)).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{url}: {answer}");
    }
    let post = last_get(&url).replace("GET", "POST");
    let refused = router.ask(&post).await;
    assert!(refused.starts_with("HTTP/1.1 405") && refused.contains("allow: GET, HEAD\r\n"));
    let other = last_get(&url).replace("app.test", "other.test");
    assert!(router.ask(&other).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_streams_is_limited_and_a_closed_stream_frees_its_place() {
    let settings = WaitingSettings { max_streams: 2, ..WaitingSettings::default() };
    let (_backend, router) = asleep(settings).await;
    let page = Page::load(&router).await;
    let mut first = page.follow(&router).await;
    let mut second = page.follow(&router).await;
    first.next().await;
    second.next().await;
    let full = router.ask(&last_get(page.url("events"))).await;
    assert!(full.starts_with("HTTP/1.1 503") && full.contains("streams-full"), "{full}");
    let answer = router.ask(&last_get(page.url("state"))).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "polling is always possible");
    drop(first);
    // The router notices the disconnect.
    common::within(async {
        loop {
            let mut wire = router.connect().await;
            wire.send(get(page.url("events"), "")).await;
            if wire.head().await.starts_with("HTTP/1.1 200") {
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_reaches_all_streams() {
    let (_backend, router) = asleep(WaitingSettings::default()).await;
    let page = Page::load(&router).await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut stream = page.follow(&router).await;
        stream.next().await;
        streams.push(stream);
    }
    router.fake.may_start.add_permits(1);
    for stream in &mut streams {
        stream.phase("ready").await;
    }
    assert_eq!(router.fake.starts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_at_shutdown() {
    let (_backend, router) = asleep(WaitingSettings::default()).await;
    let mut stream = Page::load(&router).await.follow(&router).await;
    stream.next().await;
    assert!(router.shutdown(common::LONG).await, "shutdown was graceful");
    assert_eq!(stream.chunk().await, "", "the stream ends with an empty chunk");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_are_shown_only_if_configured() {
    for (logs, lines) in [(0, Value::Array(Vec::new())), (2, serde_json::json!(["two", "three"]))] {
        let settings = WaitingSettings { logs, ..WaitingSettings::default() };
        let (_backend, router) = asleep(settings).await;
        let logs_of_app = ["one", "\u{1b}[31mtwo\u{1b}[0m", "three"].map(str::to_owned);
        *router.fake.logs.lock().unwrap() = logs_of_app.to_vec();
        let page = Page::load(&router).await;
        assert_eq!(page.data["progress"]["logs"], lines);
        assert_eq!(page.follow(&router).await.next().await.data["logs"], lines);
        assert_eq!(router.fake.asked.load(Ordering::SeqCst) > 0, logs > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_log_lines_reach_the_page() {
    let settings = WaitingSettings { logs: 5, ..WaitingSettings::default() };
    let (_backend, router) = asleep(settings).await;
    let mut stream = Page::load(&router).await.follow(&router).await;
    stream.next().await;
    router.fake.logs.lock().unwrap().push("listening soon".to_owned());
    let event = stream.next().await;
    assert_eq!(event.data["logs"], serde_json::json!(["listening soon"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_providers_own_progress_is_the_last_line() {
    let settings = WaitingSettings { logs: 2, ..WaitingSettings::default() };
    let (_backend, router) = asleep(settings).await;
    *router.fake.logs.lock().unwrap() = ["one", "two"].map(str::to_owned).to_vec();
    *router.fake.said.lock().unwrap() = Some("pulling: 2 of 3".to_owned());
    let page = Page::load(&router).await;
    let lines = serde_json::json!(["two", "pulling: 2 of 3"]);
    assert_eq!(page.data["progress"]["logs"], lines);
    let mut stream = page.follow(&router).await;
    assert_eq!(stream.next().await.data["logs"], lines);
    *router.fake.said.lock().unwrap() = None;
    assert_eq!(stream.next().await.data["logs"], serde_json::json!(["one", "two"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_live_progress_the_reserved_path_reaches_the_workload() {
    let settings = WaitingSettings { live: false, ..WaitingSettings::default() };
    let (_backend, router) = asleep(settings).await;
    let page = Page::load(&router).await;
    assert_eq!(page.data["live"], Value::Null);
    router.fake.may_start.add_permits(1);
    router.phase(Phase::Ready).await;
    let answer = router.ask(&last_get("/.well-known/drowse/waiting/events")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hi"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_path_reaches_the_workload() {
    let (_backend, router) = asleep(WaitingSettings::default()).await;
    router.workload.wake(drowse_core::Cause::new(drowse_core::Trigger::Request));
    router.fake.may_start.add_permits(1);
    router.phase(Phase::Ready).await;
    for path in ["/.well-known/drowse", "/.well-known/drowsed/x", "/.well-known/x", "/drowse/"] {
        assert!(router.ask(&last_get(path)).await.starts_with("HTTP/1.1 200"), "{path}");
    }
    until(|| router.visits() == 0).await;
}
