//! Visitors, and disturbances of targets, operators and watches.

use std::{sync::Arc, time::Duration};

use drowse_core::{
    AdmitError, Cause, Confirmation, Engine, Force, Provider, Status, Trigger, Visit, Workload,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    plan::PROVIDERS,
    platform::Platform,
    random::Random,
    world::{SimTarget, World},
};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);
/// Time of day from which there are no visitors and no disturbances.
pub(crate) const CALM: Duration = Duration::from_secs(23 * 3600);

/// Time until the calm hour of this day.
fn time_until_calm(world: &World) -> Duration {
    let today = world.began.elapsed().as_millis() % DAY.as_millis();
    let today = Duration::from_millis(u64::try_from(today).expect("less than a day"));
    CALM.saturating_sub(today)
}

/// In the calm hour, waits until the next day.
async fn wait_until_morning(world: &World) {
    if time_until_calm(world).is_zero() {
        let days = world.began.elapsed().as_secs() / DAY.as_secs() + 1;
        let days = u32::try_from(days).expect("fewer than 2^32 days");
        sleep_until(world.began + DAY * days).await;
    }
}

/// Visits a workload again and again.
pub(crate) async fn visit_repeatedly(world: Arc<World>, workload: Arc<Workload>, number: u64) {
    let name = workload.name().to_string();
    let mut random = Random::of(world.seed, &format!("walk {name}"), number);
    // Some workloads are visited every few minutes, some once a day.
    let pause = match random.below(10) {
        0 => Duration::from_secs(900),
        1..4 => Duration::from_secs(4 * 3600),
        _ => Duration::from_secs(20 * 3600),
    };
    loop {
        sleep(random.between(Duration::ZERO, pause)).await;
        wait_until_morning(&world).await;
        match random.below(20) {
            0 => {
                if let Some(visit) = workload.enter_untracked() {
                    let stay = random.between(Duration::ZERO, Duration::from_secs(5));
                    inside(&world, &name, visit, stay, &mut random).await;
                }
            }
            1 => workload.wake(Cause::new(Trigger::Request)),
            _ => visit_once(&world, &workload, &name, &mut random).await,
        }
    }
}

async fn visit_once(world: &World, workload: &Arc<Workload>, name: &str, random: &mut Random) {
    let limit = random.between(Duration::from_secs(1), Duration::from_secs(400));
    let deadline = Instant::now() + limit;
    let admit = workload.admit(deadline, Cause::new(Trigger::Request));
    // Some visitors leave earlier.
    let leaves = match random.chance(100) {
        true => Instant::now() + random.between(Duration::ZERO, limit),
        false => deadline + Duration::from_secs(2),
    };
    match tokio::time::timeout_at(leaves, admit).await {
        Err(_) if leaves <= deadline => world.record().counts.abandoned += 1,
        Err(_) => world.violation(name, "a visitor was kept waiting beyond its deadline"),
        Ok(Err(AdmitError::TimedOut(_))) if Instant::now() < deadline => {
            world.violation(name, "a visitor was rejected before its deadline");
        }
        Ok(Err(AdmitError::TimedOut(_))) => world.record().counts.timed_out += 1,
        Ok(Err(AdmitError::Failed(failure, _))) if failure.message.is_empty() => {
            world.violation(name, "a visitor was rejected without a reason");
        }
        Ok(Err(AdmitError::Failed(..))) => world.record().counts.rejected += 1,
        Ok(Err(AdmitError::NotWaking(_))) => {
            world.violation(name, "a visitor who may wake was rejected for want of a wake");
        }
        Ok(Ok(visit)) => {
            // Another target may answer at its address.
            let dead = !world.target(name, |target| target.status == Status::Running)
                && visit.upstream(80).and_then(|(host, _)| world.holder(host)).is_none();
            if dead {
                let instance = visit.instance().clone();
                world.entered(name, instance.generation());
                drop(visit);
                world.left(name, instance.generation());
                workload.confirm(&instance).await;
                return;
            }
            let stay = match random.below(20) {
                0 => random.between(Duration::ZERO, Duration::from_secs(3 * 3600)),
                1..6 => random.between(Duration::ZERO, Duration::from_secs(600)),
                _ => random.between(Duration::ZERO, Duration::from_secs(5)),
            };
            inside(world, name, visit, stay, random).await;
        }
    }
}

async fn inside(world: &World, name: &str, visit: Visit, stay: Duration, random: &mut Random) {
    let generation = visit.generation();
    world.entered(name, generation);
    let entered = Instant::now();
    let end = entered + stay.min(time_until_calm(world) + Duration::from_secs(300));
    if connects(world, &visit, random).await {
        world.sends(name, &visit, entered, true);
        while Instant::now() < end && !visit.instance().has_ended() {
            let piece = random.between(Duration::from_millis(1), Duration::from_secs(120));
            tokio::select! {
                biased;
                () = visit.instance().ended() => {}
                () = sleep_until(end.min(Instant::now() + piece)) => {
                    world.sends(name, &visit, entered, false);
                }
            }
        }
    }
    world.record().counts.cut += u64::from(Instant::now() < end && !visit.instance().is_open());
    world.left(name, generation);
    drop(visit);
}

/// Connects as the proxy does: a dial ends with its instance. An instance that answers late, or
/// whose address another target may have, is sent nothing before the provider confirms it.
async fn connects(world: &World, visit: &Visit, random: &mut Random) -> bool {
    let dial = match random.below(10) {
        0 => random.between(Duration::from_millis(1), Duration::from_secs(5)),
        _ => Duration::ZERO,
    };
    tokio::select! {
        biased;
        () = visit.instance().closed() => return false,
        () = sleep(dial) => {}
    }
    let late = dial > Duration::from_millis(200);
    if visit.may_dial() && !late {
        return true;
    }
    world.record().counts.disputed += u64::from(!visit.may_dial() && visit.instance().is_open());
    let confirmed = visit.workload().confirm(visit.instance()).await;
    confirmed == Confirmation::Confirmed && visit.may_dial()
}

/// Ends, starts, replaces and removes targets, gives operators' orders and breaks watches.
pub(crate) async fn disturb(world: Arc<World>, platforms: Vec<Arc<Platform>>, number: u64) {
    let names = world.names();
    let mut random = Random::of(world.seed, "befall", number);
    // Each workload on average twice a day.
    let pause = DAY / u32::try_from(names.len()).expect("not too many");
    let mut visitors = JoinSet::new();
    loop {
        sleep(random.between(Duration::ZERO, pause)).await;
        while visitors.try_join_next().is_some() {}
        wait_until_morning(&world).await;
        let name = random.pick(&names).clone();
        let Some(engine) = world.engine() else { return };
        let Some(workload) = engine.workload(&name) else { return };
        let provider = workload.spec().provider.as_str();
        let at = PROVIDERS.iter().position(|one| *one == provider).expect("a known provider");
        let platform = &platforms[at];
        let operator = Cause::new(Trigger::Cli);
        match random.below(100) {
            0..10 => reassign_address(&world, &engine, platform, &mut random, &mut visitors),
            10..35 => {
                world.record().counts.deaths += 1;
                world.target(&name, |target| {
                    if target.status == Status::Running {
                        target.exit = 137;
                        target.dies();
                    }
                });
                platform.report_change(&name);
            }
            35..50 => {
                // Started from outside.
                world.target(&name, |target| {
                    if matches!(target.status, Status::Stopped | Status::Paused) && !target.job {
                        target.runs(Some(Duration::from_secs(3)));
                        target.owned = false;
                    }
                });
                platform.report_change(&name);
            }
            50..53 => {
                // Restarted from outside.
                let runs = world.target(&name, |target| {
                    let runs = target.status == Status::Running && !target.job;
                    if runs {
                        target.dies();
                    }
                    runs
                });
                platform.report_change(&name);
                let pause = random.between(Duration::ZERO, Duration::from_secs(2));
                if runs {
                    tokio::spawn(restart_later(world.clone(), platform.clone(), name, pause));
                }
            }
            53..65 => {
                // A deployment: another target under the same name.
                world.target(&name, |target| {
                    target.id += 1;
                    if target.status == Status::Running {
                        target.dies();
                        target.runs(Some(Duration::from_secs(5)));
                    }
                });
                platform.report_change(&name);
            }
            65..75 => {
                world.target(&name, |target| {
                    target.dies();
                    target.status = Status::Missing;
                });
                platform.report_change(&name);
                let longest = if random.chance(500) { 4 } else { 3600 };
                let back = random.between(Duration::ZERO, Duration::from_secs(longest));
                tokio::spawn(recreate_later(world.clone(), platform.clone(), name, back));
            }
            75..85 => drop(engine.wake(&name, operator)),
            85..97 => {
                let force = *random.pick(&[Force::Drain, Force::AtOnce]);
                if engine.sleep(&name, operator, force).is_ok() {
                    world.force(&name, workload.snapshot().generation);
                }
            }
            _ => {
                platform.break_watch();
                let gap = random.between(Duration::from_secs(5), Duration::from_secs(600));
                let (platform, gap) = (platform.clone(), gap.min(time_until_calm(&world)));
                tokio::spawn(async move {
                    sleep(gap).await;
                    platform.repair_watch().await;
                });
            }
        }
    }
}

async fn restart_later(world: Arc<World>, platform: Arc<Platform>, name: String, after: Duration) {
    sleep(after).await;
    world.target(&name, |target| {
        if target.status == Status::Stopped && !target.ending {
            target.runs(Some(Duration::from_secs(1)));
        }
    });
    platform.report_change(&name);
}

/// Ends a ready target and starts another one of its platform from outside, which gets the address at
/// once, while visitors come to the first one.
fn reassign_address(
    world: &Arc<World>,
    engine: &Engine,
    platform: &Arc<Platform>,
    random: &mut Random,
    visitors: &mut JoinSet<()>,
) {
    let names = world.names();
    let first = random.index(names.len());
    let find = |is: fn(&mut SimTarget) -> bool| {
        let mut all = names.iter().cycle().skip(first).take(names.len());
        let here = |name: &&String| world.spec(name).provider == *platform.name();
        all.find(|name| here(name) && world.target(name, |target| !target.job && is(target)))
            .cloned()
    };
    let old = find(|target| target.is_ready());
    let new = find(|target| target.status == Status::Stopped && !target.starting);
    let (Some(old), Some(new)) = (old, new) else { return };
    let Some(workload) = engine.workload(&old) else { return };
    world.record().counts.deaths += 1;
    world.target(&old, |target| {
        target.exit = 137;
        target.dies();
    });
    world.target(&new, |target| {
        target.runs(Some(Duration::from_millis(100)));
        target.owned = false;
    });
    platform.report_change(&old);
    platform.report_change(&new);
    for _ in 0..4 {
        let (world, workload, name) = (world.clone(), workload.clone(), old.clone());
        let mut random = Random::of(random.next(), "visitor", 0);
        visitors.spawn(async move {
            sleep(random.between(Duration::ZERO, Duration::from_secs(3))).await;
            visit_once(&world, &workload, &name, &mut random).await;
        });
    }
}

async fn recreate_later(world: Arc<World>, platform: Arc<Platform>, name: String, after: Duration) {
    sleep(after.min(time_until_calm(&world))).await;
    let back = world.target(&name, |target| {
        let gone = target.status == Status::Missing;
        if gone {
            target.id += 1;
            target.status = Status::Stopped;
        }
        gone
    });
    if back {
        platform.report_change(&name);
    }
}
