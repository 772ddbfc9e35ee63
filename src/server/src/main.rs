//! The pod.
#![forbid(unsafe_code)]

fn main() {}
