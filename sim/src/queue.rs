//! Things to come, soonest first; of those at one moment, the one that was planned first.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use greenroom_director::{ConnectionId, JobId, Moment, Outcome};

/// Something to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    /// A client does what it does next.
    Act(u8),
    /// A job ends, unless it has.
    JobEnds(JobId, Outcome),
    /// A batch of a rip is done.
    RipGoesOn(JobId),
    /// A step of a job on the disk is done.
    DiskGoesOn(JobId),
    /// The live thread left the gate.
    Drained(u64),
    /// A socket is closed.
    Gone(ConnectionId),
    /// Nothing is acknowledged any more.
    Stuck(ConnectionId),
    /// Something is again.
    Moves(ConnectionId),
    /// A tick found no memory: the session is told and wants no more.
    TickFailed(ConnectionId),
    /// Freed memory is back.
    FreesDone,
    /// The stage thread looked at what other processes hold.
    ForeignSeen,
    /// Somebody ran into the lost device.
    LossSeen,
    /// SIGTERM.
    Sigterm,
    /// The disk works again.
    DiskHeals,
    /// Something that nobody asked for.
    Whim,
}

impl Thing {
    /// Whether it outlives the process.
    fn is_of_the_world(self) -> bool {
        matches!(self, Self::Act(_) | Self::Whim | Self::DiskHeals)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    at: Moment,
    sequence: u64,
    thing: Thing,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
}

impl Queue {
    pub(crate) fn add(&mut self, at: Moment, thing: Thing) {
        self.sequence += 1;
        self.heap.push(Reverse(Entry {
            at,
            sequence: self.sequence,
            thing,
        }));
    }

    pub(crate) fn next_at(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    pub(crate) fn pop(&mut self) -> Option<Thing> {
        self.heap.pop().map(|Reverse(entry)| entry.thing)
    }

    /// The process ended: only what is not of it still comes.
    pub(crate) fn end_process(&mut self) {
        self.heap.retain(|Reverse(entry)| entry.thing.is_of_the_world());
    }

    /// Whether anything of the process is still to come.
    pub(crate) fn awaits(&self) -> bool {
        self.heap.iter().any(|Reverse(entry)| !entry.thing.is_of_the_world())
    }
}
