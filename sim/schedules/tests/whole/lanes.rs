//! The lanes, wired like those of the server.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use greenroom_director::{ConnectionId, Event, Failure, Outcome, Task, TrackId, Work};
use greenroom_schedules::Job;
use greenroom_sync::{Latest, LeaseGate, Mailbox, ReceiveError};
use shuttle::rand::{Rng, thread_rng};

use super::{News, device::Device, seen, tell};
use crate::PATIENCE;

/// Batches of every rip.
const BATCHES: u32 = 3;
/// Ticks after each input until the buffer holds what would be decoded again.
const TICKS: u32 = 2;

/// Knobs that clients turn, by connection: they lie beside the live thread's mailbox.
pub(super) type Knobs = BTreeMap<ConnectionId, Latest<u32>>;

struct Session {
    connection: ConnectionId,
    ticks: u32,
    asleep: bool,
}

/// The live thread: the session's stream, its ticks, and between them its jobs.
pub(super) struct Live {
    pub(super) gate: LeaseGate,
    pub(super) orders: Mailbox<Job>,
    pub(super) knobs: Knobs,
    pub(super) news: Mailbox<News>,
    pub(super) device: Device,
}

impl Live {
    pub(super) fn run(self) {
        let mut session: Option<Session> = None;
        loop {
            let patience = self.step(&mut session);
            match self.orders.receive(patience) {
                Ok(job) => self.handle(&job, &mut session),
                Err(ReceiveError::TimedOut | ReceiveError::Nudged) => {}
                Err(ReceiveError::Closed) => return,
            }
            while let Some(job) = self.orders.try_receive() {
                self.handle(&job, &mut session);
            }
            self.take_inputs(&mut session);
        }
    }

    fn step(&self, session: &mut Option<Session>) -> Duration {
        let Some(session) = session else { return PATIENCE };
        let Some(pass) = self.gate.enter() else { return PATIENCE };
        let mut patience = PATIENCE;
        if session.ticks > 0 {
            // A tick that finds no memory is tried again.
            let given_up = self.device.on(Work::Play, || pass.give_up().is_raised());
            session.ticks -= u32::from(given_up == Ok(false));
            if given_up == Ok(true) {
                seen::note(seen::Mark::TickGivenUp);
            }
            patience = Duration::ZERO;
        } else if !std::mem::replace(&mut session.asleep, true) {
            self.tell_playing(session.connection, false);
        }
        if let Some(closing) = pass.leave() {
            tell(&self.news, Event::GateDrained { closing });
        }
        patience
    }

    fn take_inputs(&self, session: &mut Option<Session>) {
        let Some(session) = session else { return };
        if self.knobs[&session.connection].take().is_some() {
            session.ticks += TICKS;
        }
        if session.asleep && session.ticks > 0 {
            session.asleep = false;
            self.tell_playing(session.connection, true);
        }
    }

    fn tell_playing(&self, connection: ConnectionId, wanted: bool) {
        tell(&self.news, Event::Playing { connection, wanted });
    }

    fn handle(&self, job: &Job, session: &mut Option<Session>) {
        let cancelled = || job.cancel.is_raised();
        let outcome = match job.task {
            Task::OpenStream { connection, .. } => {
                assert!(session.is_none(), "a stream is opened while another stands");
                let opened = self.device.on(Work::OpenStream, cancelled);
                if opened == Ok(false) {
                    let (ticks, asleep) = (TICKS, false);
                    *session = Some(Session {
                        connection,
                        ticks,
                        asleep,
                    });
                }
                opened
            }
            Task::SwapSource { connection, .. } => {
                let swapped = self.device.on(Work::OpenStream, cancelled);
                if let Some(session) = session.as_mut().filter(|_| swapped == Ok(false)) {
                    assert_eq!(session.connection, connection);
                    session.ticks += TICKS;
                }
                swapped
            }
            Task::EncodePrompt { .. } => {
                let encoded = self.device.on(Work::EncodePrompt, cancelled);
                if let Some(session) = session.as_mut().filter(|_| encoded == Ok(false)) {
                    session.ticks += TICKS;
                }
                encoded
            }
            Task::Reference { kind, track, .. } => {
                let changed = kind
                    .work(track)
                    .map_or(Ok(false), |work| self.device.on(work, cancelled));
                if let Some(session) = session.as_mut().filter(|_| changed == Ok(false)) {
                    session.ticks += TICKS;
                }
                changed
            }
            Task::CloseStream { connection } => {
                let closed = session.take();
                assert_eq!(closed.map(|session| session.connection), Some(connection));
                Ok(false)
            }
            other => unreachable!("{other:?} is no job of the live thread"),
        };
        end(&self.news, job, cancelled_or(outcome));
    }
}

/// The work thread: phase 1 of tracks, and the turns of rips.
pub(super) fn work(orders: &Mailbox<Job>, news: &Mailbox<News>, device: &Device) {
    let mut rips: BTreeMap<TrackId, u32> = BTreeMap::new();
    let mut ripped: BTreeSet<TrackId> = BTreeSet::new();
    while let Some(job) = next(orders) {
        let outcome = match job.task {
            Task::Encode { .. } | Task::EncodeStems { .. } => {
                cancelled_or(device.on(Work::EncodeSource, || job.cancel.is_raised()))
            }
            Task::Rip { track } => {
                let outcome = rip(&job, rips.entry(track).or_insert(0), news, device);
                assert!(
                    outcome != Outcome::Done || ripped.insert(track),
                    "{track:?} is ripped twice"
                );
                outcome
            }
            other => unreachable!("{other:?} is no job of the work thread"),
        };
        end(news, &job, outcome);
    }
}

fn rip(job: &Job, done: &mut u32, news: &Mailbox<News>, device: &Device) -> Outcome {
    while *done < BATCHES {
        if job.cancel.is_raised() {
            seen::note(seen::Mark::RipGaveWay);
            return Outcome::Yielded { abandoned: false };
        }
        match device.on(Work::Rip, || job.cancel.is_raised()) {
            Ok(true) => {
                seen::note(seen::Mark::BatchAbandoned);
                return Outcome::Yielded { abandoned: true };
            }
            Ok(false) => *done += 1,
            Err(outcome) => return outcome,
        }
        let (id, done, total) = (job.id, *done, BATCHES);
        tell(news, Event::RipProgress { job: id, done, total });
        if job.after_batch.is_raised() && done < total {
            seen::note(seen::Mark::RipGaveWay);
            return Outcome::Yielded { abandoned: false };
        }
    }
    Outcome::Done
}

/// The stage thread: moves weight groups, one at a time.
pub(super) fn stage(orders: &Mailbox<Job>, news: &Mailbox<News>, device: &Device) {
    while let Some(job) = next(orders) {
        let outcome = match job.task {
            Task::Restore { group } => device.place(group, true),
            Task::Park { group } => device.place(group, false),
            other => unreachable!("{other:?} is no job of the stage thread"),
        };
        if outcome != Outcome::Done {
            seen::note(seen::Mark::MoveFailed);
        }
        end(news, &job, outcome);
    }
}

/// The disk, which is full now and then; what is to be removed it always removes.
pub(super) fn disk(orders: &Mailbox<Job>, news: &Mailbox<News>) {
    while let Some(job) = next(orders) {
        let fails = !matches!(job.task, Task::Wipe { .. }) && thread_rng().gen_range(0..16) == 0;
        let outcome = if fails {
            Outcome::Failed(Failure::DiskFull)
        } else {
            Outcome::Done
        };
        end(news, &job, outcome);
    }
}

fn next(orders: &Mailbox<Job>) -> Option<Job> {
    loop {
        match orders.receive(PATIENCE) {
            Ok(job) => return Some(job),
            Err(ReceiveError::TimedOut | ReceiveError::Nudged) => {}
            Err(ReceiveError::Closed) => return None,
        }
    }
}

/// What work came to that says whether it saw that it was cancelled.
fn cancelled_or(worked: Result<bool, Outcome>) -> Outcome {
    match worked {
        Ok(true) => Outcome::Cancelled,
        Ok(false) => Outcome::Done,
        Err(outcome) => outcome,
    }
}

fn end(news: &Mailbox<News>, job: &Job, outcome: Outcome) {
    tell(news, Event::JobEnded { job: job.id, outcome });
}
