//! Talks to a running router.

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
    socket::{directory, exposed},
    types::{Order, RouterStatus},
};

/// What a router that is well says at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest answer: a router with a hundred thousand workloads.
const LARGEST: usize = 256 << 20;

const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'@');

/// A client of the router behind one control socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why a router did not answer as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No router listens there.
    #[error(
        "no router answers at {}: {source}; start one with `drowse run`, or name its socket with \
         --control",
        socket.display()
    )]
    NotRunning {
        /// The control socket.
        socket: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Only the router's user may ask.
    #[error(
        "the control socket {} is another user's: run this as the router's user, with sudo if that \
         is root",
        socket.display()
    )]
    NotAllowed {
        /// The control socket.
        socket: PathBuf,
    },
    /// Another user could have put the socket there, or listens on it.
    #[error(
        "the control socket {}: {flaw}; nothing was sent to it, as it may be a program that only \
         looks like the router: run this as the router's user, or name the router's socket with \
         --control",
        socket.display()
    )]
    Untrusted {
        /// The control socket.
        socket: PathBuf,
        /// Who it belongs to.
        flaw: String,
    },
    /// The router said no.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// The connection broke, or what listens there is no router.
    #[error("router at {}: {message}", socket.display())]
    Broken {
        /// The control socket.
        socket: PathBuf,
        /// What happened.
        message: String,
    },
}

// === impl Client ===

impl Client {
    /// A client of the router behind this socket. Connects with each call.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// The whole router.
    pub async fn status(&self) -> Result<RouterStatus, ClientError> {
        self.ask(Method::GET, "/v0/status", PATIENCE).await
    }

    /// One workload.
    pub async fn workload(&self, name: &str) -> Result<WorkloadStatus, ClientError> {
        let name = utf8_percent_encode(name, SEGMENT);
        self.ask(Method::GET, &format!("/v0/workloads/{name}"), PATIENCE).await
    }

    /// Does to a workload what is ordered; returns when it is done if the order says how long that
    /// may take.
    pub async fn operate(&self, name: &str, order: Order) -> Result<WorkloadStatus, ClientError> {
        let Order { action, wait, source } = order;
        let (name, verb) = (utf8_percent_encode(name, SEGMENT), action.verb());
        let mut path = format!("/v0/workloads/{name}/{verb}?source={source}");
        if let Some(wait) = wait {
            path.push_str(&format!("&wait={}", wait.as_secs_f64()));
        }
        if action.force() {
            path.push_str("&force=true");
        }
        if action.refresh() {
            path.push_str("&refresh=true");
        }
        self.ask(Method::POST, &path, PATIENCE + wait.unwrap_or_default()).await
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
        self.ask(Method::GET, &path, PATIENCE).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        patience: Duration,
    ) -> Result<T, ClientError> {
        match timeout(patience, self.exchange(method, path)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.broken(format!("no answer within {} s", patience.as_secs()))),
        }
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<T, ClientError> {
        self.trust_directory()?;
        let stream = UnixStream::connect(&self.socket).await.map_err(|source| {
            let socket = self.socket.clone();
            match source.kind() {
                io::ErrorKind::PermissionDenied => ClientError::NotAllowed { socket },
                _ => ClientError::NotRunning { socket, source },
            }
        })?;
        self.trust(stream.peer_cred().map_err(|error| self.broken(error))?.uid())?;
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

        // The connection is driven here and nowhere else, so that nothing outlives the call. It
        // ends when `requests` is dropped.
        let answer = async move {
            let response = requests.send_request(request).await.map_err(|e| e.to_string())?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST).collect().await;
            Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        let (answer, ended): (Result<_, String>, _) = tokio::join!(answer, connection);
        let (status, body) = answer.map_err(|error| match ended {
            Err(ended) if !ended.is_canceled() => self.broken(ended),
            _ => self.broken(error),
        })?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body)
                .map_err(|error| self.broken(format!("an answer that makes no sense: {error}")));
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(problem.into()),
            Err(_) => Err(self.broken(format!("{status} from something that is no router"))),
        }
    }

    /// Fails when another user could have put a socket of their own there. A directory that is missing
    /// or may not be looked at is left to the attempt to connect.
    fn trust_directory(&self) -> Result<(), ClientError> {
        let user = rustix::process::geteuid().as_raw();
        match exposed(directory(&self.socket), &[0, user]) {
            Ok(Some(flaw)) => Err(self.untrusted(flaw)),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// Fails unless the process that listens belongs to root or to this user.
    fn trust(&self, peer: u32) -> Result<(), ClientError> {
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
