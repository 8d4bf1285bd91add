//! Those who come and go, and what befalls the targets meanwhile.

use std::{sync::Arc, time::Duration};

use drowse_core::{
    Cause, Confirmation, Engine, Force, Provider, Source, Status, Turned, Visit, Workload,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    dice::Dice,
    plan::PROVIDERS,
    platform::Platform,
    sky::{Guest, Sky},
};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);
/// Nobody comes and nothing befalls anybody in the last hour of a day.
pub(crate) const CALM: Duration = Duration::from_secs(23 * 3600);

/// How long this day still is rough.
fn rough(sky: &Sky) -> Duration {
    let today = sky.began.elapsed().as_millis() % DAY.as_millis();
    let today = Duration::from_millis(u64::try_from(today).expect("less than a day"));
    CALM.saturating_sub(today)
}

/// Waits until the next morning if it is calm.
async fn morning(sky: &Sky) {
    if rough(sky).is_zero() {
        let days = sky.began.elapsed().as_secs() / DAY.as_secs() + 1;
        let days = u32::try_from(days).expect("not for ever");
        sleep_until(sky.began + DAY * days).await;
    }
}

/// One who comes to the same workload again and again.
pub(crate) async fn walk(sky: Arc<Sky>, workload: Arc<Workload>, number: u64) {
    let name = workload.name().to_string();
    let mut dice = Dice::of(sky.seed, &format!("walk {name}"), number);
    // Some are visited every few minutes, some once a day.
    let pause = match dice.below(10) {
        0 => Duration::from_secs(900),
        1..4 => Duration::from_secs(4 * 3600),
        _ => Duration::from_secs(20 * 3600),
    };
    loop {
        sleep(dice.between(Duration::ZERO, pause)).await;
        morning(&sky).await;
        match dice.below(20) {
            0 => {
                if let Some(visit) = workload.pass() {
                    let stay = dice.between(Duration::ZERO, Duration::from_secs(5));
                    inside(&sky, &name, visit, stay, &mut dice).await;
                }
            }
            1 => workload.wake(Cause::new(Source::Request)),
            _ => come(&sky, &workload, &name, &mut dice).await,
        }
    }
}

async fn come(sky: &Sky, workload: &Arc<Workload>, name: &str, dice: &mut Dice) {
    let patience = dice.between(Duration::from_secs(1), Duration::from_secs(400));
    let deadline = Instant::now() + patience;
    let admit = workload.admit(deadline, Cause::new(Source::Request));
    // Some give up earlier.
    let leaves = match dice.chance(100) {
        true => Instant::now() + dice.between(Duration::ZERO, patience),
        false => deadline + Duration::from_secs(2),
    };
    match tokio::time::timeout_at(leaves, admit).await {
        Err(_) if leaves <= deadline => sky.record().tally.abandoned += 1,
        Err(_) => sky.violation(name, "a visitor was kept waiting beyond its deadline"),
        Ok(Err(Turned::TimedOut(_))) if Instant::now() < deadline => {
            sky.violation(name, "a visitor was turned away before its deadline");
        }
        Ok(Err(Turned::TimedOut(_))) => sky.record().tally.timed_out += 1,
        Ok(Err(Turned::Failed(failure, _))) if failure.message.is_empty() => {
            sky.violation(name, "a visitor was turned away without a reason");
        }
        Ok(Err(Turned::Failed(..))) => sky.record().tally.turned += 1,
        Ok(Err(Turned::Unwoken(_))) => {
            sky.violation(name, "a visitor who may wake was told that nobody does");
        }
        Ok(Ok(visit)) => {
            // Another one may answer in its place.
            let dead = !sky.guest(name, |guest| guest.status == Status::Running)
                && visit.upstream(80).and_then(|(host, _)| sky.holder(host)).is_none();
            if dead {
                let generation = visit.generation();
                sky.entered(name, generation);
                drop(visit);
                sky.left(name, generation);
                return workload.suspect(generation).await;
            }
            let stay = match dice.below(20) {
                0 => dice.between(Duration::ZERO, Duration::from_secs(3 * 3600)),
                1..6 => dice.between(Duration::ZERO, Duration::from_secs(600)),
                _ => dice.between(Duration::ZERO, Duration::from_secs(5)),
            };
            inside(sky, name, visit, stay, dice).await;
        }
    }
}

async fn inside(sky: &Sky, name: &str, visit: Visit, stay: Duration, dice: &mut Dice) {
    let generation = visit.generation();
    sky.entered(name, generation);
    let entered = Instant::now();
    let end = entered + stay.min(rough(sky) + Duration::from_secs(300));
    if connects(sky, &visit, dice).await {
        sky.sends(name, &visit, entered, true);
        while Instant::now() < end && !visit.instance().has_ended() {
            let piece = dice.between(Duration::from_millis(1), Duration::from_secs(120));
            tokio::select! {
                biased;
                () = visit.instance().ended() => {}
                () = sleep_until(end.min(Instant::now() + piece)) => {
                    sky.sends(name, &visit, entered, false);
                }
            }
        }
    }
    sky.record().tally.cut += u64::from(Instant::now() < end && !visit.instance().is_open());
    sky.left(name, generation);
    drop(visit);
}

/// As the proxy does: a dial ends with its instance, and whoever answers late, or has an address
/// that another may have, is sent nothing before the provider has answered.
async fn connects(sky: &Sky, visit: &Visit, dice: &mut Dice) -> bool {
    let dial = match dice.below(10) {
        0 => dice.between(Duration::from_millis(1), Duration::from_secs(5)),
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
    sky.record().tally.disputed += u64::from(!visit.may_dial() && visit.instance().is_open());
    let confirmed = visit.workload().confirm(visit.instance()).await;
    confirmed == Confirmation::Confirmed && visit.may_dial()
}

/// Targets die, are started, replaced and removed; operators have their say; watches break.
pub(crate) async fn befall(sky: Arc<Sky>, platforms: Vec<Arc<Platform>>, number: u64) {
    let names = sky.names();
    let mut dice = Dice::of(sky.seed, "befall", number);
    // On average each of them twice a day.
    let pause = DAY / u32::try_from(names.len()).expect("not too many");
    let mut visitors = JoinSet::new();
    loop {
        sleep(dice.between(Duration::ZERO, pause)).await;
        while visitors.try_join_next().is_some() {}
        morning(&sky).await;
        let name = dice.pick(&names).clone();
        let Some(engine) = sky.engine() else { return };
        let Some(workload) = engine.workload(&name) else { return };
        let provider = workload.spec().provider.as_str();
        let at = PROVIDERS.iter().position(|one| *one == provider).expect("a known provider");
        let platform = &platforms[at];
        let operator = Cause::new(Source::Cli);
        match dice.below(100) {
            0..10 => hands_on(&sky, &engine, platform, &mut dice, &mut visitors),
            10..35 => {
                sky.record().tally.deaths += 1;
                sky.guest(&name, |guest| {
                    if guest.status == Status::Running {
                        guest.exit = 137;
                        guest.dies();
                    }
                });
                platform.happened(&name);
            }
            35..50 => {
                // Somebody starts it by hand.
                sky.guest(&name, |guest| {
                    if matches!(guest.status, Status::Stopped | Status::Paused) && !guest.job {
                        guest.runs(Some(Duration::from_secs(3)));
                        guest.ours = false;
                    }
                });
                platform.happened(&name);
            }
            50..53 => {
                // A restart by hand.
                let runs = sky.guest(&name, |guest| {
                    let runs = guest.status == Status::Running && !guest.job;
                    if runs {
                        guest.dies();
                    }
                    runs
                });
                platform.happened(&name);
                let pause = dice.between(Duration::ZERO, Duration::from_secs(2));
                if runs {
                    tokio::spawn(runs_again(sky.clone(), platform.clone(), name, pause));
                }
            }
            53..65 => {
                // A deploy: another one under the same name.
                sky.guest(&name, |guest| {
                    guest.id += 1;
                    if guest.status == Status::Running {
                        guest.dies();
                        guest.runs(Some(Duration::from_secs(5)));
                    }
                });
                platform.happened(&name);
            }
            65..75 => {
                sky.guest(&name, |guest| {
                    guest.dies();
                    guest.status = Status::Missing;
                });
                platform.happened(&name);
                let longest = if dice.chance(500) { 4 } else { 3600 };
                let back = dice.between(Duration::ZERO, Duration::from_secs(longest));
                tokio::spawn(comes_back(sky.clone(), platform.clone(), name, back));
            }
            75..85 => drop(engine.wake(&name, operator)),
            85..97 => {
                let force = *dice.pick(&[Force::Drain, Force::AtOnce]);
                if engine.sleep(&name, operator, force).is_ok() {
                    sky.force(&name, workload.snapshot().generation);
                }
            }
            _ => {
                platform.goes_deaf();
                let gap = dice.between(Duration::from_secs(5), Duration::from_secs(600));
                let (platform, gap) = (platform.clone(), gap.min(rough(&sky)));
                tokio::spawn(async move {
                    sleep(gap).await;
                    platform.hears_again().await;
                });
            }
        }
    }
}

async fn runs_again(sky: Arc<Sky>, platform: Arc<Platform>, name: String, after: Duration) {
    sleep(after).await;
    sky.guest(&name, |guest| {
        if guest.status == Status::Stopped && !guest.ending {
            guest.runs(Some(Duration::from_secs(1)));
        }
    });
    platform.happened(&name);
}

/// One that runs dies, another one of its platform is started by hand and has its address at once,
/// and visitors come to the first one meanwhile.
fn hands_on(
    sky: &Arc<Sky>,
    engine: &Engine,
    platform: &Arc<Platform>,
    dice: &mut Dice,
    visitors: &mut JoinSet<()>,
) {
    let names = sky.names();
    let first = dice.index(names.len());
    let find = |is: fn(&mut Guest) -> bool| {
        let mut all = names.iter().cycle().skip(first).take(names.len());
        let here = |name: &&String| sky.spec(name).provider == *platform.name();
        all.find(|name| here(name) && sky.guest(name, |guest| !guest.job && is(guest))).cloned()
    };
    let old = find(|guest| guest.is_ready());
    let new = find(|guest| guest.status == Status::Stopped && !guest.starting);
    let (Some(old), Some(new)) = (old, new) else { return };
    let Some(workload) = engine.workload(&old) else { return };
    sky.record().tally.deaths += 1;
    sky.guest(&old, |guest| {
        guest.exit = 137;
        guest.dies();
    });
    sky.guest(&new, |guest| {
        guest.runs(Some(Duration::from_millis(100)));
        guest.ours = false;
    });
    platform.happened(&old);
    platform.happened(&new);
    for _ in 0..4 {
        let (sky, workload, name) = (sky.clone(), workload.clone(), old.clone());
        let mut dice = Dice::of(dice.next(), "visitor", 0);
        visitors.spawn(async move {
            sleep(dice.between(Duration::ZERO, Duration::from_secs(3))).await;
            come(&sky, &workload, &name, &mut dice).await;
        });
    }
}

async fn comes_back(sky: Arc<Sky>, platform: Arc<Platform>, name: String, after: Duration) {
    sleep(after.min(rough(&sky))).await;
    let back = sky.guest(&name, |guest| {
        let gone = guest.status == Status::Missing;
        if gone {
            guest.id += 1;
            guest.status = Status::Stopped;
        }
        gone
    });
    if back {
        platform.happened(&name);
    }
}
