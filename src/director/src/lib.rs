//! The pure core: three machines and one event loop.
#![forbid(unsafe_code)]
