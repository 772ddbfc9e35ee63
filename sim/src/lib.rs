//! The simulated world the director is proved in.
#![forbid(unsafe_code)]
