//! Faults, done for real to what the router depends on and to the router itself.

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
use drowse_tests::{Answer, Docker, Home, Programs, Router, client, until, wire::Wire};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(90);

/// The tests take turns: they break what they share.
static TURN: Mutex<()> = Mutex::new(());

/// An engine that this test may break.
struct Turn {
    engine: &'static Docker,
    _turn: MutexGuard<'static, ()>,
}

// === impl Turn ===

impl Turn {
    fn wait(test: &str) -> Result<Option<Self>> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(engine) = Docker::shared(test) else { return Ok(None) };
        if engine.run(&["version"]).is_err() {
            // The test before has failed halfway.
            engine.start_again()?;
        }
        Ok(Some(Self { engine, _turn: turn }))
    }
}

/// What to write of a workload `web` that is this container.
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

/// A router whose calls to the engine go over a wire, and its stream of events with them.
fn wired(engine: &Docker, container: &str) -> Result<(Router, Wire)> {
    let home = Home::new(&Programs::from_env())?;
    let socket = home.path().join("engine.sock");
    let wire = Wire::begin(&socket, engine.socket())?;
    home.configure(&tables(&socket, container, "never", "1s"))?;
    let router = home.start()?;
    until("the router listens to the engine", PATIENCE, || (wire.streams() > 0).then_some(()))?;
    Ok((router, wire))
}

/// A visitor who waits as long as the router lets him.
fn visit(router: &Router) -> Result<Answer> {
    client::get(router.address(), "any.example", "/", PATIENCE * 2)
}

/// By and by a visitor is answered by the workload.
fn served(router: &Router) -> Result<()> {
    until("a visitor is served", PATIENCE, || (visit(router).ok()?.status == 200).then_some(()))
        .with_context(|| format!("the router's log ends:\n{}", router.log().tail(40)))
}

/// Asleep by the router's word and by the engine's.
fn asleep(router: &Router, engine: &Docker, container: &str) -> Result<()> {
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    ensure!(!engine.is_running(container)?, "asleep, but the container runs");
    Ok(())
}

/// Where the container is reached.
fn address(engine: &Docker, container: &str) -> Result<SocketAddr> {
    let said = engine.inspect(container)?;
    let networks = said["NetworkSettings"]["Networks"].as_object().context("no networks")?;
    let address = networks.values().find_map(|network| network["IPAddress"].as_str());
    let address = address.filter(|address| !address.is_empty());
    Ok(SocketAddr::new(address.context("the container has no address")?.parse()?, 80))
}

/// Which container it is, and since when it runs.
fn life(engine: &Docker, container: &str) -> Result<(String, String)> {
    let said = engine.inspect(container)?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Ok((text(&said["Id"]), text(&said["State"]["StartedAt"])))
}

// === the engine is killed ===

/// Kills the engine at this moment of a wake, with a visitor waiting.
fn killed_during_a_wake(
    test: &str,
    moment: impl Fn(&Router, &Docker, &str) -> Result<()>,
) -> Result<()> {
    let Some(turn) = Turn::wait(test)? else { return Ok(()) };
    let engine = turn.engine;
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
        assert!(answer.text().contains("web"), "it says what did not wake: {}", answer.text());
    }
    served(&router)?;
    asleep(&router, engine, test)
}

#[test]
fn an_engine_killed_while_it_starts_a_container_costs_one_wake_at_most() -> Result<()> {
    killed_during_a_wake("killed-while-starting", |router, _, _| {
        router.wait_for_phase("web", "waking", PATIENCE)
    })
}

#[test]
fn an_engine_killed_while_the_container_boots_costs_one_wake_at_most() -> Result<()> {
    killed_during_a_wake("killed-while-booting", |router, engine, name| {
        until("the container runs", PATIENCE, || engine.is_running(name).ok()?.then_some(()))?;
        ensure!(router.phase("web")? == "waking", "it is ready already");
        Ok(())
    })
}

#[test]
fn an_engine_killed_while_it_stops_a_container_leaves_it_asleep_in_the_end() -> Result<()> {
    let name = "killed-while-stopping";
    let Some(turn) = Turn::wait(name)? else { return Ok(()) };
    let engine = turn.engine;
    engine.create_web(name, 0.0)?;
    let home = Home::new(&Programs::from_env())?;
    // The web server does not hear SIGTERM: it runs until the grace time is over.
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
fn a_sleep_that_is_due_while_the_engine_is_away_is_made_up_for() -> Result<()> {
    let name = "away-when-due";
    let Some(turn) = Turn::wait(name)? else { return Ok(()) };
    let engine = turn.engine;
    engine.create_web(name, 0.0)?;
    let router = router(engine, name, "1s")?;
    assert_eq!(visit(&router)?.status, 200);
    engine.crash()?;
    router.wait_for_phase("web", "failed", PATIENCE)?;
    let said = router.workload("web")?["failure"].to_string();
    assert!(said.contains("docker.sock"), "the operator sees why: {said}");
    engine.start_again()?;
    asleep(&router, engine, name)?;
    served(&router)
}

#[test]
fn a_visitor_to_what_is_awake_is_served_though_the_engine_is_away() -> Result<()> {
    let name = "away-while-awake";
    let Some(turn) = Turn::wait(name)? else { return Ok(()) };
    let engine = turn.engine;
    engine.create_web(name, 0.0)?;
    let router = router(engine, name, "never")?;
    assert_eq!(visit(&router)?.status, 200);
    engine.crash()?;
    let answer = visit(&router)?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // The engine ends what ran without it when it comes back.
    engine.start_again()?;
    served(&router)
}

// === the stream of events is cut ===

#[test]
fn what_was_started_by_hand_while_the_events_were_cut_is_noticed() -> Result<()> {
    let name = "started-unseen";
    let Some(turn) = Turn::wait(name)? else { return Ok(()) };
    turn.engine.create_web(name, 0.0)?;
    let (router, wire) = wired(turn.engine, name)?;
    assert_eq!(router.phase("web")?, "asleep");
    assert!(wire.cut_events() > 0);
    turn.engine.run(&["start", name])?;
    assert_eq!(router.phase("web")?, "asleep", "nobody can have told");
    wire.mend();
    router.wait_for_phase("web", "ready", PATIENCE)?;
    assert_eq!(visit(&router)?.status, 200);
    Ok(())
}

#[test]
fn what_was_stopped_by_hand_while_the_events_were_cut_is_noticed() -> Result<()> {
    let name = "stopped-unseen";
    let Some(turn) = Turn::wait(name)? else { return Ok(()) };
    turn.engine.create_web(name, 0.0)?;
    let (router, wire) = wired(turn.engine, name)?;
    assert_eq!(visit(&router)?.status, 200);
    assert!(wire.cut_events() > 0);
    turn.engine.run(&["kill", name])?;
    assert_eq!(router.phase("web")?, "ready", "nobody can have told");
    wire.mend();
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    assert_eq!(visit(&router)?.status, 200);
    Ok(())
}

#[test]
fn a_visitor_is_served_though_nobody_told_of_the_end() -> Result<()> {
    let name = "ended-unseen";
    let Some(turn) = Turn::wait(name)? else { return Ok(()) };
    turn.engine.create_web(name, 0.0)?;
    let (router, wire) = wired(turn.engine, name)?;
    assert_eq!(visit(&router)?.status, 200);
    assert!(wire.cut_events() > 0);
    turn.engine.run(&["kill", name])?;
    let answer = visit(&router)?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(turn.engine.is_running(name)?);
    Ok(())
}

#[test]
fn a_container_replaced_while_the_events_were_cut_is_reached() -> Result<()> {
    let name = "replaced-unseen";
    let Some(turn) = Turn::wait(name)? else { return Ok(()) };
    let engine = turn.engine;
    engine.create_web(name, 0.0)?;
    let (router, wire) = wired(engine, name)?;
    assert_eq!(visit(&router)?.status, 200);
    assert!(wire.cut_events() > 0);
    engine.run(&["rm", "--force", name])?;
    engine.create_web(name, 0.0)?;
    let answer = visit(&router)?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (id, _) = life(engine, name)?;
    assert_eq!(router.workload("web")?["observed"]["native_id"], id);
    Ok(())
}

// === the container is replaced ===

#[test]
fn a_container_recreated_under_its_name_is_reached_by_the_next_visitor() -> Result<()> {
    let name = "recreated";
    let Some(turn) = Turn::wait(name)? else { return Ok(()) };
    let engine = turn.engine;
    engine.create_web(name, 0.0)?;
    let router = router(engine, name, "never")?;
    assert_eq!(visit(&router)?.status, 200);
    let (old, _) = life(engine, name)?;

    engine.run(&["rm", "--force", name])?;
    router.wait_for_phase("web", "missing", PATIENCE)?;
    let answer = visit(&router)?;
    assert_eq!(answer.status, 503, "{}", answer.head);
    assert!(answer.text().contains("web"), "it says what is missing: {}", answer.text());
    let said = router.workload("web")?["failure"].to_string();
    assert!(
        said.contains(name),
        "the operator sees what is missing: {said}; the router's log ends:\n{}",
        router.log().tail(40)
    );

    engine.create_web(name, 0.0)?;
    router.wait_for_phase("web", "asleep", PATIENCE)?;
    let answer = visit(&router)?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (new, _) = life(engine, name)?;
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
fn a_killed_router_takes_over_what_runs_when_it_is_started_again() -> Result<()> {
    let name = "taken-over";
    let Some(turn) = Turn::wait(name)? else { return Ok(()) };
    let engine = turn.engine;
    engine.create_web(name, 0.0)?;
    let router = router(engine, name, "never")?;
    assert_eq!(visit(&router)?.status, 200);
    let before = life(engine, name)?;
    let address = address(engine, name)?;

    // Whoever goes to the container directly does not notice anything.
    let (asking, asked) = (AtomicBool::new(true), Mutex::new((0, 0)));
    let router = thread::scope(|scope| {
        scope.spawn(|| {
            while asking.load(Ordering::Relaxed) {
                let answered = client::answers(address);
                let mut asked = asked.lock().expect("nobody panics with it");
                asked.0 += 1;
                asked.1 += u32::from(answered);
            }
        });
        let router = kill_and_start(router);
        asking.store(false, Ordering::Relaxed);
        router
    })?;
    let (asked, answered) = *asked.lock().expect("nobody panics with it");
    assert!(asked > 0);
    assert_eq!(answered, asked);

    let answer = visit(&router)?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(life(engine, name)?, before, "it was started anew");
    assert_eq!(router.phase("web")?, "ready");
    Ok(())
}

#[test]
fn what_a_killed_router_had_woken_goes_to_sleep_though_nobody_comes() -> Result<()> {
    let name = "left-awake";
    let Some(turn) = Turn::wait(name)? else { return Ok(()) };
    let engine = turn.engine;
    engine.create_web(name, 0.0)?;
    let router = router(engine, name, "3s")?;
    assert_eq!(visit(&router)?.status, 200);
    let before = life(engine, name)?;
    let noted = router.home().path().join("state/instances.json");
    until("the life is noted", PATIENCE, || {
        std::fs::read_to_string(&noted).ok()?.contains("web").then_some(())
    })?;
    let router = kill_and_start(router)?;
    asleep(&router, engine, name)?;
    assert_eq!(life(engine, name)?, before, "it was started anew");
    served(&router)
}
