//! The reserved path on every app's own host, where waiting pages get progress.
//!
//! `/.well-known/drowse/waiting/events` is an event stream (WHATWG `EventSource`),
//! `/.well-known/drowse/waiting/state` the current state as JSON. Both name the route and carry a
//! signature, which only pages of this router have. They are answered whether the gate is open or
//! closed: a page that asks just after the gate has opened must learn that. They never wake a
//! workload, are no visits and keep nothing awake.

use std::{net::IpAddr, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use drowse_core::Workload;
use futures_util::stream;
use http::{
    HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
    request,
};

use super::{
    stream::ProgressStreams,
    urls::{EVENTS, PageLocation, RESERVED, STATE, parameter},
};
use crate::{
    http::rejection::{ProblemDetails, no_store},
    http::{connection::HttpConnection, response_body::ResponseBody},
    progress::Progress,
};

/// `Retry-After` when there are too many streams.
const STREAMS_FULL_RETRY: Duration = Duration::from_secs(5);

/// Tells nginx not to buffer the response.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The resource that a request below the reserved path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Events,
    State,
}

/// Returns whether the path is below the reserved one, and that is served here.
pub(crate) fn is_reserved(streams: &ProgressStreams, path: &str) -> bool {
    path.starts_with(RESERVED) && streams.room().is_live()
}

/// Answers a request below the reserved path. `find` returns the workload of a route's path.
pub(crate) async fn answer(
    streams: &ProgressStreams,
    connection: &Rc<HttpConnection>,
    address: IpAddr,
    listener: &str,
    host: &HeaderValue,
    head: &request::Parts,
    find: impl FnOnce(&str) -> Option<Arc<Workload>>,
) -> Result<Response<ResponseBody>, ProblemDetails> {
    let not_found =
        || ProblemDetails::new(StatusCode::NOT_FOUND, "There is nothing at this address.");
    let resource = match head.uri.path() {
        EVENTS => Resource::Events,
        STATE => Resource::State,
        _ => return Err(not_found()),
    };
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(ProblemDetails::only("GET, HEAD", "This address is read-only."));
    }
    let query = head.uri.query().unwrap_or_default();
    let path = parameter(query, "route").ok_or_else(not_found)?;
    let location = PageLocation { listener, host, path: &path };
    let signature = parameter(query, "key").unwrap_or_default();
    if !streams.room().key().verify(&location.fields(), &signature) {
        return Err(not_found());
    }
    let workload = find(&path).ok_or_else(not_found)?;
    match resource {
        Resource::Events if head.method == Method::GET => {
            events(streams, connection, address, &workload).await
        }
        _ => {
            let log_tail = streams.room().log_tail(&workload).await;
            let state = serde_json::to_vec(&Progress::of(&workload, log_tail)).unwrap_or_default();
            let content_type = HeaderValue::from_static("application/json");
            let response = no_store(content_type, Bytes::from(state));
            Ok(response.map(|body| ResponseBody::bytes(body, connection)))
        }
    }
}

async fn events(
    streams: &ProgressStreams,
    connection: &Rc<HttpConnection>,
    address: IpAddr,
    workload: &Arc<Workload>,
) -> Result<Response<ResponseBody>, ProblemDetails> {
    let permit = streams.room().stream_limit().acquire(address).ok_or_else(|| {
        ProblemDetails::new(StatusCode::SERVICE_UNAVAILABLE, "Too many waiting pages are open.")
            .code("streams-full")
            .retry_after(STREAMS_FULL_RETRY)
    })?;
    let progress = streams.open(workload).await;
    // The progress stream and the permit are held until the response is dropped.
    let held = (progress.subscribe(), progress, permit);
    let events = stream::unfold(held, |(mut subscriber, progress, permit)| async move {
        let event = subscriber.next().await?;
        Some((event, (subscriber, progress, permit)))
    });
    let mut response = Response::new(ResponseBody::stream(events, connection));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}
