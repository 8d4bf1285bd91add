//! Locks under contention from several threads.

use std::{
    pin::pin,
    sync::mpsc::{Receiver, Sender, channel},
    task::{Context, Waker},
    thread,
};

use tokio::runtime::Runtime;

use super::*;

/// Blocks in the entry of the sleep of `slow`, under the lock of that workload.
struct SlowJournal {
    begun: Mutex<Sender<()>>,
    end: Mutex<Receiver<()>>,
}

impl Journal for SlowJournal {
    fn record(&self, entry: Entry) {
        if entry.kind == OperationKind::Sleep && entry.workload.as_str() == "slow" {
            lock(&self.begun).send(()).expect("the test waits");
            // An error means that the test has ended.
            let _ = lock(&self.end).recv();
        }
    }

    fn recent(&self, _: Option<&str>, _: usize) -> Vec<Entry> {
        Vec::new()
    }
}

/// An engine on several threads whose journal blocks.
struct SlowWorld {
    engine: Arc<Engine>,
    /// Received when the journal begins to block.
    blocked: Receiver<()>,
    /// Sent to let the journal go on.
    go_on: Sender<()>,
    runtime: Runtime,
}

// === impl SlowWorld ===

impl SlowWorld {
    /// Members of a pool with one slot.
    fn new(names: &[&str]) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let ((begun, blocked), (go_on, end)) = (channel(), channel());
        let engine = Engine::new(EngineDeps {
            runtime: runtime.handle().clone(),
            prober: Looks::new(),
            journal: Arc::new(SlowJournal { begun: Mutex::new(begun), end: Mutex::new(end) }),
            clock: Arc::new(SystemTime::now),
        });
        let platform = Platform::new("fake", true);
        engine.add_provider(platform.clone());
        engine.add_pool(pool(1));
        for name in names {
            platform.add(name);
            engine.add_workload(pooled(spec(name))).expect("a free name");
        }
        engine.connect().expect("no cycle");
        engine.start_clock();
        Self { engine, blocked, go_on, runtime }
    }

    fn visit(&self, name: &str) -> Visit {
        let workload = self.engine.workload(name).expect("known");
        let admitted = async { workload.admit(deadline(), request()).await };
        self.runtime.block_on(admitted).expect("admitted")
    }

    /// Puts `slow` to sleep, until the journal blocks under its lock.
    fn block_slow(&self) {
        self.engine.sleep("slow", operator(), Force::AtOnce).expect("it is not needed");
        self.blocked.recv().expect("it is being put to sleep");
    }

    fn unblock(&self) {
        self.go_on.send(()).expect("the journal waits");
    }
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[test]
fn an_eviction_does_not_block_requests_for_slots() {
    let world = SlowWorld::new(&["slow", "second", "third"]);
    drop(world.visit("slow"));
    world.engine.wake("second", operator()).expect("known");
    world.block_slow();

    // Meanwhile the pool tries to evict for `second`, at least once per second.
    let (asked, answers) = channel();
    let engine = world.engine.clone();
    thread::spawn(move || {
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(1500) {
            engine.wake("third", operator()).expect("known");
            engine.sleep("third", operator(), Force::AtOnce).expect("it is not needed");
            thread::sleep(Duration::from_millis(5));
        }
        asked.send(()).expect("the test waits");
    });
    let answer = answers.recv_timeout(Duration::from_secs(30));
    world.unblock();
    assert_eq!(answer, Ok(()), "requests for a slot wait for the pool");
    drop(world.visit("second"));
}

#[test]
fn leaving_and_entering_do_not_wait_for_a_step() {
    let world = SlowWorld::new(&["slow"]);
    let visit = world.visit("slow");
    world.block_slow();

    let (polled, answers) = channel();
    let slow = world.engine.workload("slow").expect("known");
    let runtime = world.runtime.handle().clone();
    thread::spawn(move || {
        drop(visit);
        // The deadline of the wait needs the runtime's clock.
        let _entered = runtime.enter();
        let mut admitted = pin!(slow.admit(deadline(), request()));
        let poll = admitted.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        polled.send(poll.is_pending()).expect("the test waits");
    });
    let answer = answers.recv_timeout(Duration::from_secs(30));
    world.unblock();
    assert_eq!(answer, Ok(true), "a visitor's thread waits for the lock of the runner");
}
