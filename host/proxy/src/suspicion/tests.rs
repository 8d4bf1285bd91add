use std::time::SystemTime;

use drowse_core::{
    Engine, EngineDeps, MemoryJournal, ProviderName, Target, WorkloadName, WorkloadSpec,
};

use super::*;
use crate::NetProber;

fn suspicion() -> (Arc<Engine>, Suspicion) {
    let engine = Engine::new(EngineDeps {
        runtime: tokio::runtime::Handle::current(),
        prober: Arc::new(NetProber::new()),
        journal: Arc::new(MemoryJournal::new(1)),
        clock: Arc::new(SystemTime::now),
    });
    let target = Target { handle: "app".into(), settings: "{}".into() };
    let (name, provider) = (WorkloadName::parse("app"), ProviderName::parse("fake"));
    let spec =
        WorkloadSpec::new(name.expect("a valid name"), provider.expect("a valid name"), target);
    let workload = engine.add_workload(spec).expect("an unused name");
    (engine, Suspicion::new(&workload))
}

const MILLISECOND: Duration = Duration::from_millis(1);

#[tokio::test]
async fn the_limits_grow_with_the_fastest_dial() {
    let (_engine, suspicion) = suspicion();
    assert_eq!(suspicion.silence(), 50 * MILLISECOND);
    assert!(suspicion.is_late(200 * MILLISECOND) && !suspicion.is_late(199 * MILLISECOND));
    suspicion.connected(150 * MILLISECOND);
    suspicion.connected(300 * MILLISECOND);
    assert_eq!(suspicion.silence(), 350 * MILLISECOND);
    assert!(suspicion.is_late(500 * MILLISECOND) && !suspicion.is_late(499 * MILLISECOND));
}

#[tokio::test]
async fn a_dial_with_a_retransmitted_packet_is_late_at_any_distance() {
    let (_engine, suspicion) = suspicion();
    suspicion.connected(Duration::from_secs(10));
    assert!(suspicion.is_late(Duration::from_secs(1)));
}
