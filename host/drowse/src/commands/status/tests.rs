#![allow(clippy::unwrap_used)]

use drowse_admin::ListenerStatus;
use drowse_core::{
    ErrorCode, Failure, Generation, PoolName, ProviderName, ProviderState, WorkloadName,
};

use super::*;

fn workload(name: &str, phase: Phase) -> WorkloadStatus {
    WorkloadStatus {
        name: WorkloadName::parse(name).unwrap(),
        provider: ProviderName::parse("docker").unwrap(),
        target: name.to_owned(),
        phase,
        light: false,
        generation: Generation(1),
        stage: None,
        progress: None,
        visits: 0,
        waiting: 0,
        held: 0,
        unrequested: false,
        needs: Vec::new(),
        pool: None,
        phase_seconds: 61.0,
        sleeps_in_seconds: None,
        expected_seconds: None,
        veto: None,
        failure: None,
        observed: None,
    }
}

fn provider(name: &str, usable: bool, cause: Option<&str>) -> ProviderStatus {
    ProviderStatus {
        name: ProviderName::parse(name).unwrap(),
        state: ProviderState {
            plugin: usable.then(|| "docker 0.1.0".to_owned()),
            origin: usable.then(|| "bundled".to_owned()),
            usable,
            cause: cause.map(str::to_owned),
            abilities: Vec::new(),
            faults: 0,
        },
    }
}

fn router() -> RouterStatus {
    let listener = |name: &str, problem: Option<&str>| ListenerStatus {
        name: name.to_owned(),
        address: "127.0.0.1:8080".to_owned(),
        protocol: "http".to_owned(),
        problem: problem.map(str::to_owned),
    };
    RouterStatus {
        version: "0.1.0".to_owned(),
        pid: 42,
        uptime_seconds: 90_061.0,
        configuration: vec!["/etc/drowse/drowse.toml".into()],
        listeners: vec![listener("web", None), listener("lan", Some("listener lan: port in use"))],
        providers: vec![provider("docker", true, None), provider("pve", false, Some("no plugin"))],
        workloads: vec![
            WorkloadStatus { visits: 2, ..workload("blog", Phase::Ready) },
            WorkloadStatus {
                failure: Some(Failure::new(ErrorCode::NotFound, "no such container")),
                ..workload("wiki", Phase::Missing)
            },
            WorkloadStatus { held: 2, ..workload("db", Phase::Ready) },
            WorkloadStatus { held: 1, ..workload("office", Phase::Ready) },
            WorkloadStatus { unrequested: true, ..workload("byhand", Phase::Ready) },
            WorkloadStatus {
                stage: Some("waits for a slot in its pool, 2 of 3".to_owned()),
                needs: vec![WorkloadName::parse("db").unwrap()],
                ..workload("game", Phase::Waking)
            },
            WorkloadStatus {
                progress: Some("pulling: 2 of 3".to_owned()),
                ..workload("newer", Phase::Ready)
            },
            WorkloadStatus {
                stage: Some("starting".to_owned()),
                progress: Some("pulling: 1 of 3".to_owned()),
                ..workload("new", Phase::Waking)
            },
            WorkloadStatus { light: true, ..workload("shop", Phase::Asleep) },
            WorkloadStatus {
                veto: Some("3 players are online".to_owned()),
                ..workload("play", Phase::Ready)
            },
        ],
        pools: vec![PoolStatus {
            name: PoolName::parse("small").unwrap(),
            ceiling: Some(2),
            awake: 2,
            memory_ceiling: None,
            memory: 512 << 20,
            queue: vec![WorkloadName::parse("game").unwrap()],
        }],
    }
}

#[test]
fn a_status_is_four_tables_and_all_problems() {
    let expected = "\
drowse 0.1.0, pid 42, up 1d 1h, configured by /etc/drowse/drowse.toml

LISTENER  ADDRESS         PROTOCOL  STATE
web       127.0.0.1:8080  http      open
lan       127.0.0.1:8080  http      not served

PROVIDER  PLUGIN        FROM     FAULTS  STATE
docker    docker 0.1.0  bundled  0       usable
pve       -             -        0       not usable

WORKLOAD  PHASE    SINCE  VISITS  WAITING  SLEEPS IN  PROVIDER  NOTE
blog      ready    1m 1s  2       0        -          docker
wiki      missing  1m 1s  0       0        -          docker
db        ready    1m 1s  0       0        -          docker    needed by game and its schedule
office    ready    1m 1s  0       0        -          docker    kept awake by its schedule
byhand    ready    1m 1s  0       0        -          docker    found running, no visit yet
game      waking   1m 1s  0       0        -          docker    waits for a slot in its pool, 2 of 3
newer     ready    1m 1s  0       0        -          docker    pulling: 2 of 3
new       waking   1m 1s  0       0        -          docker    starting: pulling: 1 of 3
shop      asleep   1m 1s  0       0        -          docker    lightly
play      ready    1m 1s  0       0        -          docker    kept awake: 3 players are online

POOL   AWAKE   MEMORY   QUEUE
small  2 of 2  512 MiB  game

listener lan: port in use

provider pve: no plugin

workload wiki: no such container
";
    assert_eq!(text(&router(), &Output::plain()), expected);
}

#[test]
fn empty_tables_are_left_out() {
    let status = RouterStatus {
        listeners: Vec::new(),
        providers: Vec::new(),
        workloads: Vec::new(),
        pools: Vec::new(),
        ..router()
    };
    assert_eq!(text(&status, &Output::plain()).lines().count(), 1);
}

#[test]
fn times_are_printed_in_their_two_largest_units() {
    assert_eq!(two_units(0.4), "0s");
    assert_eq!(two_units(59.9), "59s");
    assert_eq!(two_units(600.0), "10m 0s");
    assert_eq!(two_units(7_260.0), "2h 1m");
    assert_eq!(two_units(-1.0), "0s");
}
