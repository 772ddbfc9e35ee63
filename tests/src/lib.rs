//! End to end: the real program on real sockets. Here is what the tests and the bench share: the program, a client, music.

#![forbid(unsafe_code)]

mod client;
mod music;
mod program;

pub use client::{Client, Incoming, Refused, post_track, upload};
pub use music::song;
pub use program::{Program, binary, weights_are_there};
