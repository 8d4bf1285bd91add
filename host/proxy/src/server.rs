//! Binding the listeners, and running the threads that serve them.

use std::{
    io, mem,
    net::TcpListener,
    sync::{Arc, mpsc as blocking},
    thread::JoinHandle,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{Semaphore, mpsc},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Tables,
    access::AccessControl,
    bind::{BindError, Listening, bind},
    page::{Theme, ThemeError},
    settings::{ListenerSettings, WaitingSettings},
    thread::{self, BoundListener, Shared},
    via::Pseudonym,
    waiting::WaitingRoom,
};

/// Bound listeners that are not served yet. Clients that connect wait in the kernel's backlog.
#[derive(Debug)]
pub struct Proxy {
    bound: Vec<Bound>,
    listening: Vec<Listening>,
    threads: usize,
    waiting: WaitingSettings,
    theme: Theme,
}

/// Served listeners. Dropping it closes every connection at once; see [`Running::shutdown`] for a
/// graceful end.
#[derive(Debug)]
pub struct Running {
    listening: Vec<Listening>,
    stop: CancellationToken,
    kill: CancellationToken,
    /// Closed once every thread has ended.
    ended: mpsc::Receiver<()>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Bound {
    settings: ListenerSettings,
    sockets: Vec<TcpListener>,
}

// === impl Proxy ===

impl Proxy {
    /// Binds every listener, with one socket for each of `threads` threads. A listener that cannot
    /// be bound is reported and left out; the others are bound.
    pub fn bind(settings: Vec<ListenerSettings>, threads: usize) -> (Self, Vec<BindError>) {
        let threads = threads.max(1);
        let mut proxy = Self {
            bound: Vec::new(),
            listening: Vec::new(),
            threads,
            waiting: WaitingSettings::default(),
            theme: Theme::default(),
        };
        let mut failed = Vec::new();
        for settings in settings {
            match bind(&settings, threads) {
                Ok((address, sockets)) => {
                    proxy.listening.push(Listening { name: settings.name.clone(), address });
                    proxy.bound.push(Bound { settings, sockets });
                }
                Err(error) => failed.push(error),
            }
        }
        (proxy, failed)
    }

    /// Sets what waiting visitors are shown. On an error the bundled theme is used instead of the
    /// configured one.
    pub fn waiting(&mut self, settings: WaitingSettings) -> Result<(), ThemeError> {
        let loaded = Theme::load(&settings);
        self.waiting = settings;
        loaded.map(|theme| self.theme = theme)
    }

    /// The bound listeners, with the ports that the kernel chose.
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// Starts the threads. A request is routed by the tables of the moment it arrives.
    pub fn run(self, tables: Arc<ArcSwap<Tables>>) -> io::Result<Running> {
        let (alive, ended) = mpsc::channel(1);
        let shared = Shared {
            tables,
            waiting_room: WaitingRoom::new(&self.waiting, self.theme)?,
            access: AccessControl::new()?,
            pseudonym: Pseudonym::random()?,
            threads: self.threads,
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
        };
        let mut running = Running {
            listening: self.listening,
            stop: shared.stop.clone(),
            kill: shared.kill.clone(),
            ended,
            threads: Vec::with_capacity(self.threads),
        };
        let mut bound: Vec<_> = self
            .bound
            .into_iter()
            .map(|Bound { settings, sockets }| {
                let connections = Arc::new(Semaphore::new(settings.limits.connections.max(1)));
                let held = Arc::new(Semaphore::new(settings.limits.max_held));
                (settings, sockets, connections, held)
            })
            .collect();
        for number in 0..self.threads {
            let listeners = bound
                .iter_mut()
                .filter_map(|(settings, sockets, connections, held)| {
                    Some(BoundListener {
                        settings: settings.clone(),
                        socket: sockets.pop()?,
                        connections: connections.clone(),
                        held: held.clone(),
                    })
                })
                .collect();
            running.threads.push(start(number, listeners, shared.clone(), alive.clone())?);
        }
        Ok(running)
    }
}

// === impl Running ===

impl Running {
    /// The served listeners.
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// Stops accepting, closes idle connections, waits for requests and tunnels to end, and closes
    /// the connections that are left after `deadline`. True if none was left. Dropping the future
    /// closes every connection at once.
    pub async fn shutdown(mut self, deadline: Duration) -> bool {
        self.stop.cancel();
        let graceful = tokio::time::timeout(deadline, self.ended.recv()).await.is_ok();
        if !graceful {
            self.kill.cancel();
            self.ended.recv().await;
        }
        for thread in mem::take(&mut self.threads) {
            if thread.join().is_err() {
                tracing::error!("a thread of the data path panicked");
            }
        }
        graceful
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        self.kill.cancel();
    }
}

/// Starts one thread. It holds `alive` until it ends.
fn start(
    number: usize,
    listeners: Vec<BoundListener>,
    shared: Shared,
    alive: mpsc::Sender<()>,
) -> io::Result<JoinHandle<()>> {
    let (ready, started) = blocking::sync_channel(1);
    let thread =
        std::thread::Builder::new().name(format!("drowse-data-{number}")).spawn(move || {
            let _alive = alive;
            let runtime = match Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default())
            {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            let _ = ready.send(Ok(()));
            runtime.block_on(thread::run(listeners, shared));
            // Does not wait for names that are being resolved on blocking threads.
            runtime.shutdown_background();
        })?;
    started.recv().map_err(io::Error::other)??;
    Ok(thread)
}
