//! Plugins that are added and replaced while the router runs.

use std::{fs, thread, time::Duration};

use anyhow::Result;
use drowse_tests::{Hello, Home, Programs, Router, late};

const PATIENCE: Duration = Duration::from_secs(60);

/// A router whose provider `late` uses the plugin `late`, and its backend, which is ready at once.
fn router() -> Result<(Router, Hello)> {
    let home = Home::new(&Programs::from_env())?;
    let hello = Hello::new(&Programs::from_env(), home.path(), Duration::ZERO)?;
    start(home, hello)
}

fn start(home: Home, hello: Hello) -> Result<(Router, Hello)> {
    home.configure(&late::config(&hello))?;
    Ok((home.start()?, hello))
}

fn wait_for_use(router: &Router, from: usize) -> Result<usize> {
    let uses = |line: &str| line.contains("uses plugin") && line.contains("late");
    Ok(router.log().wait("the provider uses the plugin", from, PATIENCE, uses)?.1)
}

#[test]
fn a_plugin_that_appears_is_used_without_a_restart() -> Result<()> {
    let (router, hello) = router()?;
    let answer = router.get("any.example", "/")?;
    assert!([502, 503].contains(&answer.status), "{}", answer.text());
    assert!(router.provider("late")?.to_string().contains("late.wasm"));

    let mark = router.log().mark();
    late::put(router.home(), &late::bundled()?)?;
    wait_for_use(&router, mark)?;
    drowse_tests::until("the workload can be woken", PATIENCE, || {
        (router.get("any.example", "/").ok()?.status == 200).then_some(())
    })?;
    assert_eq!(hello.starts()?.len(), 1);
    let status = router.provider("late")?;
    assert!(status.to_string().contains("late.wasm"), "{status:#}");
    Ok(())
}

#[test]
fn a_slowly_written_plugin_file_is_used_when_it_is_complete() -> Result<()> {
    let (router, _hello) = router()?;
    let plugin = late::bundled()?;
    let (begin, end) = plugin.split_at(plugin.len() / 2);
    let file = late::file(router.home());
    let mark = router.log().mark();
    fs::write(&file, begin)?;
    // The router logs an error once it has read the incomplete file.
    router.log().wait("a complaint", mark, PATIENCE, |line| line.contains("late.wasm"))?;
    fs::write(&file, [begin, end].concat())?;
    wait_for_use(&router, mark)?;
    drowse_tests::until("the workload can be woken", PATIENCE, || {
        (router.get("any.example", "/").ok()?.status == 200).then_some(())
    })
}

#[test]
fn a_plugin_replaced_during_a_wake_costs_no_visitor_and_is_used_afterwards() -> Result<()> {
    let home = Home::new(&Programs::from_env())?;
    let hello = Hello::held(&Programs::from_env(), home.path())?;
    let (router, hello) = start(home, hello)?;
    let mark = router.log().mark();
    late::put(router.home(), &late::bundled()?)?;
    let mark = wait_for_use(&router, mark)?;

    thread::scope(|scope| {
        let visitor = scope.spawn(|| router.get("any.example", "/"));
        router.wait_for_phase("hello", "waking", PATIENCE)?;
        late::put(router.home(), &late::newer()?)?;
        wait_for_use(&router, mark)?;
        assert_eq!(router.phase("hello")?, "waking", "the plugin was replaced during the wake");
        hello.release()?;
        let answer = visitor.join().expect("the visitor does not panic")?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains("start 1"), "{}", answer.text());
        anyhow::Ok(())
    })?;

    // The newer plugin stops the process that the older one started, and starts it again.
    router.home().drowse(&["sleep", "hello"])?;
    router.wait_for_phase("hello", "asleep", PATIENCE)?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    assert_eq!(hello.starts()?.len(), 2);
    Ok(())
}

#[test]
fn a_broken_replacement_is_reported_and_the_old_plugin_stays_in_use() -> Result<()> {
    let (router, hello) = router()?;
    let mark = router.log().mark();
    late::put(router.home(), &late::bundled()?)?;
    let mark = wait_for_use(&router, mark)?;
    late::put(router.home(), b"this is no plugin")?;
    router.log().wait("a complaint", mark, PATIENCE, |line| line.contains("late.wasm"))?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    assert_eq!(hello.starts()?.len(), 1);
    let status = router.provider("late")?.to_string();
    assert!(status.contains("late.wasm"), "{status}");
    Ok(())
}
