//! A fake of Proxmox VE's API: as much of it as the `proxmox` provider uses, for want of the real one,
//! which cannot be installed beside a test.
//!
//! It serves those paths of the published API schema over TLS with a certificate of its own, and what
//! its sources do that the schema does not say: errors in the status line or in JSON by
//! [`Generation`], refusals of parameters and bodies, rights that are checked before existence,
//! tasks that take their time, configurations that name a lock only when a task has begun, lists that
//! are some time old. A guest is a process of the example backend: "running" means that it listens.
//!
//! What it does not claim: it was written from the same reading of those sources as the provider and
//! not compared with a running Proxmox VE. There is no cluster behind it, no storage, no network and no
//! guest agent; suspending to disk ends the process; its manager for high availability does what it is
//! told after a while and decides nothing.

mod api;
mod cluster;
mod http;
mod power;

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use rcgen::generate_simple_self_signed;
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::PrivateKeyDer;
use sha2::{Digest, Sha256};

use self::cluster::{Cluster, Guest, Kind};
use crate::Hello;

/// The token that callers need, as it follows `PVEAPIToken=` in the header `Authorization`.
pub const TOKEN: &str = "drowse@pve!wake=0f9c1a52-7a54-4c1e-9a6e-3f1f2c7b6d11";

/// Which errors and parameters it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// 7 to 8.1: errors in the status line alone, no `overrule-shutdown`, `VM.Monitor`.
    Old,
    /// 9: errors in JSON, too, `overrule-shutdown`, `VM.GuestAgent.Audit`.
    New,
}

/// Two nodes, `pve1` and `pve2`, both asked through `pve1`. Its guests end with this, its threads with
/// the test's process.
pub struct FakeProxmox {
    address: SocketAddr,
    fingerprint: String,
    shared: Arc<Mutex<Cluster>>,
}

// === impl FakeProxmox ===

impl FakeProxmox {
    /// Listens on a free port of this machine's own address.
    pub fn begin(generation: Generation) -> Result<Self> {
        let certificate = generate_simple_self_signed(["pve1.fake.test".to_owned()])?;
        let der = certificate.cert.der().clone();
        let digest: [u8; 32] = Sha256::digest(&der).into();
        let key = PrivateKeyDer::Pkcs8(certificate.signing_key.serialize_der().into());
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![der], key)?;
        let tls = Arc::new(tls);
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Mutex::new(Cluster::new(generation)));
        let served = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (served, tls) = (served.clone(), tls.clone());
                // A client that goes away, or does not trust it, is no concern of the others.
                thread::spawn(move || http::serve(client, tls, &served).ok());
            }
        });
        let fingerprint = digest.map(|byte| format!("{byte:02X}")).join(":");
        Ok(Self { address, fingerprint, shared })
    }

    /// Its address for the endpoint.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Its certificate's SHA-256 digest, as the web interface shows it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Adds a container on `pve1` that does not run.
    pub fn add_container(&self, vmid: u32, backend: &Hello) {
        self.cluster().guests.insert(vmid, Guest::new(Kind::Lxc, backend.clone()));
    }

    /// Adds a virtual machine on `pve1` that does not run, whose agent answers so long after it was
    /// started.
    pub fn add_machine(&self, vmid: u32, backend: &Hello, agent: Duration) {
        let guest = Guest { agent, ..Guest::new(Kind::Qemu, backend.clone()) };
        self.cluster().guests.insert(vmid, guest);
    }

    /// Takes a privilege from the token, everywhere.
    pub fn revoke(&self, privilege: &str) {
        self.cluster().privileges.remove(privilege);
    }

    /// Gives it back.
    pub fn grant(&self, privilege: &'static str) {
        self.cluster().privileges.insert(privilege);
    }

    /// Locks a guest, or takes the lock away.
    pub fn lock(&self, vmid: u32, lock: Option<&str>) -> Result<()> {
        self.cluster().guest(vmid)?.lock = lock.map(str::to_owned);
        Ok(())
    }

    /// Moves a guest that does not run to another node.
    pub fn migrate(&self, vmid: u32, node: &str) -> Result<()> {
        self.cluster().guest(vmid)?.node = node.to_owned();
        Ok(())
    }

    /// Switches a node off, so that the other cannot ask it any more.
    pub fn switch_off(&self, node: &str) {
        self.cluster().down.insert(node.to_owned());
    }

    /// Hands a guest over to the manager for high availability.
    pub fn manage(&self, vmid: u32) -> Result<()> {
        self.cluster().guest(vmid)?.managed = true;
        Ok(())
    }

    /// Starts a guest as somebody at the node does.
    pub fn start_by_hand(&self, vmid: u32) -> Result<()> {
        self.cluster().guest(vmid)?.begin()
    }

    /// Whether it has a process, held or not.
    pub fn runs(&self, vmid: u32) -> Result<bool> {
        Ok(self.cluster().guest(vmid)?.process.is_some())
    }

    /// Whether its process is held.
    pub fn is_paused(&self, vmid: u32) -> Result<bool> {
        Ok(self.cluster().guest(vmid)?.paused)
    }

    /// How often this was asked, by its end: `POST /lxc/100/status/start`.
    pub fn count(&self, method: &str, end: &str) -> usize {
        let asked = &self.cluster().asked;
        asked.iter().filter(|(verb, path)| verb == method && path.ends_with(end)).count()
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        lock(&self.shared)
    }
}

impl Drop for FakeProxmox {
    fn drop(&mut self) {
        let mut cluster = self.cluster();
        for guest in cluster.guests.values_mut() {
            if let Err(error) = guest.end().context("end a guest") {
                eprintln!("{error:#}");
            }
        }
    }
}

fn lock(shared: &Mutex<Cluster>) -> MutexGuard<'_, Cluster> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
