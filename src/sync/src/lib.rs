//! The few things that cross threads, each small enough for a model checker.
#![forbid(unsafe_code)]
