//! Memory of a device: traits, ledger, the pure memory model, and the stages that carry it out.
#![forbid(unsafe_code)]
