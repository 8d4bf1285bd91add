//! Which workload has which address, as reported by the provider that they share.
//!
//! A platform gives the address of an ended target to the next one within milliseconds, and the
//! event about the end may arrive later than the one about the new holder, or be lost. So when a
//! provider reports an address for a workload, and another workload of the same provider was last
//! seen at it, the status of both is queried, and no connection is made to either before the
//! answer. If both answers contain the address, the workloads share it, and no further query
//! follows.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, Weak},
};

use super::{Workload, lock};
use crate::{
    names::{ProviderName, WorkloadName},
    provider::{Address, Observation, Status},
};

/// Maximum addresses kept per workload; visits use the first ones.
const MAX_ADDRESSES: usize = 64;

/// The addresses of running targets, by provider.
#[derive(Default)]
pub(super) struct AddressTable(Mutex<BTreeMap<ProviderName, Holders>>);

/// The addresses of one provider's targets.
#[derive(Default)]
struct Holders {
    by_address: HashMap<Socket, Vec<Weak<Workload>>>,
    by_workload: HashMap<WorkloadName, Vec<Socket>>,
}

/// Host and port of a target; every port of the host when there is none.
type Socket = (String, Option<u16>);

// === impl AddressTable ===

impl AddressTable {
    /// The provider answered that the workload has exactly these addresses. Returns the workloads
    /// that were last seen at one of them.
    pub(super) fn claim(&self, workload: &Workload, seen: &Observation) -> Vec<Arc<Workload>> {
        let sockets = sockets(seen);
        let mut table = lock(&self.0);
        let provider = &workload.spec().provider;
        match table.get_mut(provider) {
            Some(holders) => holders.claim(workload, sockets),
            None if sockets.is_empty() => Vec::new(),
            None => table.entry(provider.clone()).or_default().claim(workload, sockets),
        }
    }

    /// An event reports these addresses for the workload. Returns the other workloads that were
    /// last seen at one that is new for it.
    pub(super) fn other_holders(
        &self,
        workload: &Workload,
        seen: &Observation,
    ) -> Vec<Arc<Workload>> {
        let sockets = sockets(seen);
        let table = lock(&self.0);
        table.get(&workload.spec().provider).map_or_else(Vec::new, |holders| {
            let own = holders.own(workload);
            let new = sockets.iter().filter(|socket| !own.contains(socket));
            holders.others(workload, new)
        })
    }
}

#[cfg(test)]
impl AddressTable {
    /// Number of known addresses.
    pub(super) fn len(&self) -> usize {
        lock(&self.0).values().map(|holders| holders.by_address.len()).sum()
    }
}

/// Sockets of the target; none unless it runs.
fn sockets(seen: &Observation) -> Vec<Socket> {
    if !matches!(seen.status, Status::Running | Status::Starting) {
        return Vec::new();
    }
    let addresses = seen.addresses.iter().filter(|address| is_reassignable(address));
    addresses.take(MAX_ADDRESSES).map(|address| (address.host.clone(), address.port)).collect()
}

/// Whether a platform may give the address to another target. All ports of the loopback interface
/// together belong to the machine.
fn is_reassignable(address: &Address) -> bool {
    let loopback = || {
        address.host == "localhost"
            || address.host.parse::<IpAddr>().is_ok_and(|host| host.to_canonical().is_loopback())
    };
    address.port.is_some() || !loopback()
}

// === impl Holders ===

impl Holders {
    fn own(&self, workload: &Workload) -> &[Socket] {
        self.by_workload.get(workload.name()).map_or(&[], Vec::as_slice)
    }

    fn others<'a>(
        &self,
        workload: &Workload,
        sockets: impl Iterator<Item = &'a Socket>,
    ) -> Vec<Arc<Workload>> {
        let holders = sockets.filter_map(|socket| self.by_address.get(socket)).flatten();
        let mut others: Vec<Arc<Workload>> = Vec::new();
        for other in holders.filter_map(Weak::upgrade) {
            let known = others.iter().any(|known| Arc::ptr_eq(known, &other));
            if !known && !std::ptr::eq(&*other, workload) {
                others.push(other);
            }
        }
        others
    }

    fn claim(&mut self, workload: &Workload, sockets: Vec<Socket>) -> Vec<Arc<Workload>> {
        if self.own(workload) == sockets {
            return Vec::new();
        }
        let own = self.by_workload.remove(workload.name()).unwrap_or_default();
        let new: Vec<_> = sockets.iter().filter(|socket| !own.contains(socket)).collect();
        let others = self.others(workload, new.iter().copied());
        for socket in new {
            self.by_address.entry(socket.clone()).or_default().push(workload.weak());
        }
        for socket in own.iter().filter(|socket| !sockets.contains(socket)) {
            self.release(workload, socket);
        }
        if !sockets.is_empty() {
            self.by_workload.insert(workload.name().clone(), sockets);
        }
        others
    }

    fn release(&mut self, workload: &Workload, socket: &Socket) {
        if let Some(holders) = self.by_address.get_mut(socket) {
            let others = |holder: &Weak<Workload>| !std::ptr::eq(holder.as_ptr(), workload);
            holders.retain(|holder| others(holder) && holder.strong_count() > 0);
            if holders.is_empty() {
                self.by_address.remove(socket);
            }
        }
    }
}
