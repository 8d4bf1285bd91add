//! Termination signals.
//!
//! A separate thread receives signals, so they are handled even if the rest of the program is blocked.
//! The first signal starts an orderly end with a time limit, the second a hasty end with a shorter limit,
//! the third ends the program at once. When a limit is over, the thread ends the program itself.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::sync_channel,
    },
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal as Number, getpid, kill_process};
use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::timeout,
};

use crate::{error::Error, logging};

/// Time limit of an orderly end before the router has started.
const BEFORE_START: Duration = Duration::from_secs(10);
/// Time limit of a hasty end, from the second signal.
pub(crate) const HASTY: Duration = Duration::from_secs(4);
/// Time for the last log lines and for exit handlers when a limit is over.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// SIGTERM, SIGINT and SIGHUP, received by a separate thread.
pub(crate) struct Signals {
    heard: watch::Receiver<Heard>,
    /// Time limit of an orderly end, from the first signal, in milliseconds.
    limit: Arc<AtomicU64>,
}

/// The signals received so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Heard {
    #[default]
    Nothing,
    End,
    /// By this signal.
    HastyEnd(Number),
}

struct Listeners {
    terminate: Signal,
    interrupt: Signal,
    /// Absent when SIGHUP was ignored from the start, as `nohup` does.
    hangup: Option<Signal>,
}

// === impl Signals ===

impl Signals {
    /// Starts to receive signals.
    pub(crate) fn listen() -> Result<Self, Error> {
        let fail = |error| Error::new(format!("cannot listen to signals: {error}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(fail)?;
        let mut listeners = {
            let _within = runtime.enter();
            Listeners::new().map_err(fail)?
        };
        let limit = Arc::new(AtomicU64::new(milliseconds(BEFORE_START)));
        let (sender, heard) = watch::channel(Heard::Nothing);
        let listen = {
            let limit = limit.clone();
            async move {
                let first = listeners.next().await;
                sender.send_replace(Heard::End);
                let limit = Duration::from_millis(limit.load(Relaxed));
                let Ok(second) = timeout(limit, listeners.next()).await else {
                    end(first, &format!("it did not end within {} s", limit.as_secs()));
                };
                sender.send_replace(Heard::HastyEnd(second));
                match timeout(HASTY, listeners.next()).await {
                    Ok(third) => end(third, "it received a third signal"),
                    Err(_) => end(second, &format!("it did not end within {} s", HASTY.as_secs())),
                }
            }
        };
        let thread = thread::Builder::new().name("drowse-signals".into());
        thread.spawn(move || runtime.block_on(listen)).map_err(fail)?;
        Ok(Self { heard, limit })
    }

    /// Sets the time limit of an orderly end.
    pub(crate) fn limit(&self, limit: Duration) {
        self.limit.store(milliseconds(limit), Relaxed);
    }

    /// Waits for the first signal.
    pub(crate) async fn end(&self) {
        self.wait(|heard| *heard != Heard::Nothing).await;
    }

    /// Waits for the second signal.
    pub(crate) async fn hasty_end(&self) {
        self.wait(|heard| matches!(heard, Heard::HastyEnd(_))).await;
    }

    /// The exit code after a hasty end: 128 plus the signal's number, as for a program that the signal
    /// killed.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        match *self.heard.borrow() {
            Heard::HastyEnd(signal) => Some(exit_code(signal)),
            Heard::Nothing | Heard::End => None,
        }
    }

    async fn wait(&self, wanted: impl FnMut(&Heard) -> bool) {
        if self.heard.clone().wait_for(wanted).await.is_err() {
            // The thread ends only with the program.
            std::future::pending().await
        }
    }
}

// === impl Listeners ===

impl Listeners {
    fn new() -> std::io::Result<Self> {
        let hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup,
        })
    }

    async fn next(&mut self) -> Number {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => Number::TERM,
            _ = self.interrupt.recv() => Number::INT,
            _ = hangup => Number::HUP,
        }
    }
}

/// Ends the program, even if its other threads are blocked.
fn end(signal: Number, why: &str) -> ! {
    let (done, said) = sync_channel(1);
    let why = why.to_owned();
    // Logging, and exit handlers of libraries, may block.
    let words = thread::Builder::new().spawn(move || {
        tracing::error!(
            "the router ends at once: {why}; programs that it started may be left running"
        );
        logging::flush(LAST_WORDS);
        let _ = done.send(());
    });
    if words.is_ok() {
        let _ = said.recv_timeout(LAST_WORDS);
    }
    let own = getpid();
    let _ = thread::Builder::new().spawn(move || kill_later(own));
    process::exit(exit_code(signal))
}

fn kill_later(own: Pid) {
    thread::sleep(LAST_WORDS);
    let _ = kill_process(own, Number::KILL);
}

fn exit_code(signal: Number) -> i32 {
    128 + signal.as_raw()
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whether SIGHUP was ignored from the start: the first bit of `SigIgn` in proc_pid_status(5).
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored
        .and_then(|bits| bits.trim().chars().last()?.to_digit(16))
        .is_some_and(|bits| bits & 1 == 1)
}
