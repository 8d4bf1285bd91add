use drowse_proxy::{HttpLimits, Protocol};

use super::*;

fn listener(name: &str, connections: usize) -> ListenerSettings {
    ListenerSettings {
        name: name.to_owned(),
        bind: ([127, 0, 0, 1], 0).into(),
        protocol: Protocol::Http,
        trust: Vec::new(),
        proxy_protocol: Vec::new(),
        limits: HttpLimits { connections, ..HttpLimits::default() },
    }
}

fn connections(listeners: &[ListenerSettings]) -> Vec<usize> {
    listeners.iter().map(|listener| listener.limits.connections).collect()
}

#[test]
fn connections_within_the_limit_are_not_lowered() {
    let mut listeners = [listener("web", 20_000), listener("api", 100)];
    assert_eq!(lower(&mut listeners, 524_288, 100), []);
    assert_eq!(connections(&listeners), [20_000, 100]);
}

#[test]
fn listeners_share_the_unreserved_descriptors_in_proportion() {
    let mut listeners = [listener("web", 3000), listener("api", 1000)];
    let lowered = lower(&mut listeners, 1024, 124);
    assert_eq!(connections(&listeners), [225, 75]);
    assert_eq!(lowered[0], Lowered { listener: "web".into(), from: 3000, to: 225 });
    // All descriptors are accounted for.
    const { assert!(300 * PER_CONNECTION + 124 <= 1024) };
}

#[test]
fn with_many_descriptors_backends_get_a_fixed_number() {
    let mut listeners = [listener("web", 20_000)];
    lower(&mut listeners, 20_000, 100);
    assert_eq!(connections(&listeners), [11_708]);
    // The two formulas meet without a jump.
    let at = |files| {
        let mut listeners = [listener("web", 20_000)];
        lower(&mut listeners, files, 100);
        listeners[0].limits.connections
    };
    assert_eq!((at(12_385), at(12_388), at(12_391)), (4095, 4096, 4099));
}

#[test]
fn a_listener_keeps_at_least_one_connection_and_the_router_a_few() {
    let mut listeners = [listener("web", usize::MAX), listener("small", 1)];
    lower(&mut listeners, 64, 100);
    assert_eq!(connections(&listeners), [16, 1]);
}
