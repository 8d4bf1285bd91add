//! One page that follows along: the events that it is sent.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{Outlook, Progress};

/// A stream that has nothing to say says that it is there. As an event, because a page is not told
/// of comments.
const HEARTBEAT: Duration = Duration::from_secs(15);
const ALIVE: Bytes = Bytes::from_static(b"event: alive\ndata: {}\n\n");
/// A stream ends after so long. The browser takes it up again by itself, if it is still there.
const LONGEST: Duration = Duration::from_secs(300);
/// One that has said that the wait is over has nothing more to say.
const AFTERWARDS: Duration = Duration::from_secs(30);
/// A browser that lost its stream comes back after so long.
const RETRY: Duration = Duration::from_secs(2);

/// One event, written once for all who follow.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// Counts the news of a feed.
    pub(super) number: u64,
    text: Bytes,
    /// It says that the wait is over.
    last: bool,
}

/// What one stream has been sent and is to be sent.
pub(super) struct Follower {
    first: Option<Event>,
    news: watch::Receiver<Event>,
    ends: Instant,
}

// === impl Event ===

impl Event {
    pub(super) fn new(progress: &Progress, number: u64) -> Self {
        let data = serde_json::to_string(progress).unwrap_or_default();
        let (generation, retry) = (progress.generation, RETRY.as_millis());
        let text =
            format!("event: progress\nid: {generation}-{number}\nretry: {retry}\ndata: {data}\n\n");
        Self { number, text: text.into(), last: progress.state == Outlook::Ready }
    }
}

// === impl Follower ===

impl Follower {
    /// Somebody who is told `first` at once, and then what is new.
    pub(super) fn new(first: Event, news: watch::Receiver<Event>) -> Self {
        Self { first: Some(first), news, ends: Instant::now() + LONGEST }
    }

    /// The next event, if the stream has not ended.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        let event = match self.first.take() {
            Some(first) => first,
            None => tokio::select! {
                biased;
                changed = self.news.changed() => {
                    changed.ok()?;
                    self.news.borrow_and_update().clone()
                }
                () = sleep_until(self.ends) => return None,
                () = sleep(HEARTBEAT) => return Some(ALIVE),
            },
        };
        if event.last {
            self.ends = self.ends.min(Instant::now() + AFTERWARDS);
        }
        Some(event.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::waiting::samples;

    fn follower(progress: &Progress) -> (watch::Sender<Event>, Follower) {
        let first = Event::new(progress, 0);
        let (say, news) = watch::channel(first.clone());
        (say, Follower::new(first, news))
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_without_news_says_that_it_is_there_and_ends_after_a_while() {
        let [waking, ..] = samples();
        let (_say, mut follower) = follower(&waking);
        let begun = Instant::now();
        assert!(follower.next().await.unwrap().starts_with(b"event: progress\n"));
        assert_eq!(follower.next().await, Some(ALIVE));
        assert_eq!(begun.elapsed().as_secs(), HEARTBEAT.as_secs());
        while follower.next().await.is_some() {}
        assert_eq!(begun.elapsed().as_secs(), LONGEST.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_soon_after_the_wait_is_over() {
        let [waking, ..] = samples();
        let (say, mut follower) = follower(&waking);
        follower.next().await;
        let ready = Progress { state: Outlook::Ready, ..waking };
        let over = Instant::now();
        say.send_replace(Event::new(&ready, 1));
        assert!(follower.next().await.is_some_and(|text| text.starts_with(b"event: progress")));
        while follower.next().await.is_some() {}
        assert_eq!(over.elapsed().as_secs(), AFTERWARDS.as_secs());
    }
}
