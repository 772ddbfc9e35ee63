//! Set up, serve, test, bench: what CI runs is what a person runs.
#![forbid(unsafe_code)]

fn main() {}
