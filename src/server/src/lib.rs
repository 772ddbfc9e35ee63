//! The pod: sockets, configuration, telemetry, and the driver that carries out the director's effects.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod pod;
pub mod telemetry;
