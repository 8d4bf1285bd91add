//! The commands `restart` and `recreate`.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Hello, Home, Programs, Router, process};

/// A router with the sleeping workload `hello`.
fn asleep() -> Result<(Router, Hello)> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::from_millis(300))?;
    home.configure(&[hello.provider(), hello.workload("never")].concat())?;
    Ok((home.start()?, hello))
}

#[test]
fn a_restart_under_load_loses_no_request_and_replaces_the_process() -> Result<()> {
    let (router, hello) = asleep()?;
    ensure!(router.get("any.example", "/")?.status == 200);
    let over = AtomicBool::new(false);
    let (printed, visits) = thread::scope(|scope| {
        let visitor = || -> Result<Vec<u16>> {
            let mut statuses = Vec::new();
            while !over.load(Ordering::Relaxed) {
                statuses.push(router.get("any.example", "/")?.status);
            }
            Ok(statuses)
        };
        let visitors: Vec<_> = (0..4).map(|_| scope.spawn(visitor)).collect();
        let slow = scope.spawn(|| router.get("any.example", "/slow?seconds=1"));
        let printed = router.drowse(&["restart", "hello", "--wait"]);
        over.store(true, Ordering::Relaxed);
        let mut visits = vec![slow.join().expect("no panic")?.status];
        for visitor in visitors {
            visits.extend(visitor.join().expect("no panic")?);
        }
        Ok::<_, anyhow::Error>((printed?, visits))
    })?;
    assert_eq!(printed, (true, "hello: ready\n".to_owned()));
    assert!(visits.iter().all(|status| *status == 200), "{visits:?}");
    let starts = hello.starts()?;
    assert_eq!(starts.len(), 2);
    assert!(!process::exists(starts[0]) && process::exists(starts[1]));
    let (_, ops) = router.drowse(&["ops", "hello"])?;
    ensure!(ops.contains("restart") && ops.contains("cli"), "{ops}");
    Ok(())
}

#[test]
fn a_sleeping_workload_is_awake_after_a_restart() -> Result<()> {
    let (router, hello) = asleep()?;
    let printed = router.drowse(&["restart", "hello", "--wait"])?;
    assert_eq!(printed, (true, "hello: ready\n".to_owned()));
    assert_eq!(hello.starts()?.len(), 1);
    Ok(())
}

#[test]
fn a_workload_that_cannot_be_recreated_keeps_serving_and_the_command_prints_the_cause() -> Result<()>
{
    let (router, _hello) = asleep()?;
    ensure!(router.get("any.example", "/")?.status == 200);
    let (worked, printed) = router.drowse(&["recreate", "hello", "--wait"])?;
    assert!(!worked && printed.contains("recreate"), "{printed}");
    assert_eq!(router.get("any.example", "/")?.status, 200);

    router.drowse(&["sleep", "hello", "--wait"])?;
    let (worked, _) = router.drowse(&["recreate", "hello", "--wait"])?;
    assert!(!worked);
    assert_eq!(router.phase("hello")?, "asleep");
    let (worked, printed) = router.drowse(&["restart", "nobody"])?;
    assert!(!worked && printed.contains("no workload"), "{printed}");
    router.workload("hello").context("the workload is gone").map(drop)
}
