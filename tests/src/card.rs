//! A machine that sleeps until its network card hears a magic packet: a UDP socket before the
//! example backend.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;

use crate::{Hello, Process};

/// The card's address.
pub const MAC: [u8; 6] = [0x02, 0x11, 0x22, 0xaa, 0xbb, 0xcc];

/// How often the machine looks whether it shall sleep.
const LOOK: Duration = Duration::from_millis(10);

/// The machine. It ends with this, and its program with it.
pub struct Card {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    backend: Hello,
    /// It goes to sleep when this file is there, and takes it away.
    asleep: PathBuf,
    running: Mutex<Option<Process>>,
    heard: Mutex<Vec<Vec<u8>>>,
    ends: AtomicBool,
}

// === impl Card ===

impl Card {
    /// Listens on a free port of this machine's own address. The machine goes to sleep when the file
    /// `asleep` comes to be.
    pub fn begin(hello: &Hello, asleep: PathBuf) -> Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        socket.set_read_timeout(Some(LOOK))?;
        let address = socket.local_addr()?;
        let shared = Arc::new(Shared {
            backend: hello.clone(),
            asleep,
            running: Mutex::default(),
            heard: Mutex::default(),
            ends: AtomicBool::new(false),
        });
        let served = shared.clone();
        let thread = Some(thread::spawn(move || served.listen(&socket)));
        Ok(Self { address, shared, thread })
    }

    /// Its address for the endpoint.
    pub fn url(&self) -> String {
        format!("udp://{}", self.address)
    }

    /// Every datagram so far.
    pub fn heard(&self) -> Vec<Vec<u8>> {
        lock(&self.shared.heard).clone()
    }

    /// Its program runs.
    pub fn is_awake(&self) -> bool {
        lock(&self.shared.running).is_some()
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been told.
            let _ = thread.join();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn listen(&self, socket: &UdpSocket) {
        let mut buffer = [0; 2048];
        while !self.ends.load(Ordering::Relaxed) {
            let heard = socket.recv_from(&mut buffer);
            if std::fs::remove_file(&self.asleep).is_ok() {
                *lock(&self.running) = None;
            }
            match heard {
                Ok((size, _)) => self.hear(&buffer[..size]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("the card hears nothing more: {error}"),
            }
        }
        *lock(&self.running) = None;
    }

    fn hear(&self, datagram: &[u8]) {
        lock(&self.heard).push(datagram.to_vec());
        let mut running = lock(&self.running);
        if datagram != magic() || running.is_some() {
            return;
        }
        *running = Some(self.backend.spawn().expect("the machine's program starts"));
    }
}

/// What wakes it: six times `ff` and sixteen times its address.
pub fn magic() -> Vec<u8> {
    [vec![0xff; 6], MAC.repeat(16)].concat()
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
