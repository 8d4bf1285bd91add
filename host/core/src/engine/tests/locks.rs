//! Many threads at once: nothing waits for a lock that the other one holds.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[test]
fn a_pool_that_looks_for_room_does_not_block_those_that_ask_for_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime");
    let entered = runtime.enter();
    let specs = (0..8).map(|n| pooled(WorkloadSpec { idle: None, ..spec(&format!("w{n}")) }));
    let mut small = pool(2);
    small.patience = Duration::from_millis(2);
    let world = World::with_pools(vec![small], specs.collect());
    for n in 0..8 {
        world.platform.with(&format!("w{n}"), |guest| {
            (guest.start_takes, guest.stop_takes) = (Duration::ZERO, Duration::ZERO);
        });
    }
    drop(entered);
    let done = Arc::new(AtomicBool::new(false));
    let watchdog = {
        let done = done.clone();
        std::thread::spawn(move || {
            for _ in 0..600 {
                std::thread::park_timeout(Duration::from_millis(100));
                if done.load(Ordering::SeqCst) {
                    return;
                }
            }
            eprintln!("the engine is deadlocked");
            std::process::abort();
        })
    };
    runtime.block_on(async {
        let mut walks = tokio::task::JoinSet::new();
        for n in 0..8 {
            let workload = world.workload(&format!("w{n}"));
            walks.spawn(async move {
                for _ in 0..2000 {
                    // Asks for a place and gives it up again.
                    workload.apply(Input::Wake(Arc::new(operator())));
                    workload.apply(Input::Sleep(Arc::new(operator()), Force::AtOnce));
                    tokio::task::yield_now().await;
                }
            });
        }
        while walks.join_next().await.is_some() {}
    });
    done.store(true, Ordering::SeqCst);
    watchdog.thread().unpark();
    watchdog.join().expect("the watchdog");
}
