//! End to end: the real program on real sockets.
#![forbid(unsafe_code)]
