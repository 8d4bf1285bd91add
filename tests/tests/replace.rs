//! Plugins that come and change while the router runs.

use std::{fs, path::Path, thread, time::Duration};

use anyhow::{Context, Result};
use drowse_tests::{Hello, Home, Programs, Router};

const PATIENCE: Duration = Duration::from_secs(60);

/// A router whose provider `late` names the plugin `late`, and the backend behind it, which is
/// ready at once.
fn router() -> Result<(Router, Hello)> {
    let home = Home::new(&Programs::from_env())?;
    let hello = Hello::new(&Programs::from_env(), home.path(), Duration::ZERO)?;
    start(home, hello)
}

fn start(home: Home, hello: Hello) -> Result<(Router, Hello)> {
    home.configure(&format!(
        "[provider.late]\nplugin = \"late\"\ncommand.hello = {{ run = {:?} }}\n\n\
         [workload.hello]\nprovider = \"late\"\nidle = \"never\"\n\
         wake = {{ cooldown = \"100ms\" }}\n\n\
         [[route]]\nworkload = \"hello\"\nport = {}\n",
        hello.run(),
        hello.port(),
    ))?;
    Ok((home.start()?, hello))
}

fn bundled() -> Result<Vec<u8>> {
    fs::read(Programs::from_env().bundle.join("process.wasm")).context("read the bundled plugin")
}

/// The same plugin with a custom section more: another file for the router.
fn newer() -> Result<Vec<u8>> {
    let mut plugin = bundled()?;
    plugin.extend(b"\0\x0a\x04notenewer");
    Ok(plugin)
}

/// Puts a file into place in one step, as package managers do.
fn put(dir: &Path, plugin: &[u8]) -> Result<()> {
    let temporary = dir.join(".late.part");
    fs::write(&temporary, plugin)?;
    Ok(fs::rename(&temporary, dir.join("late.wasm"))?)
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
    put(&router.home().plugins(), &bundled()?)?;
    wait_for_use(&router, mark)?;
    drowse_tests::until("the workload can be woken", PATIENCE, || {
        (router.get("any.example", "/").ok()?.status == 200).then_some(())
    })?;
    assert_eq!(hello.starts()?.len(), 1);
    let said = router.provider("late")?;
    assert!(said.to_string().contains("late.wasm"), "{said:#}");
    Ok(())
}

#[test]
fn a_file_that_is_written_slowly_is_used_when_it_is_whole() -> Result<()> {
    let (router, _hello) = router()?;
    let plugin = bundled()?;
    let (begin, end) = plugin.split_at(plugin.len() / 2);
    let file = router.home().plugins().join("late.wasm");
    let mark = router.log().mark();
    fs::write(&file, begin)?;
    // The router has seen the half when it complains.
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
    let plugins = router.home().plugins();
    let mark = router.log().mark();
    put(&plugins, &bundled()?)?;
    let mark = wait_for_use(&router, mark)?;

    thread::scope(|scope| {
        let visitor = scope.spawn(|| router.get("any.example", "/"));
        router.wait_for_phase("hello", "waking", PATIENCE)?;
        put(&plugins, &newer()?)?;
        wait_for_use(&router, mark)?;
        assert_eq!(router.phase("hello")?, "waking", "the plugin was replaced during the wake");
        hello.release()?;
        let answer = visitor.join().expect("the visitor does not panic")?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains("start 1"), "{}", answer.text());
        anyhow::Ok(())
    })?;

    // The newer one stops what the older one started, and starts it again.
    router.home().drowse(&["sleep", "hello"])?;
    router.wait_for_phase("hello", "asleep", PATIENCE)?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    assert_eq!(hello.starts()?.len(), 2);
    Ok(())
}

#[test]
fn a_broken_replacement_is_named_and_the_old_plugin_goes_on() -> Result<()> {
    let (router, hello) = router()?;
    let plugins = router.home().plugins();
    let mark = router.log().mark();
    put(&plugins, &bundled()?)?;
    let mark = wait_for_use(&router, mark)?;
    put(&plugins, b"this is no plugin")?;
    router.log().wait("a complaint", mark, PATIENCE, |line| line.contains("late.wasm"))?;
    assert_eq!(router.get("any.example", "/")?.status, 200);
    assert_eq!(hello.starts()?.len(), 1);
    let said = router.provider("late")?.to_string();
    assert!(said.contains("late.wasm"), "{said}");
    Ok(())
}
