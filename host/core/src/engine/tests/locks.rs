//! Many threads at once: nobody waits for a lock that is held for long.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
};

use super::*;

/// Takes its time with the sleep of `slow`, while the engine has that workload locked.
struct SlowJournal {
    begun: Mutex<Sender<()>>,
    end: Mutex<Receiver<()>>,
}

impl Journal for SlowJournal {
    fn record(&self, entry: Entry) {
        if entry.kind == OperationKind::Sleep && entry.workload.as_str() == "slow" {
            lock(&self.begun).send(()).expect("the test waits");
            // The test has ended.
            let _ = lock(&self.end).recv();
        }
    }

    fn recent(&self, _: Option<&str>, _: usize) -> Vec<Entry> {
        Vec::new()
    }
}

#[test]
fn a_pool_that_looks_for_room_does_not_block_those_that_ask_for_it() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let (begun, is_slow) = channel();
    let (go_on, end) = channel();
    let engine = Engine::new(EngineDeps {
        runtime: runtime.handle().clone(),
        prober: Looks::new(),
        journal: Arc::new(SlowJournal { begun: Mutex::new(begun), end: Mutex::new(end) }),
        clock: Arc::new(SystemTime::now),
    });
    let platform = Platform::new("fake", true);
    engine.add_provider(platform.clone());
    engine.add_pool(pool(1));
    for name in ["slow", "second", "third"] {
        platform.add(name);
        engine.add_workload(pooled(spec(name))).expect("a free name");
    }
    engine.connect().expect("no circle");
    engine.start_clock();

    let slow = engine.workload("slow").expect("known");
    let deadline = || Instant::now() + Duration::from_secs(60);
    let visit = runtime.block_on(async { slow.admit(deadline(), request()).await });
    drop(visit.expect("admitted"));
    engine.wake("second", operator()).expect("known");
    engine.sleep("slow", operator(), Force::AtOnce).expect("nobody needs it");
    is_slow.recv().expect("it is being put to sleep");

    // The pool looks for room for the second one meanwhile, at least once in a second.
    let (asked, answers) = channel();
    let asks = engine.clone();
    thread::spawn(move || {
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(1500) {
            asks.wake("third", operator()).expect("known");
            asks.sleep("third", operator(), Force::AtOnce).expect("nobody needs it");
            thread::sleep(Duration::from_millis(5));
        }
        asked.send(()).expect("the test waits");
    });
    let answer = answers.recv_timeout(Duration::from_secs(30));
    go_on.send(()).expect("the journal waits");
    assert_ne!(answer, Err(RecvTimeoutError::Timeout), "who asks for a place waits for the pool");
    let second = engine.workload("second").expect("known");
    let visit = runtime.block_on(async { second.admit(deadline(), request()).await });
    drop(visit.expect("admitted when there is room"));
}
