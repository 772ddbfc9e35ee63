//! Deadlines: an ordered, bounded set. What is due first is handled first; equal moments go in the order of [`Alarm`].

use crate::{
    fork::{Fork, Rename},
    ids::{ClientKey, ConnectionId, JobId, TrackId},
    moment::Moment,
};

/// What a deadline is for; at most one of each is armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Alarm {
    /// A connection's first frame is due.
    FirstFrame(ConnectionId),
    /// The rest of its handshake is due.
    Body(ConnectionId),
    /// Its socket should have closed by now.
    Grace(ConnectionId),
    /// It should have acknowledged something by now.
    Stall(ConnectionId),
    /// A forced-out client may come back.
    Hold(ClientKey),
    /// A client that left has not come back.
    Linger,
    /// No session came to own the track.
    Unclaimed(TrackId),
    /// A job is past its deadline.
    Job(JobId),
    /// The stage changes hands between ticks and rip.
    Turn,
    /// The live thread should have left the gate by now.
    Drain,
    /// Try the wipe again.
    WipeRetry(TrackId),
    /// The end is overdue.
    Shutdown,
}

impl Fork for Alarm {
    fn fork(&self, rename: &Rename) -> Self {
        match self {
            Self::FirstFrame(id) => Self::FirstFrame(id.fork(rename)),
            Self::Body(id) => Self::Body(id.fork(rename)),
            Self::Grace(id) => Self::Grace(id.fork(rename)),
            Self::Stall(id) => Self::Stall(id.fork(rename)),
            Self::Hold(key) => Self::Hold(key.fork(rename)),
            Self::Unclaimed(id) => Self::Unclaimed(id.fork(rename)),
            Self::Job(id) => Self::Job(id.fork(rename)),
            Self::WipeRetry(id) => Self::WipeRetry(id.fork(rename)),
            Self::Linger | Self::Turn | Self::Drain | Self::Shutdown => *self,
        }
    }
}

/// The armed deadlines, soonest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarms {
    armed: Vec<(Moment, Alarm)>,
}

impl Alarms {
    /// Arms `alarm`, or moves it.
    pub(crate) fn set(&mut self, alarm: Alarm, at: Moment) {
        self.clear(alarm);
        let place = self.armed.partition_point(|other| *other <= (at, alarm));
        self.armed.insert(place, (at, alarm));
    }

    pub(crate) fn clear(&mut self, alarm: Alarm) {
        self.armed.retain(|(_, other)| *other != alarm);
    }

    pub(crate) fn is_set(&self, alarm: Alarm) -> bool {
        self.armed.iter().any(|(_, other)| *other == alarm)
    }

    /// Takes the first one that is due.
    pub(crate) fn take_due(&mut self, now: Moment) -> Option<Alarm> {
        let (at, alarm) = *self.armed.first()?;
        (at <= now).then(|| {
            self.armed.remove(0);
            alarm
        })
    }

    pub(crate) fn next(&self) -> Option<(Moment, Alarm)> {
        self.armed.first().copied()
    }

    /// The order of what is armed, without its times: what the future can depend on, for hashing.
    #[cfg(feature = "checking")]
    pub(crate) fn order(&self) -> impl Iterator<Item = Alarm> + '_ {
        self.armed.iter().map(|(_, alarm)| *alarm)
    }

    #[cfg(feature = "checking")]
    pub(crate) fn all(&self) -> &[(Moment, Alarm)] {
        &self.armed
    }
}
