//! HTTP/1.1 on an accepted connection: the state that outlasts one exchange.

use std::{cell::Cell, net::IpAddr, rc::Rc};

use http::HeaderValue;

use super::deadline::ExchangeDeadline;
use crate::{
    client::{ClientConnection, TooSlow, is_trusted, socket::ClientState},
    clock::Clock,
    settings::ListenerSettings,
    worker::Deadlines,
};

/// A client's HTTP connection. It lives as long as the connection, or the tunnel that it became.
pub(crate) struct HttpConnection {
    pub(crate) client: ClientConnection,
    pub(crate) settings: Rc<ListenerSettings>,
    /// The client's address as a value of `X-Forwarded-For`.
    pub(crate) forwarded_for: HeaderValue,
    /// The client is a trusted proxy: its `X-Forwarded-*` headers are kept.
    pub(crate) trusted: bool,
    /// The deadline of the exchange in progress.
    pub(crate) deadline: ExchangeDeadline,
    /// Requests whose head has arrived on this connection.
    pub(crate) requests: Cell<u64>,
    /// The body of the last request was not read to its end.
    pub(crate) body_unread: Cell<bool>,
    /// The body of the last request failed on the client's side.
    pub(crate) body_failed: Cell<bool>,
}

// === impl HttpConnection ===

impl HttpConnection {
    pub(crate) fn new(
        client: ClientConnection,
        settings: Rc<ListenerSettings>,
        clock: &Clock,
    ) -> Rc<Self> {
        let forwarded_for = HeaderValue::try_from(client.address.to_string())
            .expect("an IP address has only visible characters");
        Rc::new(Self {
            forwarded_for,
            trusted: is_trusted(&settings.trust, client.address),
            deadline: ExchangeDeadline::new(clock),
            requests: Cell::new(0),
            body_unread: Cell::new(false),
            body_failed: Cell::new(false),
            client,
            settings,
        })
    }

    /// The client's address.
    pub(crate) fn address(&self) -> IpAddr {
        self.client.address
    }

    /// A request's head has arrived.
    pub(crate) fn begin_request(&self) {
        self.requests.set(self.requests.get() + 1);
        self.body_unread.set(false);
        self.body_failed.set(false);
        self.client.socket.set_state(ClientState::AwaitingResponse);
    }

    /// The response's last byte has been handed to the connection.
    pub(crate) fn end_response(&self) {
        self.deadline.response_ended();
        self.client.socket.set_state(ClientState::Idle);
    }

    /// The client has begun to send a request, or has connected and not sent one yet.
    pub(crate) fn is_sending_request(&self) -> bool {
        match self.client.socket.state() {
            ClientState::SendingHead => true,
            ClientState::AwaitingResponse => false,
            ClientState::Idle => self.client.socket.has_unread(),
        }
    }
}

impl Deadlines for HttpConnection {
    fn check(&self) -> Result<(), TooSlow> {
        let limits = &self.settings.limits;
        self.deadline.check(limits);
        let socket = &self.client.socket;
        if socket.is_write_blocked() {
            if socket.is_write_blocked_for(limits.send_timeout) {
                // Closing drops the unsent bytes instead of keeping them in the kernel.
                socket.discard_unsent();
                return Err(TooSlow("it does not read its response"));
            }
            return Ok(());
        }
        let (limit, reason) = match socket.state() {
            ClientState::AwaitingResponse => return Ok(()),
            ClientState::SendingHead => {
                (limits.head_timeout, TooSlow("it does not finish its request head"))
            }
            ClientState::Idle => (limits.keep_alive, TooSlow("it sends no request")),
        };
        if socket.has_been_in_state_for(limit) { Err(reason) } else { Ok(()) }
    }

    fn listener(&self) -> &str {
        &self.settings.name
    }
}
