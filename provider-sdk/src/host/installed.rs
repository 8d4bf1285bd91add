//! The host outside WebAssembly: the one installed for the thread.

use std::{cell::RefCell, rc::Rc};

use super::Reply;
use crate::{
    bindings::drowse::provider::{command, grpc, http, log, network},
    error::Result,
    words::{Attribute, Event},
};

/// Implements a provider's host calls: the contract's imports, function by function.
pub trait Host {
    /// `log.write`
    fn write_log(&self, level: log::Level, message: &str, fields: &[Attribute]);
    /// `clock.now`
    fn now(&self) -> u64;
    /// `clock.monotonic`
    fn monotonic(&self) -> u64;
    /// `clock.sleep`
    fn sleep(&self, nanoseconds: u64);
    /// `http.send`
    fn send(&self, request: &http::Request) -> Result<Reply>;
    /// `command.spawn`
    fn spawn(&self, options: &command::SpawnOptions) -> Result<command::Process>;
    /// `command.find`
    fn find(&self, command: &str) -> Result<Option<command::Process>>;
    /// `command.granted`
    fn granted(&self) -> Vec<String>;
    /// `command.signal`
    fn signal(&self, id: u64, signal: &str) -> Result<()>;
    /// `command.wait`
    fn wait(&self, id: u64, timeout_ms: u64) -> Result<command::State>;
    /// `command.output`
    fn output(&self, id: u64, limit: u32) -> Result<Vec<u8>>;
    /// `command.usage`
    fn usage(&self, id: u64) -> Result<Option<command::ProcessUsage>>;
    /// `command.changes`
    fn changes(&self, since: u64) -> Result<(u64, Vec<String>)>;
    /// `grpc.unary`
    fn unary(&self, call: &grpc::Call) -> Result<Vec<u8>>;
    /// `grpc.server-stream`
    fn server_stream(&self, call: &grpc::Call) -> Result<Messages>;
    /// `network.add`
    fn add_network(&self, attachment: &network::Attachment) -> Result<Vec<String>>;
    /// `network.del`
    fn del_network(&self, attachment: &network::Attachment) -> Result<()>;
    /// `network.check`
    fn check_network(&self, attachment: &network::Attachment) -> Result<()>;
    /// `udp.send`
    fn send_datagram(&self, endpoint: &str, payload: &[u8]) -> Result<()>;
    /// `events.emit`
    fn emit(&self, event: &Event);
    /// `events.synced`
    fn synced(&self);
    /// `memo.get`
    fn memo_get(&self, key: &str) -> Option<Vec<u8>>;
    /// `memo.set`
    fn memo_set(&self, key: &str, value: &[u8]) -> bool;
    /// `memo.delete`
    fn memo_delete(&self, key: &str);
}

/// A response body that is read in pieces.
pub trait ReadBody {
    /// The next piece, at most `limit` bytes and at least one; None at the end.
    fn read(&mut self, limit: u32) -> Result<Option<Vec<u8>>>;

    /// Reason phrase, if it differs from the standard one of the status.
    fn reason(&self) -> Option<String> {
        None
    }
}

/// A response body. Dropping it discards the rest.
pub type Body = Box<dyn ReadBody>;

/// The messages of a call, read one by one.
pub trait NextMessage {
    /// The next message; None after the last.
    fn next(&mut self) -> Result<Option<Vec<u8>>>;
}

/// The messages of a call. Dropping them cancels it.
pub type Messages = Box<dyn NextMessage>;

/// Keeps a host installed; dropping it restores the previous one.
#[must_use = "dropping it uninstalls the host"]
pub struct Installed {
    previous: Option<Rc<dyn Host>>,
}

thread_local! {
    static HOST: RefCell<Option<Rc<dyn Host>>> = const { RefCell::new(None) };
}

/// Installs `host` for the providers on this thread.
pub fn install(host: Rc<dyn Host>) -> Installed {
    Installed { previous: HOST.replace(Some(host)) }
}

// === impl Installed ===

impl Drop for Installed {
    fn drop(&mut self) {
        HOST.set(self.previous.take());
    }
}

macro_rules! forward {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)+) => {
        $(pub(crate) fn $name($($argument: $type),*) $(-> $result)? {
            let host = HOST.with_borrow(Clone::clone);
            let host = host.expect("outside WebAssembly a provider runs in a testing::Harness");
            host.$name($($argument),*)
        })+
    };
}

forward! {
    write_log(level: log::Level, message: &str, fields: &[Attribute]);
    now() -> u64;
    monotonic() -> u64;
    sleep(nanoseconds: u64);
    send(request: &http::Request) -> Result<Reply>;
    spawn(options: &command::SpawnOptions) -> Result<command::Process>;
    find(name: &str) -> Result<Option<command::Process>>;
    granted() -> Vec<String>;
    signal(id: u64, signal: &str) -> Result<()>;
    wait(id: u64, timeout_ms: u64) -> Result<command::State>;
    output(id: u64, limit: u32) -> Result<Vec<u8>>;
    usage(id: u64) -> Result<Option<command::ProcessUsage>>;
    changes(since: u64) -> Result<(u64, Vec<String>)>;
    unary(call: &grpc::Call) -> Result<Vec<u8>>;
    server_stream(call: &grpc::Call) -> Result<Messages>;
    add_network(attachment: &network::Attachment) -> Result<Vec<String>>;
    del_network(attachment: &network::Attachment) -> Result<()>;
    check_network(attachment: &network::Attachment) -> Result<()>;
    send_datagram(endpoint: &str, payload: &[u8]) -> Result<()>;
    emit(event: &Event);
    synced();
    memo_get(key: &str) -> Option<Vec<u8>>;
    memo_set(key: &str, value: &[u8]) -> bool;
    memo_delete(key: &str);
}
