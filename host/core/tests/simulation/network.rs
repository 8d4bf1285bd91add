//! Addresses that are handed on at once, what the providers have said of them, and the bytes that
//! are sent there.

use std::collections::{BTreeMap, BTreeSet};

use drowse_core::{Observation, Status, Visit};
use tokio::time::Instant;

use crate::sky::{Guest, Sky};

#[derive(Default)]
pub(crate) struct Network {
    /// Who has which address in truth.
    taken: BTreeMap<String, String>,
    /// What a provider has answered last of a target.
    answers: BTreeMap<String, Answer>,
    /// Who has an address by the last answers.
    holders: BTreeMap<String, BTreeSet<String>>,
    /// When another holder was added to those that an address had.
    disputes: BTreeMap<String, Instant>,
}

struct Answer {
    asked: Instant,
    answered: Instant,
    status: Status,
    native_id: Option<String>,
    host: Option<String>,
}

// === impl Network ===

impl Network {
    /// A target that runs has the lowest address that is free; one that does not has none.
    pub(crate) fn assign(&mut self, provider: &str, name: &str, guest: &mut Guest) {
        let runs = matches!(guest.status, Status::Running | Status::Paused);
        match &guest.address {
            None if runs => {
                let mut all = (2..).map(|number| format!("{provider}-{number}"));
                let free = all.find(|host| !self.taken.contains_key(host));
                let free: String = free.expect("there are enough");
                self.taken.insert(free.clone(), name.to_owned());
                guest.address = Some(free);
            }
            Some(host) if !runs => {
                self.taken.remove(host);
                guest.address = None;
            }
            _ => {}
        }
    }

    /// Another router begins, which has not been told anything.
    pub(crate) fn begins(&mut self) {
        self.answers.clear();
        self.holders.clear();
        self.disputes.clear();
    }

    /// A provider says what it has seen of a target when it was asked.
    pub(crate) fn answers(&mut self, name: &str, asked: Instant, seen: &Observation) {
        let (before, host) = (self.answers.get(name).and_then(|it| it.host.as_ref()), host(seen));
        if let Some(before) = before.filter(|before| host != Some(*before))
            && let Some(holders) = self.holders.get_mut(before)
        {
            holders.remove(name);
        }
        if let Some(host) = host {
            let holders = self.holders.entry(host.clone()).or_default();
            if holders.insert(name.to_owned()) && holders.len() > 1 {
                self.disputes.insert(host.clone(), Instant::now());
            }
        }
        let answer = Answer {
            asked,
            answered: Instant::now(),
            status: seen.status.clone(),
            native_id: seen.native_id.clone(),
            host: host.cloned(),
        };
        self.answers.insert(name.to_owned(), answer);
    }

    /// Why no byte may go on this visit, which was entered at that time. `first`: it is the first
    /// on a new connection.
    fn forbids(&self, name: &str, visit: &Visit, entered: Instant, first: bool) -> Option<String> {
        let now = Instant::now();
        let (host, _) = visit.upstream(80)?;
        let answer = self.answers.get(name)?;
        let own = visit.instance().observation();
        if answer.asked > entered && answer.answered < now {
            let same = answer.native_id == own.native_id;
            let there = match answer.status {
                Status::Running => same && answer.host.as_deref() == Some(host),
                Status::Paused => same && !first,
                _ => false,
            };
            if !there {
                let (status, now_at) = (&answer.status, &answer.host);
                return Some(format!(
                    "a byte was sent to {host}, and it is {status:?} at {now_at:?}"
                ));
            }
        }
        let disputed = self.disputes.get(host).filter(|at| **at < now && answer.asked < **at);
        let shared = self.holders.get(host).is_some_and(|holders| holders.len() > 1);
        (first && shared && disputed.is_some())
            .then(|| format!("a request was sent to {host}, which {:?} have", self.holders[host]))
    }
}

/// Where a target is reached.
fn host(seen: &Observation) -> Option<&String> {
    let runs = seen.status == Status::Running;
    seen.addresses.first().filter(|_| runs).map(|address| &address.host)
}

// === impl Sky ===

impl Sky {
    /// Who has this address in truth.
    pub(crate) fn holder(&self, host: &str) -> Option<String> {
        self.network().taken.get(host).cloned()
    }

    /// Bytes go where this visit leads, which was entered at that time.
    pub(crate) fn sends(&self, name: &str, visit: &Visit, entered: Instant, first: bool) {
        let forbidden = self.network().forbids(name, visit, entered, first);
        if let Some(why) = forbidden {
            self.violation(name, &why);
        }
        let holder = visit.upstream(80).and_then(|(host, _)| self.holder(host));
        let mut record = self.record();
        record.tally.sent += 1;
        // Nobody has told of it yet.
        record.tally.astray += u64::from(first && holder.is_some_and(|holder| holder != name));
    }
}
