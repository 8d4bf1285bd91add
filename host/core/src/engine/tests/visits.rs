//! Visitors and the idle time of one workload.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Wake, Waker},
};

use super::*;
use crate::step::Stage;

/// Counts how often a task is woken.
#[derive(Default)]
struct WakeCount(AtomicUsize);

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn blog() -> World {
    World::new(vec![spec("blog")])
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_visitors_are_admitted_by_one_start() {
    let world = blog();
    let visitors: Vec<_> = (0..10_000).map(|_| world.visitor("blog")).collect();
    for visitor in visitors {
        let visit = visitor.await.expect("visitor").expect("admitted");
        assert_eq!(visit.upstream(8080), Some(("blog", 8080)));
    }
    assert_eq!(world.platform.asked("start blog"), 1);
    assert_eq!(world.workload("blog").waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_held_visitor_is_woken_by_the_end_of_a_wake_and_not_by_its_progress() {
    let world = blog();
    world.looks.hide("blog");
    let workload = world.workload("blog");
    let mut visitor = pin!(workload.admit(Instant::now() + PATIENCE, request()));
    let woken = Arc::new(WakeCount::default());
    let waker = Waker::from(woken.clone());
    let count = || woken.0.load(Ordering::Relaxed);
    // The first poll requests the wake, the second one waits for its end.
    assert!(visitor.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    moment().await;
    assert!(visitor.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let probed = |seen: &Snapshot| matches!(seen.stage, Some(Stage::Probing(Some(_))));
    world.until("blog", "probed", probed).await;
    let before = count();
    let mut snapshots = workload.watch();
    for step in 0..10 {
        let seen = format!("step {step}").as_str().into();
        workload.apply(Input::NotReady(Generation(1), seen));
        assert!(snapshots.has_changed().expect("watching"), "progress is published");
        snapshots.mark_unchanged();
    }
    assert_eq!(count(), before);
    world.looks.show("blog");
    world.phase("blog", Phase::Ready).await;
    assert_eq!(count(), before + 1);
    let admitted = visitor.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(matches!(admitted, Poll::Ready(Ok(_))), "{admitted:?}");
}

#[tokio::test(start_paused = true)]
async fn it_sleeps_an_idle_time_after_the_last_visit_and_not_before() {
    let world = blog();
    let visit = world.visit("blog").await.expect("admitted");
    pass(IDLE * 5).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready, "a visitor is inside");
    let left = Instant::now();
    drop(visit);
    world.phase("blog", Phase::Stopping).await;
    let quiet = left.elapsed();
    assert!(quiet >= IDLE && quiet < IDLE + Duration::from_millis(5), "{quiet:?}");
    world.phase("blog", Phase::Asleep).await;
    assert_eq!(world.platform.asked("stop blog"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_visitor_during_stopping_waits_for_the_next_generation() {
    let world = blog();
    world.call("blog").await;
    world.phase("blog", Phase::Stopping).await;
    assert!(world.workload("blog").enter().is_none(), "sent to a stopping backend");
    let visit = world.visit("blog").await.expect("admitted");
    assert_eq!(visit.generation(), Generation(2));
    let log = ["start blog", "started blog", "stop blog", "ended blog"];
    assert_eq!(world.platform.log(), [&log[..], &log[..2]].concat());
}

#[tokio::test(start_paused = true)]
async fn a_joining_visitor_waits_for_other_wakes_and_causes_none() {
    let world = blog();
    let join = || {
        let workload = world.workload("blog");
        tokio::spawn(async move { workload.join(Instant::now() + PATIENCE).await })
    };
    let refused = join().await.expect("visitor");
    assert!(matches!(refused, Err(AdmitError::NotWaking(Phase::Asleep))), "{refused:?}");
    assert_eq!(world.platform.asked("start blog"), 0);

    // The joined wake ends in a sleep.
    world.looks.hide("blog");
    let caller = world.visitor("blog");
    world.phase("blog", Phase::Waking).await;
    let joined = join();
    moment().await;
    caller.abort();
    moment().await;
    world.engine.sleep("blog", operator(), Force::Drain).expect("known");
    let refused = joined.await.expect("visitor");
    assert!(matches!(refused, Err(AdmitError::NotWaking(_))), "{refused:?}");
    world.phase("blog", Phase::Asleep).await;
    assert_eq!(world.platform.asked("start blog"), 1);
    world.looks.show("blog");

    // A visitor arrives while it stops: the next wake serves both.
    world.call("blog").await;
    world.phase("blog", Phase::Stopping).await;
    assert!(!world.workload("blog").snapshot().is_coming());
    let caller = world.visitor("blog");
    moment().await;
    assert!(world.workload("blog").snapshot().is_coming());
    let joined = join();
    let visit = joined.await.expect("visitor").expect("admitted");
    assert_eq!(visit.generation(), caller.await.expect("visitor").expect("admitted").generation());
    assert_eq!(world.workload("blog").waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wake_goes_on_when_its_only_visitor_leaves() {
    let world = blog();
    world.looks.hide("blog");
    let deadline = Instant::now() + Duration::from_millis(300);
    let visitor = world.workload("blog").admit(deadline, request()).await;
    assert!(matches!(visitor, Err(AdmitError::TimedOut(Phase::Waking))), "{visitor:?}");
    world.looks.show("blog");
    world.phase("blog", Phase::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn visitors_get_a_failed_start_at_once_and_a_new_attempt_after_the_cool_down() {
    let world = blog();
    world.platform.with("blog", |guest| guest.start_fails = Some(ErrorCode::Unavailable));
    let (why, retry) = world.refused("blog").await;
    assert_eq!(why, "the engine is down");
    assert_eq!(retry, Some(COOLDOWN));
    let asked = Instant::now();
    world.refused("blog").await;
    assert_eq!(asked.elapsed(), Duration::ZERO, "it is refused at once");
    assert_eq!(world.platform.asked("start blog"), 1, "resting");
    world.platform.with("blog", |guest| guest.start_fails = None);
    pass(COOLDOWN).await;
    world.call("blog").await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_does_not_wait_for_the_cool_down() {
    let world = blog();
    world.platform.with("blog", |guest| guest.start_fails = Some(ErrorCode::Unavailable));
    world.refused("blog").await;
    world.platform.with("blog", |guest| guest.start_fails = None);
    world.engine.wake("blog", operator()).expect("known");
    world.call("blog").await;
    assert_eq!(world.platform.asked("start blog"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_stop_is_repeated_until_it_sleeps() {
    let world = blog();
    world.platform.with("blog", |guest| guest.stop_fails = 3);
    world.call("blog").await;
    world.phase("blog", Phase::Failed).await;
    let failure = world.snapshot("blog").failure.expect("shown").message.clone();
    assert!(failure.contains("the engine is down"), "{failure}");
    world.phase("blog", Phase::Asleep).await;
    assert_eq!(world.platform.asked("stop blog"), 4);
    assert!(world.snapshot("blog").failure.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_visitor_after_a_failed_stop_is_served_by_a_new_start() {
    let world = blog();
    world.platform.with("blog", |guest| guest.stop_fails = 1);
    world.call("blog").await;
    world.phase("blog", Phase::Failed).await;
    let visit = world.visit("blog").await.expect("admitted");
    assert_eq!(visit.generation(), Generation(2));
    assert_eq!(world.platform.asked("stop blog"), 1, "it is not stopped under the visitor");
    pass(IDLE).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
}

#[tokio::test(start_paused = true)]
async fn an_event_ends_the_wait_between_two_probes_at_once() {
    let world = blog();
    world.looks.hide("blog");
    world.workload("blog").wake(request());
    pass(Duration::from_secs(20)).await;
    let looks = world.looks.count("blog");
    world.looks.show("blog");
    world.platform.report("blog").await;
    assert_eq!(world.phase_of("blog"), Phase::Ready);
    assert_eq!(world.looks.count("blog"), looks + 1);
}

#[tokio::test(start_paused = true)]
async fn probes_are_hasty_at_first_then_five_milliseconds_apart_and_later_a_quarter_of_a_second() {
    let world = blog();
    world.looks.hide("blog");
    world.workload("blog").wake(request());
    while world.looks.count("blog") == 0 {
        pass(Duration::from_millis(1)).await;
    }
    pass(Duration::from_millis(20)).await;
    let hasty = world.looks.count("blog");
    assert!((15..=21).contains(&hasty), "{hasty} looks in 20 ms");
    pass(Duration::from_millis(80)).await;
    let first = world.looks.count("blog");
    pass(Duration::from_millis(100)).await;
    let eager = world.looks.count("blog") - first;
    assert!((15..=20).contains(&eager), "{eager} looks in 100 ms");
    pass(Duration::from_secs(15)).await;
    let before = world.looks.count("blog");
    pass(Duration::from_secs(5)).await;
    let patient = world.looks.count("blog") - before;
    assert!((19..=21).contains(&patient), "{patient} looks in 5 s");
}

#[tokio::test(start_paused = true)]
async fn an_operator_puts_it_to_sleep_when_the_last_visit_has_left() {
    let world = blog();
    let visit = world.visit("blog").await.expect("admitted");
    world.engine.sleep("blog", operator(), Force::Drain).expect("known");
    world.phase("blog", Phase::Draining).await;
    assert!(world.workload("blog").enter().is_none());
    drop(visit);
    world.phase("blog", Phase::Asleep).await;
    assert!(world.engine.sleep("unknown", operator(), Force::Drain).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_visit_that_does_not_count_holds_it_awake_only_while_it_lasts() {
    let world = blog();
    world.call("blog").await;
    let left = Instant::now();
    pass(IDLE - Duration::from_secs(10)).await;
    let inside = world.workload("blog").enter_untracked().expect("the gate is open");
    pass(Duration::from_secs(60)).await;
    assert_eq!(world.phase_of("blog"), Phase::Ready, "a visitor is inside");
    let went = Instant::now();
    drop(inside);
    world.phase("blog", Phase::Stopping).await;
    let late = went.elapsed();
    assert!(late <= Duration::from_secs(1), "it began a new idle time: {late:?}");
    assert!(left.elapsed() > IDLE);
}

#[tokio::test(start_paused = true)]
async fn visits_that_do_not_count_do_not_put_off_the_sleep() {
    let world = blog();
    world.call("blog").await;
    let left = Instant::now();
    while world.phase_of("blog") == Phase::Ready {
        drop(world.workload("blog").enter_untracked());
        pass(Duration::from_millis(500)).await;
    }
    assert!(left.elapsed() < IDLE + Duration::from_secs(2), "{:?}", left.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_visit_counts_until_its_end_though_one_that_does_not_count_outlasts_it() {
    let world = blog();
    let visit = world.visit("blog").await.expect("admitted");
    pass(IDLE * 2).await;
    let other = world.workload("blog").enter_untracked().expect("the gate is open");
    let left = Instant::now();
    drop(visit);
    moment().await;
    drop(other);
    world.phase("blog", Phase::Stopping).await;
    assert!(left.elapsed() >= IDLE, "{:?}", left.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_visitor_of_a_job_is_refused_and_does_not_run_it() {
    let world = World::new(vec![job("migrate")]);
    let asked = Instant::now();
    let (why, _) = world.refused("migrate").await;
    assert!(why.contains("it is a job"), "{why}");
    assert_eq!(asked.elapsed(), Duration::ZERO);
    assert_eq!(world.platform.asked("start migrate"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_visit_reaches_the_port_of_its_route() {
    let world = blog();
    let visit = world.visit("blog").await.expect("admitted");
    assert_eq!(
        (visit.upstream(80), visit.upstream(9000)),
        (Some(("blog", 80)), Some(("blog", 9000)))
    );
}

#[tokio::test(start_paused = true)]
async fn a_second_workload_with_a_used_name_is_refused() {
    let world = blog();
    let failure = world.engine.add_workload(spec("blog")).err().expect("the name is taken");
    assert_eq!(failure.code, ErrorCode::Conflict);
}

#[tokio::test(start_paused = true)]
async fn an_operator_can_put_a_failed_workload_to_sleep() {
    let world = blog();
    world.platform.with("blog", |guest| guest.start_fails = Some(ErrorCode::Denied));
    world.refused("blog").await;
    world.engine.sleep("blog", operator(), Force::Drain).expect("known");
    world.phase("blog", Phase::Asleep).await;
    assert_eq!(world.platform.asked("stop blog"), 1);
    assert!(world.snapshot("blog").failure.is_none());
}

#[tokio::test(start_paused = true)]
async fn every_visitor_ends_at_its_own_deadline() {
    let world = blog();
    world.looks.hide("blog");
    world.platform.with("blog", |guest| guest.start_takes = Duration::from_secs(1000));
    let asked = Instant::now();
    let deadline = asked + Duration::from_secs(7);
    let refused = world.workload("blog").admit(deadline, request()).await;
    assert!(matches!(refused, Err(AdmitError::TimedOut(Phase::Waking))), "{refused:?}");
    assert_eq!(asked.elapsed(), Duration::from_secs(7));
    assert_eq!(world.workload("blog").waiting(), 0);
}

/// Its wake has failed, the cool-down is over, and its target is still being stopped.
async fn being_cleaned_up() -> World {
    let world = World::new(vec![spec("blog"), spec_needing("web", &["blog"])]);
    world.looks.hide("blog");
    world.platform.with("blog", |guest| guest.stop_takes = COOLDOWN * 4);
    world.refused("blog").await;
    world.looks.show("blog");
    pass(COOLDOWN * 2).await;
    assert_eq!(world.phase_of("blog"), Phase::Failed);
    world
}

#[tokio::test(start_paused = true)]
async fn a_visitor_during_the_clean_up_of_a_failed_wake_is_served_by_the_next_one() {
    let world = being_cleaned_up().await;
    let visit = world.visit("blog").await.expect("admitted");
    assert_eq!(visit.generation(), Generation(2));
}

#[tokio::test(start_paused = true)]
async fn a_dependent_during_the_clean_up_of_a_failed_wake_waits_for_the_next_one() {
    let world = being_cleaned_up().await;
    world.call("web").await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_s_sleep_during_a_clean_up_cancels_the_next_wake_without_visitors() {
    let world = being_cleaned_up().await;
    world.workload("blog").wake(request());
    assert!(world.snapshot("blog").wake_wanted);
    world.engine.sleep("blog", operator(), Force::Drain).expect("nothing needs it");
    pass(COOLDOWN * 10).await;
    assert_eq!(world.platform.asked("start blog"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_operator_s_wake_of_an_awake_workload_restarts_its_idle_time() {
    let world = blog();
    world.call("blog").await;
    pass(IDLE - Duration::from_secs(5)).await;
    let woken = Instant::now();
    world.engine.wake("blog", operator()).expect("known");
    world.phase("blog", Phase::Stopping).await;
    assert!(woken.elapsed() >= IDLE, "{:?}", woken.elapsed());
}

#[tokio::test(start_paused = true)]
async fn held_visitors_are_refused_at_once_when_the_engine_ends() {
    let world = blog();
    world.looks.hide("blog");
    let visitor = world.visitor("blog");
    pass(Duration::from_secs(1)).await;
    let ended = Instant::now();
    drop(world);
    let refused = visitor.await.expect("visitor").expect_err("refused").to_string();
    assert!(refused.contains("the router is ending"), "{refused}");
    assert_eq!(ended.elapsed(), Duration::ZERO);
}
