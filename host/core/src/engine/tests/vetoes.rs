//! Vetoes against the sleep of an idle workload.

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

/// Asserts that it is idle for long and still awake, for this reason.
async fn is_kept(world: &World, why: &str) {
    world.call("blog").await;
    pass(IDLE * 5).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
    assert_eq!(world.workload("blog").status().veto.as_deref(), Some(why));
}

/// Asserts that it sleeps soon.
async fn goes(world: &World) {
    let before = Instant::now();
    world.phase("blog", Phase::Asleep).await;
    assert!(before.elapsed() <= IDLE + Duration::from_secs(11), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_workload_above_its_cpu_limit_is_kept_awake() {
    let world = guarded(Veto::CpuAbove(20.0));
    cpu(&world, 21.0);
    is_kept(&world, "it uses 21 % of a core").await;
    cpu(&world, 20.0);
    goes(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_reports_busy_is_kept_awake() {
    let world = guarded(busy());
    lock(&world.looks.busy).insert("blog".into());
    is_kept(&world, "it reports that it is busy").await;
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
    assert_eq!(world.workload("blog").status().veto.as_deref(), Some("it reports that it is busy"));
    answers(Ok(1));
    goes(&world).await;
}

#[tokio::test(start_paused = true)]
async fn an_unsupported_command_keeps_no_workload_awake() {
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
async fn a_server_that_does_not_report_its_players_has_none() {
    let world = guarded(Veto::PlayersOnline(25565));
    world.call("blog").await;
    goes(&world).await;
}

#[tokio::test(start_paused = true)]
async fn an_unsupported_usage_call_keeps_no_workload_awake() {
    let world = guarded(Veto::CpuAbove(20.0));
    world.platform.with("blog", |guest| guest.usage = Err(ErrorCode::Unsupported));
    world.call("blog").await;
    goes(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_does_not_answer_delays_the_sleep() {
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
async fn a_visitor_that_arrives_during_the_checks_is_not_cut_off() {
    let world = guarded(Veto::CpuAbove(20.0));
    world.platform.with("blog", |guest| guest.usage_takes = Duration::from_secs(4));
    world.call("blog").await;
    // The check is in flight, and will not veto.
    pass(IDLE + Duration::from_secs(2)).await;
    let visit = world.workload("blog").enter().expect("the gate is open");
    pass(IDLE * 3).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
    drop(visit);
    world.phase("blog", Phase::Asleep).await;
}

#[tokio::test(start_paused = true)]
async fn a_veto_is_forgotten_in_the_next_generation() {
    let world = guarded(busy());
    lock(&world.looks.busy).insert("blog".into());
    is_kept(&world, "it reports that it is busy").await;
    world.engine.sleep("blog", operator(), Force::AtOnce).expect("an operator is obeyed");
    world.phase("blog", Phase::Asleep).await;
    world.call("blog").await;
    assert_eq!(world.workload("blog").status().veto, None);
}
