//! What speaks against sleeping although nobody has come.

use super::*;
use crate::{provider::Usage, spec::Veto};

fn guarded(veto: Veto) -> World {
    World::new(vec![WorkloadSpec { vetoes: vec![veto], ..spec("blog") }])
}

fn busy() -> Veto {
    Veto::Busy(ReadyCheck::Http {
        port: 80,
        method: "GET".into(),
        path: "/busy".into(),
        status: None,
        host: None,
        header: None,
    })
}

fn cpu(world: &World, percent: f64) {
    let usage = Usage { cpu_percent: Some(percent), memory: None };
    world.platform.with("blog", |guest| guest.usage = Ok(usage));
}

/// It is idle for long and still awake, for this reason.
async fn is_kept(world: &World, why: &str) {
    world.call("blog").await;
    pass(IDLE * 5).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
    assert_eq!(world.workload("blog").status().veto.as_deref(), Some(why));
}

/// It sleeps soon.
async fn goes(world: &World) {
    let before = Instant::now();
    world.phase("blog", Phase::Asleep).await;
    assert!(before.elapsed() <= IDLE + Duration::from_secs(11), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_that_uses_the_processor_is_kept_awake_until_it_is_done() {
    let world = guarded(Veto::CpuAbove(20.0));
    cpu(&world, 21.0);
    is_kept(&world, "it uses 21 % of a core").await;
    cpu(&world, 20.0);
    goes(&world).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_says_that_it_is_busy_is_kept_awake() {
    let world = guarded(busy());
    lock(&world.looks.busy).insert("blog".into());
    is_kept(&world, "it says that it is busy").await;
    lock(&world.looks.busy).clear();
    goes(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_command_keeps_it_awake_by_success_and_when_it_cannot_be_run() {
    let world = guarded(Veto::Busy(ReadyCheck::Exec { command: vec!["/bin/batch-runs".into()] }));
    let answers = |exec| world.platform.with("blog", |guest| guest.exec = exec);
    answers(Err(ErrorCode::Denied));
    is_kept(&world, "its command could not be run: the command cannot be run").await;
    answers(Ok(0));
    pass(IDLE * 5).await;
    assert_eq!(world.workload("blog").status().veto.as_deref(), Some("it says that it is busy"));
    answers(Ok(1));
    goes(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_the_provider_never_runs_keeps_nothing_awake() {
    let world = guarded(Veto::Busy(ReadyCheck::Exec { command: vec!["/bin/batch-runs".into()] }));
    world.platform.with("blog", |guest| guest.exec = Err(ErrorCode::Unsupported));
    world.call("blog").await;
    goes(&world).await;
}

#[tokio::test(start_paused = true)]
async fn players_online_keep_it_awake() {
    let world = guarded(Veto::PlayersOnline(25565));
    lock(&world.looks.players).insert("blog".into(), 2);
    is_kept(&world, "2 players are online").await;
    lock(&world.looks.players).insert("blog".into(), 0);
    goes(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_tell_its_players_has_none() {
    let world = guarded(Veto::PlayersOnline(25565));
    world.call("blog").await;
    goes(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_usage_that_the_provider_cannot_tell_keeps_nothing_awake() {
    let world = guarded(Veto::CpuAbove(20.0));
    world.platform.with("blog", |guest| guest.usage = Err(ErrorCode::Unsupported));
    world.call("blog").await;
    goes(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_does_not_answer_is_asked_again_before_anything_is_put_to_sleep() {
    let world = guarded(Veto::CpuAbove(20.0));
    world.platform.with("blog", |guest| guest.usage_takes = Duration::from_secs(3600));
    world.call("blog").await;
    pass(IDLE * 5).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
    let veto = world.workload("blog").status().veto.expect("a reason");
    assert!(veto.contains("no answer within 10s"), "{veto}");
    world.platform.with("blog", |guest| guest.usage_takes = Duration::ZERO);
    goes(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_visitor_that_comes_while_it_is_asked_is_not_put_out() {
    let world = guarded(Veto::CpuAbove(20.0));
    world.platform.with("blog", |guest| guest.usage_takes = Duration::from_secs(4));
    world.call("blog").await;
    // The question is open, and the answer will be that nothing speaks against it.
    pass(IDLE + Duration::from_secs(2)).await;
    let visit = world.workload("blog").enter().expect("the gate is open");
    pass(IDLE * 3).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
    drop(visit);
    world.phase("blog", Phase::Asleep).await;
}

#[tokio::test(start_paused = true)]
async fn what_spoke_against_sleeping_is_forgotten_in_the_next_life() {
    let world = guarded(busy());
    lock(&world.looks.busy).insert("blog".into());
    is_kept(&world, "it says that it is busy").await;
    world.engine.sleep("blog", operator(), Force::AtOnce).expect("an operator is obeyed");
    world.phase("blog", Phase::Asleep).await;
    world.call("blog").await;
    assert_eq!(world.workload("blog").status().veto, None);
}
