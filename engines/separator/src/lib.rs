//! Stem separators.
#![forbid(unsafe_code)]
