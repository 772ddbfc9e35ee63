//! The pod end to end, without sockets.
