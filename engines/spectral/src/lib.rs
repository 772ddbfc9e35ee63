//! A generator that needs no checkpoint: seeded spectral resynthesis of the source.
#![forbid(unsafe_code)]
