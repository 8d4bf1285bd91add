//! The simulated configuration: workloads with needs, pools and schedules.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use drowse_core::{
    Adopt, DeepSleep, Membership, Need, PoolName, PoolSpec, ProviderName, ReadyCheck, SleepMethod,
    SleepPlan, Target, Until, Veto, WakePlan, WorkloadName, WorkloadSpec,
};

use crate::random::Random;

/// Names of the providers; the third one reports no events.
pub(crate) const PROVIDERS: [&str; 3] = ["alpha", "beta", "gamma"];
pub(crate) const WATCHING: usize = 2;
/// Longest chain of needs behind a workload.
const DEPTH: usize = 3;

pub(crate) struct Plan {
    pub(crate) pools: Vec<PoolSpec>,
    pub(crate) specs: Vec<WorkloadSpec>,
    /// Dependents that need a workload awake, by workload.
    pub(crate) dependents: BTreeMap<String, Vec<String>>,
}

// === impl Plan ===

impl Plan {
    pub(crate) fn draw(seed: u64, workloads: usize) -> Self {
        let mut pools = pools(workloads);
        let mut specs: Vec<WorkloadSpec> = Vec::new();
        let mut depths: Vec<usize> = Vec::new();
        let mut dependents: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for number in 0..workloads {
            let mut random = Random::of(seed, "plan", number as u64);
            let mut spec = workload(&mut random, number);
            let mut depth = 0;
            for _ in 0..*random.pick(&[0, 0, 0, 1, 1, 2]) {
                if specs.is_empty() {
                    break;
                }
                let other = random.index(specs.len());
                let name = specs[other].name.clone();
                let known = spec.needs.iter().any(|need| need.workload == name);
                if known || depths[other] >= DEPTH {
                    continue;
                }
                depth = depth.max(depths[other] + 1);
                let job = specs[other].ready == ReadyCheck::Completed;
                let until = match job {
                    true => Until::Completed,
                    false => *random.pick(&[Until::Healthy, Until::Healthy, Until::Started]),
                };
                if !job {
                    let dependent = spec.name.to_string();
                    dependents.entry(name.to_string()).or_default().push(dependent);
                }
                spec.needs.push(Need { workload: name, until });
            }
            if random.chance(500) && !pools.is_empty() {
                spec.pool = Some(Membership {
                    pool: random.pick(&pools).name.clone(),
                    priority: *random.pick(&[0, 0, 0, 0, 1, -1]),
                    pinned: random.chance(20),
                    memory: Some(random.below(4) << 20),
                });
            }
            specs.push(spec);
            depths.push(depth);
        }
        for pool in &mut pools {
            let largest = specs.iter().map(|spec| awake_together(&specs, spec, &pool.name)).max();
            pool.max_awake = pool.max_awake.max(largest);
        }
        Self { pools, specs, dependents }
    }
}

/// Pools with far fewer slots than members: most members are never awake at the same time.
fn pools(workloads: usize) -> Vec<PoolSpec> {
    let pool = |name: &str, share: usize, memory| PoolSpec {
        name: PoolName::parse(name).expect("a name"),
        max_awake: Some(workloads / share),
        max_memory: memory,
        max_queued: 30,
        queue_timeout: Duration::from_secs(300),
    };
    let memory = (workloads as u64 / 60).max(40) << 20;
    vec![pool("wide", 16, None), pool("narrow", 60, None), pool("heavy", 30, Some(memory))]
}

/// Number of the pool's members that must be awake for this workload.
fn awake_together(specs: &[WorkloadSpec], first: &WorkloadSpec, pool: &PoolName) -> usize {
    let (mut seen, mut open) = (BTreeSet::new(), vec![first]);
    while let Some(spec) = open.pop() {
        if seen.insert(spec.name.clone()) {
            let needed =
                |other: &&WorkloadSpec| spec.needs.iter().any(|need| need.workload == other.name);
            open.extend(specs.iter().filter(needed));
        }
    }
    let mine = |spec: &&WorkloadSpec| {
        seen.contains(&spec.name) && spec.pool.as_ref().is_some_and(|own| own.pool == *pool)
    };
    specs.iter().filter(mine).count()
}

fn workload(random: &mut Random, number: usize) -> WorkloadSpec {
    let name = format!("w{number:04}");
    let provider = ProviderName::parse(PROVIDERS[random.index(PROVIDERS.len())]).expect("a name");
    let target = Target { handle: name.clone(), settings: "{}".into() };
    let minutes = |random: &mut Random, from: u64, to: u64| {
        random.between(Duration::from_secs(60 * from), Duration::from_secs(60 * to))
    };
    let mut spec = WorkloadSpec::new(WorkloadName::parse(&name).expect("a name"), provider, target);
    spec.ready = ReadyCheck::Tcp { port: 80 };
    spec.idle = Some(minutes(random, 1, 8));
    spec.adopt = *random.pick(&[Adopt::Keep, Adopt::Sleep, Adopt::Ignore]);
    spec.wake = WakePlan {
        timeout: random.between(Duration::from_secs(60), Duration::from_secs(180)),
        cooldown: random.between(Duration::from_secs(2), Duration::from_secs(20)),
    };
    let plan = |method| SleepPlan { method, signal: None, grace: Duration::from_secs(10) };
    spec.sleep = plan(*random.pick(&[SleepMethod::Stop, SleepMethod::Stop, SleepMethod::Kill]));
    match random.below(100) {
        0..20 => {
            spec.sleep = plan(SleepMethod::Pause);
            let after = minutes(random, 5, 120);
            spec.deep_sleep = Some(DeepSleep { after, plan: plan(SleepMethod::Stop) });
        }
        20..24 => {
            spec.ready = ReadyCheck::Completed;
            spec.idle = None;
        }
        24..29 => {
            let window = *random.pick(&[
                "08:00-18:00 UTC",
                "mon-fri 07:00-12:30 UTC",
                "sat,sun 10:00-14:00 UTC",
            ]);
            spec.awake = vec![window.parse().expect("a window")];
        }
        29..34 => {
            let alarm = *random.pick(&["30 7 * * * UTC", "*/30 9-17 * * mon-fri UTC"]);
            spec.alarms = vec![alarm.parse().expect("an alarm")];
        }
        34..36 => spec.idle = None,
        36..44 => spec.vetoes = vec![busy()],
        _ => {}
    }
    spec
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
