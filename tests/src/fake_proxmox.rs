//! A fake of the part of Proxmox VE's API that the `proxmox` provider uses. The real one cannot be
//! installed in a test environment.
//!
//! It serves the paths of the published API schema over TLS with its own certificate, and reproduces
//! behaviour from the sources that is not in the schema: errors in the status line or in JSON,
//! depending on the [`Generation`], refused parameters and bodies, privileges checked before existence,
//! tasks that take time, locks that appear only when a task has begun, lists that are outdated. A guest is
//! a process of the example backend: "running" means that it listens.
//!
//! Limitations: it is based on the same reading of the sources as the provider, and has not been
//! compared with a real Proxmox VE. It has no cluster, storage, network or guest agent; suspending to
//! disk terminates the process; its HA manager executes requests after a delay and decides nothing.

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

/// The API token that clients need, without the prefix `PVEAPIToken=` of the header `Authorization`.
pub const TOKEN: &str = "drowse@pve!wake=0f9c1a52-7a54-4c1e-9a6e-3f1f2c7b6d11";

/// Version-dependent errors and parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// 7 to 8.1: errors only in the status line, no `overrule-shutdown`, `VM.Monitor`.
    Old,
    /// 9: errors also in JSON, `overrule-shutdown`, `VM.GuestAgent.Audit`.
    New,
}

/// Two nodes, `pve1` and `pve2`, both accessed through `pve1`. Dropping it stops its guests; its threads
/// end with the test's process.
pub struct FakeProxmox {
    address: SocketAddr,
    fingerprint: String,
    shared: Arc<Mutex<Cluster>>,
}

// === impl FakeProxmox ===

impl FakeProxmox {
    /// Listens on a free loopback port.
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
                // A disconnect or a failed TLS handshake does not affect other clients.
                thread::spawn(move || http::serve(client, tls, &served).ok());
            }
        });
        let fingerprint = digest.map(|byte| format!("{byte:02X}")).join(":");
        Ok(Self { address, fingerprint, shared })
    }

    /// URL for the provider's endpoint.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// SHA-256 fingerprint of its certificate, in the format of the web interface.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Adds a stopped container on `pve1`.
    pub fn add_container(&self, vmid: u32, backend: &Hello) {
        self.cluster().guests.insert(vmid, Guest::new(Kind::Lxc, backend.clone()));
    }

    /// Adds a stopped virtual machine on `pve1`, whose guest agent answers after the delay `agent`.
    pub fn add_machine(&self, vmid: u32, backend: &Hello, agent: Duration) {
        let guest = Guest { agent, ..Guest::new(Kind::Qemu, backend.clone()) };
        self.cluster().guests.insert(vmid, guest);
    }

    /// Revokes a privilege of the token on all guests.
    pub fn revoke(&self, privilege: &str) {
        self.cluster().privileges.remove(privilege);
    }

    /// Grants a privilege to the token on all guests.
    pub fn grant(&self, privilege: &'static str) {
        self.cluster().privileges.insert(privilege);
    }

    /// Sets or removes the lock of a guest.
    pub fn lock(&self, vmid: u32, lock: Option<&str>) -> Result<()> {
        self.cluster().guest(vmid)?.lock = lock.map(str::to_owned);
        Ok(())
    }

    /// Moves a stopped guest to another node.
    pub fn migrate(&self, vmid: u32, node: &str) -> Result<()> {
        self.cluster().guest(vmid)?.node = node.to_owned();
        Ok(())
    }

    /// Switches a node off, so that the other node cannot reach it.
    pub fn switch_off(&self, node: &str) {
        self.cluster().down.insert(node.to_owned());
    }

    /// Puts a guest under the HA manager.
    pub fn manage(&self, vmid: u32) -> Result<()> {
        self.cluster().guest(vmid)?.managed = true;
        Ok(())
    }

    /// Starts a guest without an API request, as an administrator on the node would.
    pub fn start_externally(&self, vmid: u32) -> Result<()> {
        self.cluster().guest(vmid)?.begin()
    }

    /// Returns whether a guest is running or paused.
    pub fn runs(&self, vmid: u32) -> Result<bool> {
        Ok(self.cluster().guest(vmid)?.process.is_some())
    }

    /// Returns whether a guest is paused.
    pub fn is_paused(&self, vmid: u32) -> Result<bool> {
        Ok(self.cluster().guest(vmid)?.paused)
    }

    /// Number of requests with this method and path suffix: `POST`, `/lxc/100/status/start`.
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
