//! State that the HTTP services of one thread share.

use std::rc::Rc;

use super::pool::ConnectionPool;
use crate::{
    access::ForwardAuthClient, admission::Admission, via::LoopGuard, waiting::ProgressStreams,
    worker::Worker,
};

/// State that the HTTP services of one thread share.
pub(crate) struct HttpShared {
    pub(crate) worker: Rc<Worker>,
    pub(crate) pool: Rc<ConnectionPool>,
    pub(crate) admission: Admission,
    pub(crate) streams: Rc<ProgressStreams>,
    pub(crate) forward_auth: ForwardAuthClient,
    pub(crate) loops: LoopGuard,
}
