//! The one loop: one event, one mutation, and then every step that follows from it until nothing more does.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    alarms::{Alarm, Alarms},
    connections::Connection,
    effect::{Close, Effect, Effects},
    engines::Missed,
    event::{Event, Failure, Outcome},
    fork::fork_plain,
    gate::{Gate, Turn},
    ids::{ClientKey, ConnectionId, JobId, TrackId},
    jobs::Job,
    ledger::Ledger,
    lineage::Lineage,
    machine::Cell,
    moment::Moment,
    placement::{Placement, Vacancy},
    plan::Plan,
    seat::{Ask, Cause, Chair, Incumbent},
    slot::Slot,
    track::Track,
};

/// Whether the pod goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    /// It does.
    Running,
    /// It ends, with this exit code, once what must be finished is.
    Ending(u8),
    /// It has said `Exit`.
    Ended,
}

fork_plain!(Life);

/// Things that happened and mean nothing: late, stale or doubled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Events handled.
    pub events: u64,
    /// Events about something that is gone, or that came twice.
    pub stale: u64,
}

/// The pod's one decider.
#[derive(Debug)]
pub struct Director {
    pub(crate) plan: Plan,
    pub(crate) now: Moment,
    pub(crate) life: Life,
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    pub(crate) incumbent: Option<Incumbent>,
    /// At most one waits: of several, the latest wins.
    pub(crate) candidate: Option<(ConnectionId, Ask)>,
    /// Here while nobody is on it.
    pub(crate) chair: Option<Chair>,
    pub(crate) holds: BTreeSet<ClientKey>,
    pub(crate) lineage: Option<Lineage>,
    pub(crate) lineages_begun: u64,
    pub(crate) tracks: BTreeMap<TrackId, Track>,
    pub(crate) placements: [Cell<Placement>; 5],
    /// Failed tries to move each group since the last that worked.
    pub(crate) strikes: [u8; 5],
    /// Here while the separator is parked.
    pub(crate) vacancy: Option<Vacancy>,
    /// The engines of each component.
    pub(crate) slots: [Cell<Slot>; 3],
    /// The last engine of each that did not load, until somebody asks anew.
    pub(crate) missed: [Option<Missed>; 3],
    pub(crate) ledger: Ledger,
    pub(crate) gate: Gate,
    pub(crate) gate_closings: u64,
    pub(crate) turn: Turn,
    /// Jobs of people who wait that were begun since the rip that waits last got on.
    pub(crate) overtaken: u8,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) jobs_begun: u64,
    pub(crate) alarms: Alarms,
    pub(crate) counters: Counters,
}

impl Director {
    /// A pod with nobody on it and every group parked. It asks for nothing until the first event.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            now: Moment::default(),
            life: Life::Running,
            connections: BTreeMap::new(),
            incumbent: None,
            candidate: None,
            chair: Some(Chair::mint()),
            holds: BTreeSet::new(),
            lineage: None,
            lineages_begun: 0,
            tracks: BTreeMap::new(),
            placements: std::array::from_fn(|_| Cell::new(Placement::at_boot())),
            strikes: [0; 5],
            vacancy: Some(Vacancy::mint()),
            slots: std::array::from_fn(|_| Cell::new(Slot::at_boot())),
            missed: [None; 3],
            ledger: Ledger::default(),
            gate: Gate::Closed,
            gate_closings: 0,
            turn: Turn::Rip,
            overtaken: 0,
            jobs: BTreeMap::new(),
            jobs_begun: 0,
            alarms: Alarms::default(),
            counters: Counters::default(),
        }
    }

    /// Handles one event and asks for everything that follows from it, deadlines that have passed included.
    ///
    /// # Panics
    /// If an invariant of the house is broken: going on would be worse.
    pub fn handle(&mut self, now: Moment, event: Event, effects: &mut Effects) {
        self.now = self.now.max(now);
        self.counters.events += 1;
        if self.life != Life::Ended {
            self.take(event, effects);
            self.settle(effects);
            while let Some(alarm) = self.alarms.take_due(self.now) {
                self.ring(alarm, effects);
                self.settle(effects);
            }
        }
        if let Err(broken) = self.check() {
            panic!("an invariant is broken: {broken}");
        }
    }

    /// When to call with [`Event::Timer`] next, if nothing happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.alarms.next().map(|(at, _)| at)
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Counts an event that means nothing any more.
    pub(crate) fn stale(&mut self) {
        self.counters.stale += 1;
    }

    pub(crate) fn is_running(&self) -> bool {
        self.life == Life::Running
    }

    fn take(&mut self, event: Event, effects: &mut Effects) {
        match event {
            Event::HandshakeOpened { connection } => self.handshake_opened(connection, effects),
            Event::HandshakeDeclared {
                connection,
                intent,
                bytes,
            } => self.handshake_declared(connection, intent, bytes, effects),
            Event::SessionAsked {
                connection,
                client,
                source,
                mode,
            } => {
                self.session_asked(connection, Ask { client, source, mode }, effects);
            }
            Event::UploadAsked { connection, track } => self.upload_asked(connection, track, effects),
            Event::ConnectionGone { connection } => self.connection_gone(connection, effects),
            Event::ClientStuck { connection } => self.client_stuck(connection),
            Event::ClientMoving { connection } => self.alarms.clear(Alarm::Stall(connection)),
            Event::SwapAsked {
                connection,
                source,
                mode,
            } => self.swap_asked(connection, source, mode, effects),
            Event::PromptAsked { connection } => self.prompt_asked(connection),
            Event::ReferenceAsked {
                connection,
                kind,
                source,
            } => self.reference_asked(connection, kind, source, effects),
            Event::Playing { connection, wanted } => self.playing(connection, wanted),
            Event::GateDrained { closing } => self.gate_drained(closing),
            Event::JobEnded { job, outcome } => self.job_ended(job, outcome, effects),
            Event::RipProgress { job, done, total } => self.rip_progress(job, done, total, effects),
            Event::TrackFound { track, found } => self.track_found(track, found),
            Event::SourceMeasured { track, engines } => self.source_measured(track, engines),
            Event::ForeignMemory { bytes } => self.ledger.foreign = bytes,
            Event::DeviceLost => self.device_lost(effects),
            Event::ShutdownAsked => self.shutdown_asked(effects),
            Event::Timer => {}
        }
    }

    fn ring(&mut self, alarm: Alarm, effects: &mut Effects) {
        match alarm {
            Alarm::FirstFrame(connection) => self.close(connection, Close::NoFirstFrame, effects),
            Alarm::Body(connection) => self.refuse(connection, Failure::TooSlow, effects),
            Alarm::Grace(connection) => self.grace_over(connection, effects),
            Alarm::Stall(connection) => self.leave(connection, Cause::Closed(Close::Stalled), effects),
            Alarm::Hold(client) => {
                self.holds.remove(&client);
            }
            Alarm::Linger => self.end_lineage(effects),
            Alarm::Unclaimed(track) => self.doom(track, Failure::Superseded, effects),
            Alarm::Job(job) => self.job_overdue(job, effects),
            Alarm::Turn => self.turn_over(),
            Alarm::Drain => self.device_lost(effects),
            Alarm::WipeRetry(track) => self.retry_wipe(track),
            Alarm::Shutdown => self.exit(effects),
        }
    }

    /// Takes every step that follows, one at a time, until none does.
    fn settle(&mut self, effects: &mut Effects) {
        for _ in 0..10_000 {
            // First: memory that a change of engines has freed is for the engine that comes.
            let stepped = self.step_needed_engines(effects)
                || self.step_seat(effects)
                || self.step_session(effects)
                || self.step_tracks(effects)
                || self.step_stems_encode(effects)
                || self.step_rips(effects)
                || self.step_gate(effects)
                || self.step_stage(effects);
            if !stepped {
                self.step_end(effects);
                return;
            }
        }
        panic!("the director never comes to rest: {self:?}");
    }

    fn shutdown_asked(&mut self, effects: &mut Effects) {
        if let Life::Ending(_) = self.life {
            self.life = Life::Ending(1);
            self.exit(effects);
            return;
        }
        self.life = Life::Ending(0);
        self.alarms.set(Alarm::Shutdown, self.now + self.plan.times.shutdown);
        self.close_everybody(Close::GoingAway, effects);
    }

    /// A sticky error: nothing on the device can be trusted until a new process takes over.
    pub(crate) fn device_lost(&mut self, effects: &mut Effects) {
        if self.life != Life::Ending(crate::EXIT_DEVICE_LOST) {
            self.life = Life::Ending(crate::EXIT_DEVICE_LOST);
            self.alarms.set(Alarm::Shutdown, self.now + self.plan.times.shutdown);
            self.refuse_everybody(Failure::DeviceLost, effects);
        }
    }

    /// Ends once nothing must be finished: every socket told, every job ended (of a lost device only the disk's count).
    fn step_end(&mut self, effects: &mut Effects) {
        let Life::Ending(code) = self.life else { return };
        let waits = |job: &Job| code != crate::EXIT_DEVICE_LOST || job.is_on_disk();
        if self.connections.is_empty()
            && !self.jobs.values().any(waits)
            && (self.incumbent.is_none() || code == crate::EXIT_DEVICE_LOST)
        {
            self.exit(effects);
        }
    }

    fn exit(&mut self, effects: &mut Effects) {
        if let Life::Ending(code) = self.life {
            self.life = Life::Ended;
            self.alarms = Alarms::default();
            effects.push(Effect::Exit { code });
        }
    }

    /// Maps what a job's failure means for the whole pod.
    pub(crate) fn note_outcome(&mut self, outcome: Outcome, effects: &mut Effects) {
        if outcome == Outcome::Failed(Failure::DeviceLost) {
            self.device_lost(effects);
        }
    }
}
