//! Addresses that are reassigned at once, the providers' results about them, and the bytes sent to
//! them.

use std::collections::{BTreeMap, BTreeSet};

use drowse_core::{Observation, Status, Visit};
use tokio::time::Instant;

use crate::world::{SimTarget, World};

#[derive(Default)]
pub(crate) struct Network {
    /// The target that has an address, by address.
    taken: BTreeMap<String, String>,
    /// Last result of a provider, by target.
    answers: BTreeMap<String, Answer>,
    /// Targets that have an address according to the last results, by address.
    holders: BTreeMap<String, BTreeSet<String>>,
    /// When an address got a second holder, by address.
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
    /// Gives a running target the lowest free address, and takes the address of another.
    pub(crate) fn assign(&mut self, provider: &str, name: &str, target: &mut SimTarget) {
        let runs = matches!(target.status, Status::Running | Status::Paused);
        match &target.address {
            None if runs => {
                let mut all = (2..).map(|number| format!("{provider}-{number}"));
                let free = all.find(|host| !self.taken.contains_key(host));
                let free: String = free.expect("there are enough");
                self.taken.insert(free.clone(), name.to_owned());
                target.address = Some(free);
            }
            Some(host) if !runs => {
                self.taken.remove(host);
                target.address = None;
            }
            _ => {}
        }
    }

    /// Forgets all results: another router starts.
    pub(crate) fn begins(&mut self) {
        self.answers.clear();
        self.holders.clear();
        self.disputes.clear();
    }

    /// Records a provider's result about a target, and when it was requested.
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

    /// Returns why no byte may be sent on this visit. `first`: the first one on a new connection.
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

/// Address of a running target.
fn host(seen: &Observation) -> Option<&String> {
    let runs = seen.status == Status::Running;
    seen.addresses.first().filter(|_| runs).map(|address| &address.host)
}

// === impl World ===

impl World {
    /// The target that has this address.
    pub(crate) fn holder(&self, host: &str) -> Option<String> {
        self.network().taken.get(host).cloned()
    }

    /// Sends bytes to the address of a visit, and checks that they may be sent.
    pub(crate) fn sends(&self, name: &str, visit: &Visit, entered: Instant, first: bool) {
        let forbidden = self.network().forbids(name, visit, entered, first);
        if let Some(why) = forbidden {
            self.violation(name, &why);
        }
        let holder = visit.upstream(80).and_then(|(host, _)| self.holder(host));
        let mut record = self.record();
        record.counts.sent += 1;
        // No provider has reported the new holder yet.
        record.counts.misdirected +=
            u64::from(first && holder.is_some_and(|holder| holder != name));
    }
}
