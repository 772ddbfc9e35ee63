//! The pod: sockets, configuration, telemetry, and the driver that carries out the director's effects.
#![deny(unsafe_code)]

pub mod cli;
pub mod config;
pub mod device;
#[cfg(feature = "cuda")]
pub mod gpu_bench;
pub mod house;
pub mod net;
pub mod pod;
pub mod telemetry;
