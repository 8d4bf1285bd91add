//! The reserved path on every app's own host, where waiting pages learn of progress.
//!
//! `/.well-known/drowse/waiting/events` is a stream of events (the WHATWG's `EventSource`),
//! `/.well-known/drowse/waiting/state` the same once, as JSON. Both name the route and carry a
//! signature that only a page of ours knows. They are answered whether the gate is open or closed:
//! a page that asks a moment after it opened has to learn that, too. They never wake anything, are
//! no visits and keep nothing awake.

use std::{net::IpAddr, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use drowse_core::Workload;
use futures_util::stream;
use http::{
    HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
    request,
};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{Feeds, Progress, key::Key};
use crate::{
    answer::{Problem, no_store},
    body::Answered,
    client::Client,
    page::Live,
};

/// Everything below is ours while live progress is switched on.
pub(crate) const RESERVED: &str = "/.well-known/drowse/";
const EVENTS: &str = "/.well-known/drowse/waiting/events";
const STATE: &str = "/.well-known/drowse/waiting/state";

/// When there are too many streams, it is worth coming back after so long.
const CROWDED: Duration = Duration::from_secs(5);

/// Proxies that collect answers are asked not to collect this one.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Where a page is shown: what its signature is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot<'a> {
    pub(crate) listener: &'a str,
    /// As the client says it.
    pub(crate) host: &'a HeaderValue,
    /// The route's path.
    pub(crate) path: &'a str,
}

/// What a request for the reserved path wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Events,
    State,
}

/// Where a page at this spot learns of progress.
pub(super) fn addresses(key: &Key, spot: &Spot<'_>) -> Live {
    let signature = key.sign(&spot.words());
    let path = utf8_percent_encode(spot.path, NON_ALPHANUMERIC);
    let address = |place| format!("{place}?route={path}&key={signature}");
    Live { events: address(EVENTS), state: address(STATE) }
}

/// The path is below the reserved one, and that is served here.
pub(crate) fn is_reserved(feeds: &Feeds, path: &str) -> bool {
    path.starts_with(RESERVED) && feeds.lobby().live
}

/// Answers a request of a client at this address for the reserved path. `find` leads from a route's path to its workload.
pub(crate) async fn answer(
    feeds: &Feeds,
    client: &Rc<Client>,
    address: IpAddr,
    listener: &str,
    host: &HeaderValue,
    head: &request::Parts,
    find: impl FnOnce(&str) -> Option<Arc<Workload>>,
) -> Result<Response<Answered>, Problem> {
    let nothing = || Problem::new(StatusCode::NOT_FOUND, "There is nothing at this address.");
    let wanted = match head.uri.path() {
        EVENTS => Wanted::Events,
        STATE => Wanted::State,
        _ => return Err(nothing()),
    };
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(Problem::only("GET, HEAD", "This address is only read."));
    }
    let query = head.uri.query().unwrap_or_default();
    let path = parameter(query, "route").ok_or_else(nothing)?;
    let spot = Spot { listener, host, path: &path };
    let signature = parameter(query, "key").unwrap_or_default();
    if !feeds.lobby().key.verify(&spot.words(), &signature) {
        return Err(nothing());
    }
    let workload = find(&path).ok_or_else(nothing)?;
    match wanted {
        Wanted::Events if head.method == Method::GET => {
            events(feeds, client, address, &workload).await
        }
        _ => {
            let tail = feeds.lobby().tail(&workload).await;
            let state = serde_json::to_vec(&Progress::of(&workload, tail)).unwrap_or_default();
            let kind = HeaderValue::from_static("application/json");
            Ok(no_store(kind, Bytes::from(state)).map(|body| Answered::ours(body, client)))
        }
    }
}

async fn events(
    feeds: &Feeds,
    client: &Rc<Client>,
    address: IpAddr,
    workload: &Arc<Workload>,
) -> Result<Response<Answered>, Problem> {
    let place = feeds.lobby().streams.begin(address).ok_or_else(|| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Too many pages follow along already.")
            .code("streams-full")
            .retry_after(CROWDED)
    })?;
    let feed = feeds.follow(workload).await;
    // The feed and the place among the streams are held until the stream is dropped.
    let held = (feed.follower(), feed, place);
    let events = stream::unfold(held, |(mut follower, feed, place)| async move {
        let event = follower.next().await?;
        Some((event, (follower, feed, place)))
    });
    let mut response = Response::new(Answered::live(events, client));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

/// A query's parameter, decoded.
fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    percent_decode_str(value).decode_utf8().ok().map(Into::into)
}

// === impl Spot ===

impl Spot<'_> {
    fn words(&self) -> [&str; 3] {
        [self.listener, self.host.to_str().unwrap_or_default(), self.path]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot<'a>(host: &'a HeaderValue, path: &'a str) -> Spot<'a> {
        Spot { listener: "web", host, path }
    }

    #[test]
    fn an_address_leads_back_to_its_spot() {
        let key = Key::random().unwrap();
        let host = HeaderValue::from_static("app.test:8080");
        for path in ["/", "/a/b", "/a&key=1", "/%20+é"] {
            let live = addresses(&key, &spot(&host, path));
            let (place, query) = live.events.split_once('?').unwrap();
            assert_eq!(place, EVENTS);
            assert!(live.events.is_ascii() && live.state.starts_with(STATE));
            assert_eq!(parameter(query, "route").unwrap(), path);
            let signature = parameter(query, "key").unwrap();
            assert!(key.verify(&spot(&host, path).words(), &signature));
            let other = HeaderValue::from_static("other.test");
            assert!(!key.verify(&spot(&other, path).words(), &signature));
            assert!(!key.verify(&spot(&host, "/x").words(), &signature));
        }
    }

    #[test]
    fn a_parameter_is_found_by_its_whole_name() {
        assert_eq!(parameter("xroute=1&route=%2Fa", "route").unwrap(), "/a");
        assert_eq!(parameter("route", "route"), None);
        assert_eq!(parameter("", "route"), None);
        assert_eq!(parameter("route=%FF", "route"), None);
    }
}
