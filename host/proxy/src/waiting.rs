//! Visitors that wait for a wake: held requests, the waiting page, and its progress streams.
//!
//! A visitor at a closed gate is held, gets the waiting page or is rejected, as its route says; see
//! [`Visitor`]. Waiting pages get progress on the reserved path; see [`endpoint`]. Each workload has
//! one [`ProgressStream`](stream) per thread, which observes the workload and sends every change to
//! all its subscribers. Observing a wake neither wakes a workload nor keeps it awake.

pub(crate) mod endpoint;
mod log_tail;
mod room;
mod signature;
mod stream;
mod stream_limit;
mod subscriber;
mod urls;

pub(crate) use room::WaitingRoom;
pub(crate) use stream::ProgressStreams;
pub(crate) use urls::PageLocation;
