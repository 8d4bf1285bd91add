//! The events of one waiting page.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use crate::progress::{PageState, Progress};

/// Time without an event until a heartbeat is sent. The heartbeat is an event, because
/// `EventSource` does not report comments to the page.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
const HEARTBEAT: Bytes = Bytes::from_static(b"event: alive\ndata: {}\n\n");
/// Maximum duration of a stream. The browser reopens it if the page is still there.
const MAX_DURATION: Duration = Duration::from_secs(300);
/// Maximum duration of a stream after the event that ends the wait.
const MAX_AFTER_READY: Duration = Duration::from_secs(30);
/// Time after which a browser reopens a lost stream, sent with every event.
const RETRY: Duration = Duration::from_secs(2);

/// One event, serialised once for all subscribers.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// Counts the changes of one progress stream.
    pub(super) number: u64,
    text: Bytes,
    /// The wait is over.
    is_last: bool,
}

/// The state of one response stream.
pub(super) struct Subscriber {
    first: Option<Event>,
    events: watch::Receiver<Event>,
    ends: Instant,
}

// === impl Event ===

impl Event {
    pub(super) fn new(progress: &Progress, number: u64) -> Self {
        let data = serde_json::to_string(progress).unwrap_or_default();
        let (generation, retry) = (progress.generation, RETRY.as_millis());
        let text =
            format!("event: progress\nid: {generation}-{number}\nretry: {retry}\ndata: {data}\n\n");
        Self { number, text: text.into(), is_last: progress.state == PageState::Ready }
    }
}

// === impl Subscriber ===

impl Subscriber {
    /// A subscriber that gets `first` at once, then every change.
    pub(super) fn new(first: Event, events: watch::Receiver<Event>) -> Self {
        Self { first: Some(first), events, ends: Instant::now() + MAX_DURATION }
    }

    /// The next event. None when the stream has ended.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        let event = match self.first.take() {
            Some(first) => first,
            None => tokio::select! {
                biased;
                changed = self.events.changed() => {
                    changed.ok()?;
                    self.events.borrow_and_update().clone()
                }
                () = sleep_until(self.ends) => return None,
                () = sleep(HEARTBEAT_INTERVAL) => return Some(HEARTBEAT),
            },
        };
        if event.is_last {
            self.ends = self.ends.min(Instant::now() + MAX_AFTER_READY);
        }
        Some(event.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::samples;

    fn subscriber(progress: &Progress) -> (watch::Sender<Event>, Subscriber) {
        let first = Event::new(progress, 0);
        let (sender, events) = watch::channel(first.clone());
        (sender, Subscriber::new(first, events))
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_without_changes_sends_heartbeats_and_ends_after_its_maximum_duration() {
        let [waking, ..] = samples();
        let (_sender, mut subscriber) = subscriber(&waking);
        let begun = Instant::now();
        assert!(subscriber.next().await.unwrap().starts_with(b"event: progress\n"));
        assert_eq!(subscriber.next().await, Some(HEARTBEAT));
        assert_eq!(begun.elapsed().as_secs(), HEARTBEAT_INTERVAL.as_secs());
        while subscriber.next().await.is_some() {}
        assert_eq!(begun.elapsed().as_secs(), MAX_DURATION.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_soon_after_the_workload_is_ready() {
        let [waking, ..] = samples();
        let (sender, mut subscriber) = subscriber(&waking);
        subscriber.next().await;
        let ready = Progress { state: PageState::Ready, ..waking };
        let ready_since = Instant::now();
        sender.send_replace(Event::new(&ready, 1));
        assert!(subscriber.next().await.is_some_and(|text| text.starts_with(b"event: progress")));
        while subscriber.next().await.is_some() {}
        assert_eq!(ready_since.elapsed().as_secs(), MAX_AFTER_READY.as_secs());
    }
}
