//! Imports of a dynamic library, by name, handled as a component's.

use drowse_provider_abi::wire;
use serde::{Serialize, de::DeserializeOwned};
use wasmtime::component::Resource;

use crate::{
    bindings::{clock, command, events, grpc, http, log, memo, network, types, udp},
    fault::Fault,
    store::HostState,
};

/// Why an import was not answered.
pub(super) enum ImportError {
    /// No such function.
    Unknown,
    /// The call must end; the state may have the fault.
    Broken(wasmtime::Error),
}

/// A response on the wire: its handle with status, reason and headers.
type Head = (u32, u16, Option<String>, Vec<types::Attribute>);

/// Calls the import of this name.
pub(super) async fn serve(
    state: &mut HostState,
    function: &str,
    arguments: &[u8],
) -> Result<Vec<u8>, ImportError> {
    Ok(match function {
        "log.write" => {
            let (level, message, fields) = read(state, arguments)?;
            bytes(log::Host::write(state, level, message, fields)?)
        }
        "clock.now" => bytes(clock::Host::now(state)?),
        "clock.monotonic" => bytes(clock::Host::monotonic(state)?),
        "clock.sleep" => {
            let nanoseconds = read(state, arguments)?;
            bytes(clock::Host::sleep(state, nanoseconds).await?)
        }
        "http.send" => {
            let request = read(state, arguments)?;
            bytes(send(state, request).await?)
        }
        "http.response.read" => {
            let (handle, limit) = read(state, arguments)?;
            bytes(http::HostResponse::read(state, Resource::new_borrow(handle), limit).await?)
        }
        "http.response.drop" => {
            let handle = read(state, arguments)?;
            bytes(http::HostResponse::drop(state, Resource::new_own(handle)).await?)
        }
        "command.spawn" => {
            let options = read(state, arguments)?;
            bytes(command::Host::spawn(state, options).await?)
        }
        "command.find" => {
            let command = read(state, arguments)?;
            bytes(command::Host::find(state, command).await?)
        }
        "command.granted" => bytes(command::Host::granted(state)?),
        "command.signal" => {
            let (id, signal) = read(state, arguments)?;
            bytes(command::Host::signal(state, id, signal).await?)
        }
        "command.wait" => {
            let (id, timeout) = read(state, arguments)?;
            bytes(command::Host::wait(state, id, timeout).await?)
        }
        "command.output" => {
            let (id, limit) = read(state, arguments)?;
            bytes(command::Host::output(state, id, limit).await?)
        }
        "command.usage" => {
            let id = read(state, arguments)?;
            bytes(command::Host::usage(state, id).await?)
        }
        "command.changes" => {
            let since = read(state, arguments)?;
            bytes(command::Host::changes(state, since).await?)
        }
        "grpc.unary" => {
            let call = read(state, arguments)?;
            bytes(grpc::Host::unary(state, call).await?)
        }
        "grpc.server-stream" => {
            let call = read(state, arguments)?;
            let messages = grpc::Host::server_stream(state, call).await?;
            bytes(messages.map(|messages| messages.rep()))
        }
        "grpc.messages.next" => {
            let handle = read(state, arguments)?;
            bytes(grpc::HostMessages::next(state, Resource::new_borrow(handle)).await?)
        }
        "grpc.messages.drop" => {
            let handle = read(state, arguments)?;
            bytes(grpc::HostMessages::drop(state, Resource::new_own(handle)).await?)
        }
        "network.add" => {
            let attachment = read(state, arguments)?;
            bytes(network::Host::add(state, attachment).await?)
        }
        "network.del" => {
            let attachment = read(state, arguments)?;
            bytes(network::Host::del(state, attachment).await?)
        }
        "network.check" => {
            let attachment = read(state, arguments)?;
            bytes(network::Host::check(state, attachment).await?)
        }
        "udp.send" => {
            let (endpoint, payload) = read(state, arguments)?;
            bytes(udp::Host::send(state, endpoint, payload).await?)
        }
        "events.emit" => {
            let event = read(state, arguments)?;
            bytes(events::Host::emit(state, event).await?)
        }
        "events.synced" => bytes(events::Host::synced(state).await?),
        "memo.get" => {
            let key = read(state, arguments)?;
            bytes(memo::Host::get(state, key)?)
        }
        "memo.set" => {
            let (key, value) = read(state, arguments)?;
            bytes(memo::Host::set(state, key, value)?)
        }
        "memo.delete" => {
            let key = read(state, arguments)?;
            bytes(memo::Host::delete(state, key)?)
        }
        _ => return Err(ImportError::Unknown),
    })
}

async fn send(
    state: &mut HostState,
    request: http::Request,
) -> wasmtime::Result<Result<Head, types::Error>> {
    let response = match http::Host::send(state, request).await? {
        Ok(response) => response.rep(),
        Err(error) => return Ok(Err(error)),
    };
    let status = http::HostResponse::status(state, Resource::new_borrow(response)).await?;
    let reason = http::HostResponse::reason(state, Resource::new_borrow(response)).await?;
    let headers = http::HostResponse::headers(state, Resource::new_borrow(response)).await?;
    Ok(Ok((response, status, reason, headers)))
}

fn read<T: DeserializeOwned>(state: &mut HostState, arguments: &[u8]) -> wasmtime::Result<T> {
    wire::read(arguments).map_err(|_| state.broke(Fault::Garbled("an import's arguments")))
}

fn bytes(answer: impl Serialize) -> Vec<u8> {
    wire::bytes(&answer)
}

impl From<wasmtime::Error> for ImportError {
    fn from(error: wasmtime::Error) -> Self {
        Self::Broken(error)
    }
}
