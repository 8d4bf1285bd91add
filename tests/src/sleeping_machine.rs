//! A simulated machine that is woken by a magic packet: a UDP socket that starts the example
//! backend.

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

/// MAC address of the machine's network card.
pub const MAC: [u8; 6] = [0x02, 0x11, 0x22, 0xaa, 0xbb, 0xcc];

/// Interval of the checks for the sleep file.
const POLL: Duration = Duration::from_millis(10);

/// The machine. Dropping it stops its program.
pub struct SleepingMachine {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    backend: Hello,
    /// File that puts the machine to sleep; it is removed then.
    asleep: PathBuf,
    running: Mutex<Option<Process>>,
    datagrams: Mutex<Vec<Vec<u8>>>,
    stop: AtomicBool,
}

// === impl SleepingMachine ===

impl SleepingMachine {
    /// Listens on a free loopback port. The machine goes to sleep when the file `asleep` is created.
    pub fn begin(hello: &Hello, asleep: PathBuf) -> Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        socket.set_read_timeout(Some(POLL))?;
        let address = socket.local_addr()?;
        let shared = Arc::new(Shared {
            backend: hello.clone(),
            asleep,
            running: Mutex::default(),
            datagrams: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let served = shared.clone();
        let thread = Some(thread::spawn(move || served.listen(&socket)));
        Ok(Self { address, shared, thread })
    }

    /// URL for the provider's endpoint.
    pub fn url(&self) -> String {
        format!("udp://{}", self.address)
    }

    /// All received datagrams.
    pub fn datagrams(&self) -> Vec<Vec<u8>> {
        lock(&self.shared.datagrams).clone()
    }

    /// Returns whether its program is running.
    pub fn is_awake(&self) -> bool {
        lock(&self.shared.running).is_some()
    }
}

impl Drop for SleepingMachine {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already been printed.
            let _ = thread.join();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn listen(&self, socket: &UdpSocket) {
        let mut buffer = [0; 2048];
        while !self.stop.load(Ordering::Relaxed) {
            let received = socket.recv_from(&mut buffer);
            if std::fs::remove_file(&self.asleep).is_ok() {
                *lock(&self.running) = None;
            }
            match received {
                Ok((size, _)) => self.receive(&buffer[..size]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("receive a datagram: {error}"),
            }
        }
        *lock(&self.running) = None;
    }

    fn receive(&self, datagram: &[u8]) {
        lock(&self.datagrams).push(datagram.to_vec());
        let mut running = lock(&self.running);
        if datagram != magic() || running.is_some() {
            return;
        }
        *running = Some(self.backend.spawn().expect("start the machine's program"));
    }
}

/// The magic packet: six bytes `ff`, then sixteen copies of the MAC address.
pub fn magic() -> Vec<u8> {
    [vec![0xff; 6], MAC.repeat(16)].concat()
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
