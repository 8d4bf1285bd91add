//! The bundled providers. Written by the build script.

include!(concat!(env!("OUT_DIR"), "/bundled.rs"));
