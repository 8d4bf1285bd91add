//! The client of the API.

use std::{io, path::PathBuf, time::Duration};

use drowse_core::{Entry, WorkloadStatus};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, time::timeout};

use crate::{
    problem::Problem,
    socket::{directory, exposure},
    types::{OperationRequest, RouterStatus},
};

/// Maximum time of a request, beyond its `wait`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum bytes of a response: the status of a router with 100,000 workloads.
const MAX_RESPONSE_BYTES: usize = 256 << 20;

const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'@');

/// A client of the router behind one control socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// The reason why a request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No router listens on the socket.
    #[error(
        "no router answers at {}: {source}; start one with `drowse run`, or name its socket with \
         --control",
        socket.display()
    )]
    NotRunning {
        /// The control socket.
        socket: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// The socket's mode permits only the router's user.
    #[error(
        "the control socket {} belongs to another user: run this command as the router's user, with \
         sudo if that is root",
        socket.display()
    )]
    NotAllowed {
        /// The control socket.
        socket: PathBuf,
    },
    /// Another user could have created the socket, or listens on it.
    #[error(
        "the control socket {}: {flaw}; nothing was sent to it, because another program may \
         impersonate the router: run this command as the router's user, or name the router's socket \
         with --control",
        socket.display()
    )]
    Untrusted {
        /// The control socket.
        socket: PathBuf,
        /// The flaw of its directory or owner.
        flaw: String,
    },
    /// The router refused the request.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// The connection failed, or the listener is not a router.
    #[error("router at {}: {message}", socket.display())]
    Broken {
        /// The control socket.
        socket: PathBuf,
        /// The error.
        message: String,
    },
}

// === impl Client ===

impl Client {
    /// A client of the router behind this socket. Connects for each request.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// The status of the router.
    pub async fn status(&self) -> Result<RouterStatus, ClientError> {
        self.send(Method::GET, "/v0/status", REQUEST_TIMEOUT).await
    }

    /// The status of one workload.
    pub async fn workload(&self, name: &str) -> Result<WorkloadStatus, ClientError> {
        let name = utf8_percent_encode(name, SEGMENT);
        self.send(Method::GET, &format!("/v0/workloads/{name}"), REQUEST_TIMEOUT).await
    }

    /// Operates on a workload. With `wait`, returns when the operation is complete.
    pub async fn operate(
        &self,
        name: &str,
        request: OperationRequest,
    ) -> Result<WorkloadStatus, ClientError> {
        let OperationRequest { action, wait, trigger } = request;
        let (name, verb) = (utf8_percent_encode(name, SEGMENT), action.verb());
        let mut path = format!("/v0/workloads/{name}/{verb}?trigger={trigger}");
        if let Some(wait) = wait {
            path.push_str(&format!("&wait={}", wait.as_secs_f64()));
        }
        if action.force() {
            path.push_str("&force=true");
        }
        if action.refresh() {
            path.push_str("&refresh=true");
        }
        self.send(Method::POST, &path, REQUEST_TIMEOUT + wait.unwrap_or_default()).await
    }

    /// The latest operations, newest first.
    pub async fn operations(
        &self,
        workload: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, ClientError> {
        let mut path = format!("/v0/operations?limit={limit}");
        if let Some(name) = workload {
            path.push_str(&format!("&workload={}", utf8_percent_encode(name, SEGMENT)));
        }
        self.send(Method::GET, &path, REQUEST_TIMEOUT).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        limit: Duration,
    ) -> Result<T, ClientError> {
        match timeout(limit, self.exchange(method, path)).await {
            Ok(result) => result,
            Err(_) => Err(self.broken(format!("no answer within {} s", limit.as_secs()))),
        }
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<T, ClientError> {
        self.check_directory()?;
        let stream = UnixStream::connect(&self.socket).await.map_err(|source| {
            let socket = self.socket.clone();
            match source.kind() {
                io::ErrorKind::PermissionDenied => ClientError::NotAllowed { socket },
                _ => ClientError::NotRunning { socket, source },
            }
        })?;
        self.check_peer(stream.peer_cred().map_err(|error| self.broken(error))?.uid())?;
        let (mut requests, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|error| self.broken(error))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "drowse")
            .body(Empty::<bytes::Bytes>::new())
            .map_err(|error| self.broken(error))?;

        // The connection is driven by this future, so that no task outlives the call. It ends when
        // `requests` is dropped.
        let response = async move {
            let response = requests.send_request(request).await.map_err(|e| e.to_string())?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect().await;
            Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        let (response, ended): (Result<_, String>, _) = tokio::join!(response, connection);
        let (status, body) = response.map_err(|error| match ended {
            Err(ended) if !ended.is_canceled() => self.broken(ended),
            _ => self.broken(error),
        })?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body)
                .map_err(|error| self.broken(format!("invalid response: {error}")));
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(problem.into()),
            Err(_) => Err(self.broken(format!("{status} from a server that is not a router"))),
        }
    }

    /// Fails if another user could have created the socket. A directory that is missing or unreadable is
    /// no error here: the attempt to connect reports it.
    fn check_directory(&self) -> Result<(), ClientError> {
        let user = rustix::process::geteuid().as_raw();
        match exposure(directory(&self.socket), &[0, user]) {
            Ok(Some(flaw)) => Err(self.untrusted(flaw)),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// Fails unless the listening process belongs to root or to this user.
    fn check_peer(&self, peer: u32) -> Result<(), ClientError> {
        if [0, rustix::process::geteuid().as_raw()].contains(&peer) {
            return Ok(());
        }
        Err(self.untrusted(format!("a process of user {peer} listens on it")))
    }

    fn untrusted(&self, flaw: String) -> ClientError {
        ClientError::Untrusted { socket: self.socket.clone(), flaw }
    }

    fn broken(&self, message: impl ToString) -> ClientError {
        ClientError::Broken { socket: self.socket.clone(), message: message.to_string() }
    }
}

#[cfg(test)]
mod tests;
