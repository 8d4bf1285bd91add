//! From settings to threads that serve.

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
    via::Pseudonym,
    waiting::WaitingRoom,
    worker::{self, Entrance},
};

/// Listeners that are bound and not served yet. Clients that connect wait in the kernel.
#[derive(Debug)]
pub struct Proxy {
    bound: Vec<Bound>,
    listening: Vec<Listening>,
    threads: usize,
    waiting: WaitingSettings,
    theme: Theme,
}

/// Listeners that are served. Dropping it ends every connection at once; see
/// [`Running::shutdown`].
#[derive(Debug)]
pub struct Running {
    listening: Vec<Listening>,
    stop: CancellationToken,
    kill: CancellationToken,
    /// Closed when every thread has ended.
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
    /// Binds every listener once for each of `threads` threads. A listener that cannot be bound
    /// is reported and left out; the others are not concerned.
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

    /// What waiting visitors get. The error tells why the theme is not used; the one in the box
    /// is used then.
    pub fn waiting(&mut self, settings: WaitingSettings) -> Result<(), ThemeError> {
        let loaded = Theme::load(&settings);
        self.waiting = settings;
        loaded.map(|theme| self.theme = theme)
    }

    /// What is bound, with the ports that the kernel chose.
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// Starts the threads. Each request is routed by the tables as they are when it arrives.
    pub fn run(self, tables: Arc<ArcSwap<Tables>>) -> io::Result<Running> {
        let (alive, ended) = mpsc::channel(1);
        let waiting_room = WaitingRoom::new(&self.waiting, self.theme)?;
        let access = AccessControl::new()?;
        let pseudonym = Pseudonym::random()?;
        let mut running = Running {
            listening: self.listening,
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
            ended,
            threads: Vec::with_capacity(self.threads),
        };
        let mut bound: Vec<_> = self
            .bound
            .into_iter()
            .map(|Bound { settings, sockets }| {
                let room = Arc::new(Semaphore::new(settings.limits.connections.max(1)));
                let held = Arc::new(Semaphore::new(settings.limits.max_held));
                (settings, sockets, room, held)
            })
            .collect();
        for number in 0..self.threads {
            let entrances = bound
                .iter_mut()
                .filter_map(|(settings, sockets, room, held)| {
                    let (settings, room, held) = (settings.clone(), room.clone(), held.clone());
                    Some(Entrance { settings, listener: sockets.pop()?, room, held })
                })
                .collect();
            let place = (number, self.threads);
            let shared = (tables.clone(), waiting_room.clone(), access.clone(), pseudonym.clone());
            let thread = running.start(place, entrances, shared, alive.clone())?;
            running.threads.push(thread);
        }
        Ok(running)
    }
}

// === impl Running ===

impl Running {
    /// What is served.
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// Accepts nobody any more, closes idle connections, lets requests and tunnels end and closes
    /// what is left after `deadline`. True when nothing had to be cut off.
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

    fn start(
        &self,
        (number, threads): (usize, usize),
        entrances: Vec<Entrance>,
        (tables, waiting_room, access, pseudonym): (
            Arc<ArcSwap<Tables>>,
            Arc<WaitingRoom>,
            Arc<AccessControl>,
            Pseudonym,
        ),
        alive: mpsc::Sender<()>,
    ) -> io::Result<JoinHandle<()>> {
        let (stop, kill) = (self.stop.clone(), self.kill.clone());
        let (ready, begun) = blocking::sync_channel(1);
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
                let shared = (waiting_room, access, pseudonym);
                runtime.block_on(worker::run(entrances, tables, shared, threads, stop, kill));
                // A name that is being resolved on another thread is not waited for.
                runtime.shutdown_background();
            })?;
        begun.recv().map_err(io::Error::other)??;
        Ok(thread)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        self.kill.cancel();
    }
}
