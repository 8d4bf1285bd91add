//! What the end-to-end tests, the demo and the benchmarks stand on: the router as a program with
//! its TOML, real engines beside it, and clients. Everything started here ends with its owner,
//! by its process id.

#![forbid(unsafe_code)]

pub mod bombs;
pub mod card;
pub mod checks;
pub mod client;
pub mod containerd;
pub mod docker;
pub mod dylibs;
pub mod engine;
pub mod fake_proxmox;
pub mod giver;
pub mod hello;
pub mod hung;
pub mod late;
pub mod limits;
pub mod load;
pub mod log;
pub mod memory;
pub mod needs;
pub mod pki;
pub mod plane;
pub mod podman;
pub mod ports;
pub mod process;
pub mod programs;
pub mod recorder;
pub mod registry;
pub mod router;
pub mod wait;
pub mod wire;

pub use card::Card;
pub use client::{Answer, curl};
pub use containerd::Containerd;
pub use docker::Docker;
pub use engine::Engine;
pub use fake_proxmox::FakeProxmox;
pub use giver::Giver;
pub use hello::Hello;
pub use hung::HungFilesystem;
pub use plane::Plane;
pub use podman::Podman;
pub use process::Process;
pub use programs::Programs;
pub use recorder::Recorder;
pub use registry::Registry;
pub use router::{Home, Router};
pub use wait::until;
