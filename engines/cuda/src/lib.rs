//! The stage of an NVIDIA GPU.
#![deny(unsafe_code)]
