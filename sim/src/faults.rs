//! What goes wrong in a history, in times per thousand: each seed has its own subset (swarm testing).

use crate::chance::Chance;

/// Fault classes and their weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A move of weights runs out of memory.
    pub restore_out_of_memory: u64,
    /// A park fails.
    pub park_fails: u64,
    /// A computation fails.
    pub compute_fails: u64,
    /// A computation runs out of memory.
    pub compute_out_of_memory: u64,
    /// A disk job fails.
    pub disk_fails: u64,
    /// A job never ends, not even when cancelled.
    pub job_hangs: u64,
    /// The device is lost.
    pub device_lost: u64,
    /// A client does not answer a close.
    pub client_wedged: u64,
    /// A client vanishes.
    pub client_vanishes: u64,
    /// A client never goes on with its handshake.
    pub client_silent: u64,
    /// A client acknowledges nothing.
    pub client_stalls: u64,
    /// An event comes twice, or about something that is gone.
    pub stale_events: u64,
    /// Time jumps ahead by minutes.
    pub clock_jumps: u64,
    /// The pod is asked to end.
    pub shutdown: u64,
    /// Another process takes memory.
    pub foreign_memory: u64,
}

impl Faults {
    /// A random subset with random weights.
    pub(crate) fn of(chance: &mut Chance) -> Self {
        let mut weight = |heaviest: u64| {
            if chance.permille(400) {
                chance.between(1, heaviest)
            } else {
                0
            }
        };
        Self {
            restore_out_of_memory: weight(300),
            park_fails: weight(20),
            compute_fails: weight(200),
            compute_out_of_memory: weight(200),
            disk_fails: weight(200),
            job_hangs: weight(5),
            device_lost: weight(3),
            client_wedged: weight(500),
            client_vanishes: weight(200),
            client_silent: weight(200),
            client_stalls: weight(100),
            stale_events: weight(200),
            clock_jumps: weight(20),
            shutdown: weight(3),
            foreign_memory: weight(50),
        }
    }
}
