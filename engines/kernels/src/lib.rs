//! Fused operations of the networks.
#![deny(unsafe_code)]
