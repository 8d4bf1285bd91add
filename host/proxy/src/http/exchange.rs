//! One exchange: an admitted request and its response.

use std::{cell::Cell, rc::Rc};

use drowse_core::Visit;

use super::connection::HttpConnection;

/// An admitted request and its response. Both bodies hold the exchange, and with it the visit,
/// until each has passed its last byte.
pub(crate) struct Exchange {
    pub(crate) visit: Visit,
    pub(crate) connection: Rc<HttpConnection>,
    /// The request's body has not passed its last byte.
    uploading: Cell<bool>,
}

// === impl Exchange ===

impl Exchange {
    pub(crate) fn new(visit: Visit, connection: &Rc<HttpConnection>) -> Rc<Self> {
        Rc::new(Self { visit, connection: connection.clone(), uploading: Cell::new(false) })
    }

    pub(crate) fn is_uploading(&self) -> bool {
        self.uploading.get()
    }

    pub(crate) fn set_uploading(&self, uploading: bool) {
        self.uploading.set(uploading);
    }
}
