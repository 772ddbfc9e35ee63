//! Packed weight images.
#![deny(unsafe_code)]
