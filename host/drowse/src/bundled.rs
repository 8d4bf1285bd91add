//! The providers in the box. Written by the build script.

include!(concat!(env!("OUT_DIR"), "/bundled.rs"));
