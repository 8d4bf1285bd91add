//! The log of failed requests is bounded: visitors cannot fill it.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use common::{LAST_GET, OK, Plan, Refusing, within};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Records the messages of the proxy's events above `DEBUG`.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

struct Message<'a>(&'a mut Vec<String>);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0.push(format!("{value:?}"));
        }
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && metadata.target().starts_with("drowse_proxy")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Message(&mut self.0.lock().unwrap()));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn many_failed_requests_write_few_log_lines() {
    let recorder = Recorder::default();
    tracing::subscriber::set_global_default(recorder.clone()).unwrap();
    let port = Refusing::new();
    let backend = common::Backend::on(port.listen(), |mut wire| async move {
        wire.head().await;
        wire.send(OK).await;
    });
    let router = Plan { threads: 1, ..Plan::new(port.address) }.run();
    assert!(router.ask(LAST_GET).await.starts_with("HTTP/1.1 200"));
    drop(backend);
    let mut visitors = router.ask_at_once(50, LAST_GET).await;
    while let Some(answer) = within(visitors.join_next()).await {
        assert!(answer.unwrap().starts_with("HTTP/1.1 502"));
    }
    let lines = recorder.0.lock().unwrap().clone();
    let count = |message: &str| lines.iter().filter(|line| line.contains(message)).count();
    assert_eq!(count("upstream failed"), 1, "{lines:?}");
    assert!(lines.len() <= 4, "a line per kind of failure and a summary: {lines:?}");
}
