//! The pauses of clients that send wrong passwords.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::access::client_address::client_network;

/// Wrong passwords before the first pause.
const FREE: u32 = 10;
/// The first pause; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Time after its last failure until a client's count starts again at zero.
const EXPIRY: Duration = Duration::from_secs(600);
/// Maximum clients with a record. When it is full, the client whose last failure is oldest is
/// dropped.
const CLIENTS: usize = 4096;

/// The failures of all clients at one user file.
#[derive(Default)]
pub(super) struct Failures {
    clients: HashMap<IpAddr, Record>,
}

#[derive(Clone, Copy)]
struct Record {
    count: u32,
    last: Instant,
}

// === impl Failures ===

impl Failures {
    /// Records a wrong password. Returns the pause that it starts, if it starts one.
    pub(super) fn record(&mut self, client: IpAddr, now: Instant) -> Option<Duration> {
        let client = client_network(client);
        if !self.clients.contains_key(&client) {
            self.make_room(now);
        }
        let record = self.clients.entry(client).or_insert(Record { count: 0, last: now });
        if record.is_expired(now) {
            record.count = 0;
        }
        *record = Record { count: record.count.saturating_add(1), last: now };
        record.pause()
    }

    /// The rest of the client's pause, if it has one.
    pub(super) fn pause(&self, client: IpAddr, now: Instant) -> Option<Duration> {
        let record = self.clients.get(&client_network(client))?;
        let left = record.pause()?.checked_sub(now.saturating_duration_since(record.last))?;
        (!left.is_zero()).then_some(left)
    }

    fn make_room(&mut self, now: Instant) {
        if self.clients.len() < CLIENTS {
            return;
        }
        self.clients.retain(|_, record| !record.is_expired(now));
        if self.clients.len() >= CLIENTS
            && let Some(oldest) = self.clients.iter().min_by_key(|(_, record)| record.last)
        {
            let oldest = *oldest.0;
            self.clients.remove(&oldest);
        }
    }
}

// === impl Record ===

impl Record {
    fn is_expired(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= EXPIRY
    }

    /// The pause after the last failure, if the count requires one.
    fn pause(&self) -> Option<Duration> {
        let doublings = self.count.checked_sub(FREE)?;
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        Some(FIRST_PAUSE.saturating_mul(factor).min(MAX_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn after_the_free_failures_each_one_doubles_the_pause_and_expiry_ends_it() {
        let (mut failures, mut now) = (Failures::default(), Instant::now());
        let client = address("192.0.2.1");
        for _ in 1..FREE {
            assert_eq!(failures.record(client, now), None);
        }
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = Duration::from_secs(seconds);
            assert_eq!(failures.pause(client, now), None);
            assert_eq!(failures.record(client, now), Some(pause));
            assert_eq!(failures.pause(client, now), Some(pause));
            now += pause - Duration::from_millis(1);
            assert_eq!(failures.pause(client, now), Some(Duration::from_millis(1)));
            now += Duration::from_millis(1);
        }
        now += EXPIRY;
        assert_eq!(failures.record(client, now), None, "the count starts at zero");
    }

    #[test]
    fn failures_are_counted_per_client_network() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        for host in 0..=FREE {
            failures.record(address(&format!("2001:db8:0:1::{host}")), now);
            failures.record(address(&format!("192.0.2.{host}")), now);
        }
        assert!(failures.pause(address("2001:db8:0:1:ffff::1"), now).is_some(), "an equal /64");
        assert_eq!(failures.pause(address("2001:db8:0:2::1"), now), None);
        assert_eq!(failures.pause(address("192.0.2.1"), now), None, "IPv4 counts each address");
    }

    #[test]
    fn the_number_of_recorded_clients_is_bounded() {
        let (mut failures, begin) = (Failures::default(), Instant::now());
        for n in 0..2 * u32::try_from(CLIENTS).unwrap() {
            failures.record(IpAddr::from(n.to_be_bytes()), begin + Duration::from_millis(n.into()));
        }
        assert!(failures.clients.len() <= CLIENTS);
        assert!(!failures.clients.contains_key(&address("0.0.0.0")));
    }
}
