//! The weighted test generator: small random modules in every weight group, parked and restored like real ones.
#![forbid(unsafe_code)]
