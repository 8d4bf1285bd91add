//! Support code of the end-to-end tests, the demo and the benchmarks: runs the router with a
//! configuration, real engines and clients. Every process started here is stopped with its owner, by
//! process id.

#![forbid(unsafe_code)]

pub mod bombs;
pub mod checks;
pub mod client;
pub mod containerd;
pub mod control_plane;
pub mod docker;
pub mod dylibs;
pub mod engine;
pub mod engine_relay;
pub mod fake_proxmox;
pub mod hello;
pub mod hung;
pub mod late;
pub mod limits;
pub mod load;
pub mod log;
pub mod memory;
pub mod needs;
pub mod pki;
pub mod podman;
pub mod ports;
pub mod process;
pub mod programs;
pub mod recorder;
pub mod registry;
pub mod router;
pub mod sleeping_machine;
pub mod token_server;
pub mod wait;

pub use client::{Answer, curl};
pub use containerd::Containerd;
pub use control_plane::ControlPlane;
pub use docker::Docker;
pub use engine::Engine;
pub use engine_relay::EngineRelay;
pub use fake_proxmox::FakeProxmox;
pub use hello::Hello;
pub use hung::HungFilesystem;
pub use podman::Podman;
pub use process::Process;
pub use programs::Programs;
pub use recorder::Recorder;
pub use registry::Registry;
pub use router::{Home, Router};
pub use sleeping_machine::SleepingMachine;
pub use token_server::TokenServer;
pub use wait::until;
