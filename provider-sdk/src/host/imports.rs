//! The host of a component: its imports.

use super::Reply;
use crate::{
    bindings::drowse::provider::{clock, command, events, grpc, http, log, memo, network, udp},
    error::Result,
    words::{Attribute, Event},
};

/// A response body. Dropping it discards the rest.
pub struct Body(http::Response);

impl Body {
    pub(crate) fn reason(&self) -> Option<String> {
        self.0.reason()
    }

    pub(crate) fn read(&mut self, limit: u32) -> Result<Option<Vec<u8>>> {
        Ok(self.0.read(limit)?)
    }
}

/// The messages of a call. Dropping them cancels it.
pub struct Messages(grpc::Messages);

impl Messages {
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(self.0.next()?)
    }
}

pub(crate) fn write_log(level: log::Level, message: &str, fields: &[Attribute]) {
    log::write(level, message, fields);
}

pub(crate) fn now() -> u64 {
    clock::now()
}

pub(crate) fn monotonic() -> u64 {
    clock::monotonic()
}

pub(crate) fn sleep(nanoseconds: u64) {
    clock::sleep(nanoseconds);
}

pub(crate) fn send(request: &http::Request) -> Result<Reply> {
    let response = http::send(request)?;
    Ok(Reply { status: response.status(), headers: response.headers(), body: Body(response) })
}

pub(crate) fn spawn(options: &command::SpawnOptions) -> Result<command::Process> {
    Ok(command::spawn(options)?)
}

pub(crate) fn find(name: &str) -> Result<Option<command::Process>> {
    Ok(command::find(name)?)
}

pub(crate) fn granted() -> Vec<String> {
    command::granted()
}

pub(crate) fn signal(id: u64, signal: &str) -> Result<()> {
    Ok(command::signal(id, signal)?)
}

pub(crate) fn wait(id: u64, timeout_ms: u64) -> Result<command::State> {
    Ok(command::wait(id, timeout_ms)?)
}

pub(crate) fn output(id: u64, limit: u32) -> Result<Vec<u8>> {
    Ok(command::output(id, limit)?)
}

pub(crate) fn usage(id: u64) -> Result<Option<command::ProcessUsage>> {
    Ok(command::usage(id)?)
}

pub(crate) fn changes(since: u64) -> Result<(u64, Vec<String>)> {
    Ok(command::changes(since)?)
}

pub(crate) fn unary(call: &grpc::Call) -> Result<Vec<u8>> {
    Ok(grpc::unary(call)?)
}

pub(crate) fn server_stream(call: &grpc::Call) -> Result<Messages> {
    Ok(Messages(grpc::server_stream(call)?))
}

pub(crate) fn add_network(attachment: &network::Attachment) -> Result<Vec<String>> {
    Ok(network::add(attachment)?)
}

pub(crate) fn del_network(attachment: &network::Attachment) -> Result<()> {
    Ok(network::del(attachment)?)
}

pub(crate) fn check_network(attachment: &network::Attachment) -> Result<()> {
    Ok(network::check(attachment)?)
}

pub(crate) fn send_datagram(endpoint: &str, payload: &[u8]) -> Result<()> {
    Ok(udp::send(endpoint, payload)?)
}

pub(crate) fn emit(event: &Event) {
    events::emit(event);
}

pub(crate) fn synced() {
    events::synced();
}

pub(crate) fn memo_get(key: &str) -> Option<Vec<u8>> {
    memo::get(key)
}

pub(crate) fn memo_set(key: &str, value: &[u8]) -> bool {
    memo::set(key, value)
}

pub(crate) fn memo_delete(key: &str) {
    memo::delete(key);
}
