//! Real faults of the engine, of its events and of the router itself.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Answer, Docker, EngineRelay, Home, Programs, Router, client, until};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(90);

/// Serialises the tests, because they break the shared engine.
static EXCLUSIVE: Mutex<()> = Mutex::new(());

/// Exclusive access to the shared engine.
struct ExclusiveEngine {
    engine: &'static Docker,
    _guard: MutexGuard<'static, ()>,
}

// === impl ExclusiveEngine ===

impl ExclusiveEngine {
    fn wait(test: &str) -> Result<Option<Self>> {
        let guard = EXCLUSIVE.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(engine) = Docker::shared(test) else { return Ok(None) };
        if engine.run(&["version"]).is_err() {
            // The previous test failed and left the engine stopped.
            engine.start_again()?;
        }
        Ok(Some(Self { engine, _guard: guard }))
    }
}

/// Configuration tables of a workload `web` with this container.
fn tables(socket: &Path, container: &str, idle: &str, grace: &str) -> String {
    format!(
        "[provider.docker]\nplugin = \"docker\"\nendpoint.engine = {{ url = \"unix://{}\" }}\n\n\
         [workload.web]\nprovider = \"docker\"\ntarget = \"{container}\"\nidle = \"{idle}\"\n\
         sleep = {{ grace = \"{grace}\" }}\nwake = {{ cooldown = \"1s\" }}\n\n\
         [[route]]\nworkload = \"web\"\nport = 80\n",
        socket.display(),
    )
}

fn router(engine: &Docker, container: &str, idle: &str) -> Result<Router> {
    let home = Home::new(&Programs::from_env())?;
    home.configure(&tables(&engine.socket(), container, idle, "1s"))?;
    home.start()
}

/// A router whose calls and events of the engine pass through a relay.
fn router_with_relay(engine: &Docker, container: &str) -> Result<(Router, EngineRelay)> {
    let home = Home::new(&Programs::from_env())?;
    let socket = home.path().join("engine.sock");
    let relay = EngineRelay::begin(&socket, engine.socket())?;
    home.configure(&tables(&socket, container, "never", "1s"))?;
    let router = home.start()?;
    until("the router listens to the engine", PATIENCE, || (relay.streams() > 0).then_some(()))?;
    Ok((router, relay))
}

/// A request with a timeout longer than the router's.
fn visit(router: &Router) -> Result<Answer> {
    client::get(router.address(), "any.example", "/", PATIENCE * 2)
}

/// Waits until a request is answered by the workload.
fn served(router: &Router) -> Result<()> {
    until("a visitor is served", PATIENCE, || (visit(router).ok()?.status == 200).then_some(()))
        .with_context(|| format!("the router's log ends:\n{}", router.log().tail(40)))
}

/// Waits until the workload is asleep, and checks that its container is stopped.
fn asleep(router: &Router, engine: &Docker, container: &str) -> Result<()> {
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    ensure!(!engine.is_running(container)?, "asleep, but the container runs");
    Ok(())
}

/// Address of the container.
fn address(engine: &Docker, container: &str) -> Result<SocketAddr> {
    let inspected = engine.inspect(container)?;
    let networks = inspected["NetworkSettings"]["Networks"].as_object().context("no networks")?;
    let address = networks.values().find_map(|network| network["IPAddress"].as_str());
    let address = address.filter(|address| !address.is_empty());
    Ok(SocketAddr::new(address.context("the container has no address")?.parse()?, 80))
}

/// Container id and start time.
fn instance(engine: &Docker, container: &str) -> Result<(String, String)> {
    let inspected = engine.inspect(container)?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Ok((text(&inspected["Id"]), text(&inspected["State"]["StartedAt"])))
}

// === the engine is killed ===

/// Kills the engine at this point of a wake, while a visitor waits.
fn killed_during_a_wake(
    test: &str,
    moment: impl Fn(&Router, &Docker, &str) -> Result<()>,
) -> Result<()> {
    let Some(exclusive) = ExclusiveEngine::wait(test)? else { return Ok(()) };
    let engine = exclusive.engine;
    engine.create_web(test, 2.0)?;
    let router = router(engine, test, "2s")?;
    let answer = thread::scope(|scope| {
        let visitor = scope.spawn(|| visit(&router));
        moment(&router, engine, test)?;
        engine.crash()?;
        engine.start_again()?;
        visitor.join().expect("the visitor does not panic")
    })?;
    if answer.status != 200 {
        assert!([502, 503, 504].contains(&answer.status), "{}", answer.head);
        assert!(
            answer.text().contains("web"),
            "the response does not name the workload: {}",
            answer.text()
        );
    }
    served(&router)?;
    asleep(&router, engine, test)
}

#[test]
fn an_engine_killed_during_a_start_costs_at_most_one_wake() -> Result<()> {
    killed_during_a_wake("killed-while-starting", |router, _, _| {
        router.wait_for_phase("web", "waking", PATIENCE)
    })
}

#[test]
fn an_engine_killed_while_the_container_boots_costs_at_most_one_wake() -> Result<()> {
    killed_during_a_wake("killed-while-booting", |router, engine, name| {
        until("the container runs", PATIENCE, || engine.is_running(name).ok()?.then_some(()))?;
        ensure!(router.phase("web")? == "waking", "it is ready already");
        Ok(())
    })
}

#[test]
fn an_engine_killed_during_a_stop_leaves_the_container_asleep_in_the_end() -> Result<()> {
    let name = "killed-while-stopping";
    let Some(exclusive) = ExclusiveEngine::wait(name)? else { return Ok(()) };
    let engine = exclusive.engine;
    engine.create_web(name, 0.0)?;
    let home = Home::new(&Programs::from_env())?;
    // The web server ignores SIGTERM and runs until the grace time is over.
    home.configure(&tables(&engine.socket(), name, "500ms", "5s"))?;
    let router = home.start()?;
    assert_eq!(visit(&router)?.status, 200);
    router.wait_for_phase("web", "stopping", PATIENCE)?;
    assert!(engine.is_running(name)?, "it has stopped already");
    engine.crash()?;
    engine.start_again()?;
    asleep(&router, engine, name)?;
    served(&router)
}

#[test]
fn a_sleep_due_while_the_engine_is_down_is_retried() -> Result<()> {
    let name = "away-when-due";
    let Some(exclusive) = ExclusiveEngine::wait(name)? else { return Ok(()) };
    let engine = exclusive.engine;
    engine.create_web(name, 0.0)?;
    let router = router(engine, name, "1s")?;
    assert_eq!(visit(&router)?.status, 200);
    engine.crash()?;
    router.wait_for_phase("web", "failed", PATIENCE)?;
    let failure_text = router.workload("web")?["failure"].to_string();
    assert!(failure_text.contains("docker.sock"), "the cause is not in the status: {failure_text}");
    engine.start_again()?;
    asleep(&router, engine, name)?;
    served(&router)
}

#[test]
fn a_visitor_of_an_awake_workload_is_served_while_the_engine_is_down() -> Result<()> {
    let name = "away-while-awake";
    let Some(exclusive) = ExclusiveEngine::wait(name)? else { return Ok(()) };
    let engine = exclusive.engine;
    engine.create_web(name, 0.0)?;
    let router = router(engine, name, "never")?;
    assert_eq!(visit(&router)?.status, 200);
    engine.crash()?;
    let answer = visit(&router)?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // The restarted engine stops containers that ran without it.
    engine.start_again()?;
    served(&router)
}

// === the event stream is cut ===

#[test]
fn a_manual_start_during_an_event_gap_is_detected() -> Result<()> {
    let name = "started-unseen";
    let Some(exclusive) = ExclusiveEngine::wait(name)? else { return Ok(()) };
    exclusive.engine.create_web(name, 0.0)?;
    let (router, relay) = router_with_relay(exclusive.engine, name)?;
    assert_eq!(router.phase("web")?, "asleep");
    assert!(relay.cut_events() > 0);
    exclusive.engine.run(&["start", name])?;
    assert_eq!(router.phase("web")?, "asleep", "the router cannot know yet");
    relay.restore_events();
    router.wait_for_phase("web", "ready", PATIENCE)?;
    assert_eq!(visit(&router)?.status, 200);
    Ok(())
}

#[test]
fn a_manual_stop_during_an_event_gap_is_detected() -> Result<()> {
    let name = "stopped-unseen";
    let Some(exclusive) = ExclusiveEngine::wait(name)? else { return Ok(()) };
    exclusive.engine.create_web(name, 0.0)?;
    let (router, relay) = router_with_relay(exclusive.engine, name)?;
    assert_eq!(visit(&router)?.status, 200);
    assert!(relay.cut_events() > 0);
    exclusive.engine.run(&["kill", name])?;
    assert_eq!(router.phase("web")?, "ready", "the router cannot know yet");
    relay.restore_events();
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    assert_eq!(visit(&router)?.status, 200);
    Ok(())
}

#[test]
fn a_visitor_is_served_after_a_container_ended_without_an_event() -> Result<()> {
    let name = "ended-unseen";
    let Some(exclusive) = ExclusiveEngine::wait(name)? else { return Ok(()) };
    exclusive.engine.create_web(name, 0.0)?;
    let (router, relay) = router_with_relay(exclusive.engine, name)?;
    assert_eq!(visit(&router)?.status, 200);
    assert!(relay.cut_events() > 0);
    exclusive.engine.run(&["kill", name])?;
    let answer = visit(&router)?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(exclusive.engine.is_running(name)?);
    Ok(())
}

#[test]
fn a_container_replaced_during_an_event_gap_is_reached() -> Result<()> {
    let name = "replaced-unseen";
    let Some(exclusive) = ExclusiveEngine::wait(name)? else { return Ok(()) };
    let engine = exclusive.engine;
    engine.create_web(name, 0.0)?;
    let (router, relay) = router_with_relay(engine, name)?;
    assert_eq!(visit(&router)?.status, 200);
    assert!(relay.cut_events() > 0);
    engine.run(&["rm", "--force", name])?;
    engine.create_web(name, 0.0)?;
    let answer = visit(&router)?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (id, _) = instance(engine, name)?;
    assert_eq!(router.workload("web")?["observed"]["native_id"], id);
    Ok(())
}

// === the container is replaced ===

#[test]
fn a_container_recreated_under_its_name_is_reached_by_the_next_visitor() -> Result<()> {
    let name = "recreated";
    let Some(exclusive) = ExclusiveEngine::wait(name)? else { return Ok(()) };
    let engine = exclusive.engine;
    engine.create_web(name, 0.0)?;
    let router = router(engine, name, "never")?;
    assert_eq!(visit(&router)?.status, 200);
    let (old, _) = instance(engine, name)?;

    engine.run(&["rm", "--force", name])?;
    router.wait_for_phase("web", "missing", PATIENCE)?;
    let answer = visit(&router)?;
    assert_eq!(answer.status, 503, "{}", answer.head);
    assert!(
        answer.text().contains("web"),
        "the response does not name the workload: {}",
        answer.text()
    );
    let failure_text = router.workload("web")?["failure"].to_string();
    assert!(
        failure_text.contains(name),
        "the target is not named in the status: {failure_text}; the router's log ends:\n{}",
        router.log().tail(40)
    );

    engine.create_web(name, 0.0)?;
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    let answer = visit(&router)?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (new, _) = instance(engine, name)?;
    assert_ne!(old, new);
    assert_eq!(router.workload("web")?["observed"]["native_id"], new);
    Ok(())
}

// === the router is killed ===

/// Kills the router and starts it again in the same home.
fn kill_and_start(mut router: Router) -> Result<Router> {
    router.signal(Signal::KILL)?;
    until("the router has ended", PATIENCE, || router.ended().ok().flatten())?;
    router.stop()?.start()
}

#[test]
fn a_restarted_router_takes_over_the_running_containers_of_a_killed_one() -> Result<()> {
    let name = "taken-over";
    let Some(exclusive) = ExclusiveEngine::wait(name)? else { return Ok(()) };
    let engine = exclusive.engine;
    engine.create_web(name, 0.0)?;
    let router = router(engine, name, "never")?;
    assert_eq!(visit(&router)?.status, 200);
    let before = instance(engine, name)?;
    let address = address(engine, name)?;

    // Direct requests to the container are not affected.
    let (asking, asked) = (AtomicBool::new(true), Mutex::new((0, 0)));
    let router = thread::scope(|scope| {
        scope.spawn(|| {
            while asking.load(Ordering::Relaxed) {
                let answered = client::answers(address);
                let mut asked = asked.lock().expect("no panic with the lock");
                asked.0 += 1;
                asked.1 += u32::from(answered);
            }
        });
        let router = kill_and_start(router);
        asking.store(false, Ordering::Relaxed);
        router
    })?;
    let (asked, answered) = *asked.lock().expect("no panic with the lock");
    assert!(asked > 0);
    assert_eq!(answered, asked);

    let answer = visit(&router)?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(instance(engine, name)?, before, "it was restarted");
    assert_eq!(router.phase("web")?, "ready");
    Ok(())
}

#[test]
fn a_workload_woken_by_a_killed_router_sleeps_without_another_visitor() -> Result<()> {
    let name = "left-awake";
    let Some(exclusive) = ExclusiveEngine::wait(name)? else { return Ok(()) };
    let engine = exclusive.engine;
    engine.create_web(name, 0.0)?;
    let router = router(engine, name, "3s")?;
    assert_eq!(visit(&router)?.status, 200);
    let before = instance(engine, name)?;
    let noted = router.home().path().join("state/instances.json");
    until("the instance is stored", PATIENCE, || {
        std::fs::read_to_string(&noted).ok()?.contains("web").then_some(())
    })?;
    let router = kill_and_start(router)?;
    asleep(&router, engine, name)?;
    assert_eq!(instance(engine, name)?, before, "it was restarted");
    served(&router)
}
