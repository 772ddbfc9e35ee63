//! Sockets and routes: one port for the page, the HTTP routes and the WebSocket (wire §2–§7).
//!
//! A socket is a task of its own ([`socket`]): what happens to it goes to a pure machine ([`connection`]), whose actions the task carries
//! out; the client's bytes come through a gate ([`gate`]), and one writer ([`writer`]) sends what goes out.

mod access;
mod backlog;
mod connection;
mod counters;
mod gate;
mod http;
mod listener;
mod page;
mod reader;
mod socket;
mod upgrade;
mod upload;
mod writer;

use std::path::PathBuf;

pub use access::{Access, Denied};
pub use listener::serve;

use self::counters::Counters;
use crate::pod::PodHandle;

/// How a pod is to be reached.
#[derive(Clone, Debug, Default)]
pub struct NetConfig {
    /// Key that every client must give; none lets everybody in.
    pub api_key: Option<String>,
    /// Origins beside the pod's own from which pages may connect.
    pub allowed_origins: Vec<String>,
    /// The built page.
    pub web_dir: PathBuf,
    /// Largest body of an upload by POST, in bytes.
    pub body_bytes_max: u64,
}

/// What all connections share.
pub(super) struct Net {
    pod: PodHandle,
    access: Access,
    web_dir: PathBuf,
    body_bytes_max: u64,
    counters: Counters,
}
