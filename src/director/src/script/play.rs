//! Tells a director a script, does what a driver must, and lets the witness see both.

use std::hash::{DefaultHasher, Hasher};

use super::{Step, witness::Witness};
use crate::{
    director::Director,
    effect::{Effect, Effects, Task},
    event::{Event, Failure, Found, Intent, Mode, Outcome, ReferenceKind, Source},
    ids::{ClientKey, ConnectionId, JobId, TrackId},
    moment::{Moment, Span},
    plan::Plan,
};

/// More events than any script of ours needs to come to rest.
const EVENTS_TO_REST_MAX: u32 = 50_000;

/// Scripts choose among this many of the newest connections and tracks.
const IN_REACH: usize = 6;

/// How things are numbered: the order must be kept, the distances and the clients' keys mean nothing.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The number before the first.
    pub first: u64,
    /// From one number to the next.
    pub stride: u64,
    /// What clients' keys are mixed with.
    pub mask: u64,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            first: 0,
            stride: 1,
            mask: 0,
        }
    }
}

/// A director and its driver.
pub struct Play {
    director: Director,
    /// A copy, forked a while ago and told the same: it must do the same.
    twin: Director,
    names: Names,
    now: Moment,
    events: u64,
    last: u64,
    connections: Vec<ConnectionId>,
    tracks: Vec<TrackId>,
    jobs: Vec<(JobId, Task)>,
    closing: Option<u64>,
    witness: Witness,
    told: Vec<String>,
}

impl Play {
    /// A pod that nothing has happened to.
    #[must_use]
    pub fn new(plan: Plan, names: Names) -> Self {
        Self {
            director: Director::new(plan.clone()),
            twin: Director::new(plan.clone()),
            names,
            now: Moment(0),
            events: 0,
            last: names.first,
            connections: Vec::new(),
            tracks: Vec::new(),
            jobs: Vec::new(),
            closing: None,
            witness: Witness::new(plan),
            told: Vec::new(),
        }
    }

    /// The director as it is now.
    #[must_use]
    pub fn director(&self) -> &Director {
        &self.director
    }

    /// What the director has been told so far.
    #[must_use]
    pub fn told(&self) -> String {
        self.told.join("\n")
    }

    /// The canonical hash of the director.
    #[must_use]
    pub fn hash(&self) -> u64 {
        hash(&self.director)
    }

    /// One step.
    ///
    /// # Errors
    /// What was not kept to.
    pub fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Open => self.open().map(drop),
            Step::OpenAgain { connection } => self.open_again(self.connection(connection)),
            Step::Declare {
                connection,
                upload,
                bytes,
            } => self.tell(Event::HandshakeDeclared {
                connection: self.connection(connection),
                intent: if upload { Intent::Upload } else { Intent::Session },
                bytes: u64::from(bytes) << 21,
            }),
            Step::AskSession {
                connection,
                client,
                source,
                mode,
            } => self.ask_session(self.connection(connection), client, source, mode),
            Step::AskUpload { connection } => self.ask_upload(self.connection(connection)),
            Step::Session { client, source, mode } => {
                let connection = self.declared(Intent::Session)?;
                self.ask_session(connection, client, source, mode)
            }
            Step::Upload => {
                let connection = self.declared(Intent::Upload)?;
                self.ask_upload(connection)
            }
            Step::Gone { connection } => self.tell(Event::ConnectionGone {
                connection: self.connection(connection),
            }),
            Step::Stuck { connection, stuck } => self.stuck(self.connection(connection), stuck),
            Step::Swap {
                connection,
                source,
                mode,
            } => self.ask_swap(self.connection(connection), source, mode),
            Step::Prompt { connection } => self.tell(Event::PromptAsked {
                connection: self.connection(connection),
            }),
            Step::Reference {
                connection,
                structure,
                source,
            } => {
                let source = Some(self.source(source));
                self.ask_reference(connection, structure, source)
            }
            Step::ClearReference { connection, structure } => self.ask_reference(connection, structure, None),
            Step::Playing { connection, wanted } => self.tell(Event::Playing {
                connection: self.connection(connection),
                wanted,
            }),
            Step::Drained { off } => self.tell(Event::GateDrained {
                closing: self.closing.unwrap_or(0).wrapping_add(u64::from(off)),
            }),
            Step::End { job, outcome } => self.end(job, outcome_of(outcome)),
            Step::Progress { done, total, stale } => self.progress(done, total, stale),
            Step::Found { found, again } => self.found(found, again),
            Step::Measure { track, engines } => self.measure(track, engines),
            Step::Weather { kind } => self.tell(match kind {
                255 => Event::DeviceLost,
                254 => Event::ShutdownAsked,
                kind => Event::ForeignMemory { bytes: kind.into() },
            }),
            Step::Wait { milliseconds } => self.wait(Span::milliseconds(milliseconds.into())),
            Step::Jump { seconds } => self.jump(Span::seconds(seconds.into())),
            Step::Settle => self.settle(),
        }
    }

    /// Lets every job end well, every closed socket go and every deadline pass; who plays plays on.
    ///
    /// # Errors
    /// What was not kept to, or never came.
    pub fn rest(&mut self) -> Result<(), String> {
        for _ in 0..EVENTS_TO_REST_MAX {
            if self.director.has_ended() {
                return Ok(());
            }
            self.settle()?;
            if let Some(connection) = self.witness.told_to_go() {
                self.tell(Event::ConnectionGone { connection })?;
            } else if let Some(at) = self.director.next_deadline() {
                self.now = self.now.max(at);
                self.tell(Event::Timer)?;
            } else {
                return self.rested();
            }
        }
        Err("it never comes to rest".into())
    }

    /// Lets everybody go, and the pod come to rest again.
    ///
    /// # Errors
    /// What was not kept to, or never came.
    pub fn leave(&mut self) -> Result<(), String> {
        for connection in self.witness.there() {
            self.tell(Event::ConnectionGone { connection })?;
        }
        self.rest()?;
        if self.director.has_ended() {
            return Ok(());
        }
        if let Some(seat) = self.director.seat() {
            return Err(format!("everybody left, and the seat is taken: {seat:?}"));
        }
        self.witness.at_the_end()
    }

    /// Tells an event and carries out what follows, as far as it is quick.
    ///
    /// # Errors
    /// What was not kept to.
    pub fn tell(&mut self, event: Event) -> Result<(), String> {
        if self.director.has_ended() {
            return Ok(());
        }
        self.told.push(format!("{}: {event:?}", self.now.0));
        self.events += 1;
        if self.events % 8 == 1 {
            self.twin = self.director.fork();
        }
        // Of a track that is not there yet nobody takes note.
        let nobodys = |track: &TrackId| !self.director.tracks().any(|(id, _)| id == *track);
        if !matches!(&event, Event::SourceMeasured { track, .. } if nobodys(track)) {
            self.witness.event(&event);
        }
        let (mut effects, mut same) = (Effects::new(), Effects::new());
        self.director.handle(self.now, event.clone(), &mut effects);
        self.twin.handle(self.now, event, &mut same);
        if effects.as_slice() != same.as_slice() || self.hash() != hash(&self.twin) {
            return Err(format!(
                "a copy did otherwise: {:?} and {:?}",
                effects.as_slice(),
                same.as_slice()
            ));
        }
        self.director.check()?;
        for effect in effects.drain() {
            self.told.push(format!("    {effect:?}"));
            match &effect {
                Effect::Start { job, task } => self.jobs.push((*job, *task)),
                Effect::GateClose { closing, .. } => self.closing = Some(*closing),
                _ => {}
            }
            self.witness.effect(&effect)?;
        }
        Ok(())
    }

    fn number(&mut self) -> u64 {
        self.last += self.names.stride;
        self.last
    }

    fn connection(&self, back: u8) -> ConnectionId {
        let reach = self.connections.len().min(IN_REACH);
        let back = usize::from(back) % (reach + 1);
        let place = self.connections.len().checked_sub(back + 1).filter(|_| back < reach);
        place.map_or(ConnectionId(u64::MAX), |place| self.connections[place])
    }

    fn source(&mut self, pick: u8) -> Source {
        let reach = self.tracks.len().min(IN_REACH);
        match usize::from(pick) % (reach + 2) {
            0 => {
                let track = TrackId(self.number());
                self.tracks.push(track);
                Source::Sent(track)
            }
            back if back <= reach => Source::Track(self.tracks[self.tracks.len() - back]),
            _ => Source::Track(TrackId(u64::MAX)),
        }
    }

    fn open(&mut self) -> Result<ConnectionId, String> {
        let connection = ConnectionId(self.number());
        self.connections.push(connection);
        self.tell(Event::HandshakeOpened { connection })?;
        Ok(connection)
    }

    fn declared(&mut self, intent: Intent) -> Result<ConnectionId, String> {
        let (connection, bytes) = (self.open()?, 1 << 20);
        self.tell(Event::HandshakeDeclared {
            connection,
            intent,
            bytes,
        })?;
        Ok(connection)
    }

    fn open_again(&mut self, connection: ConnectionId) -> Result<(), String> {
        match self.witness.is_known(connection) {
            true => self.tell(Event::HandshakeOpened { connection }),
            false => Ok(()),
        }
    }

    fn stuck(&mut self, connection: ConnectionId, stuck: bool) -> Result<(), String> {
        self.tell(match stuck {
            true => Event::ClientStuck { connection },
            false => Event::ClientMoving { connection },
        })
    }

    fn ask_swap(&mut self, connection: ConnectionId, source: u8, mode: u8) -> Result<(), String> {
        let source = self.source(source);
        self.tell(Event::SwapAsked {
            connection,
            source,
            mode: mode_of(mode),
        })?;
        self.measure_newest()
    }

    /// Time passes at once, over every deadline on the way.
    fn jump(&mut self, span: Span) -> Result<(), String> {
        self.now = self.now + span;
        self.tell(Event::Timer)
    }

    fn ask_session(&mut self, connection: ConnectionId, client: u8, source: u8, mode: u8) -> Result<(), String> {
        let client = u64::from(client % 4);
        let client = (client > 0).then_some(ClientKey(client ^ self.names.mask));
        let (source, mode) = (self.source(source), mode_of(mode));
        self.tell(Event::SessionAsked {
            connection,
            client,
            source,
            mode,
        })?;
        self.measure_newest()
    }

    fn ask_reference(&mut self, connection: u8, structure: bool, source: Option<Source>) -> Result<(), String> {
        self.tell(Event::ReferenceAsked {
            connection: self.connection(connection),
            kind: ReferenceKind::ALL[usize::from(structure)],
            source,
        })
    }

    fn ask_upload(&mut self, connection: ConnectionId) -> Result<(), String> {
        let track = TrackId(self.number());
        self.tracks.push(track);
        self.tell(Event::UploadAsked { connection, track })?;
        self.measure_newest()
    }

    fn end(&mut self, pick: u8, outcome: Outcome) -> Result<(), String> {
        let place = usize::from(pick) % (self.jobs.len() + 1);
        let job = match place < self.jobs.len() {
            true => {
                let (job, task) = self.jobs.remove(place);
                self.measure_before(task)?;
                self.witness.ended(job, task, outcome);
                job
            }
            false => JobId(u64::MAX),
        };
        self.tell(Event::JobEnded { job, outcome })
    }

    fn progress(&mut self, done: u8, total: u8, stale: bool) -> Result<(), String> {
        let rip = self.jobs.iter().find(|(_, task)| matches!(task, Task::Rip { .. }));
        let job = rip.filter(|_| !stale).map_or(JobId(u64::MAX), |(job, _)| *job);
        let (done, total) = (done.min(total).into(), total.into());
        self.tell(Event::RipProgress { job, done, total })
    }

    fn found(&mut self, found: u8, again: bool) -> Result<(), String> {
        const FOUND: [Found; 5] = [
            Found::Fixture,
            Found::FixtureWithStems,
            Found::UploadOwingStems,
            Found::UploadWithStems,
            Found::UploadWithoutStems,
        ];
        let known = self.tracks.last().copied().filter(|_| again);
        let track = known.unwrap_or_else(|| {
            let track = TrackId(self.number());
            self.tracks.push(track);
            track
        });
        // A track that is gone is not found again: its number is never used twice.
        if known.is_some() && !self.director.tracks().any(|(id, _)| id == track) {
            return Ok(());
        }
        let found = FOUND[usize::from(found) % FOUND.len()];
        self.tell(Event::TrackFound { track, found })?;
        self.measure_newest()
    }

    fn measure(&mut self, back: u8, engines: u8) -> Result<(), String> {
        let reach = self.tracks.len().min(IN_REACH);
        let track = match usize::from(back) % (reach + 1) {
            back if back < reach => self.tracks[self.tracks.len() - 1 - back],
            _ => TrackId(u64::MAX),
        };
        let engines = super::engines(engines);
        self.tell(Event::SourceMeasured { track, engines })
    }

    /// Where nothing goes without engines every track is measured as soon as it is there, and before its phase 1 ends: otherwise scripts would
    /// get nowhere.
    fn measure_at(&mut self, place: usize) -> Result<(), String> {
        if self.witness.plan().engines_only.is_empty() {
            return Ok(());
        }
        // One engine in each slot, of either size.
        let digits = (place % 8) as u8;
        let engines = super::engines(13 + (digits & 1) + 3 * (digits >> 1 & 1) + 9 * (digits >> 2));
        let Some(track) = self.tracks.get(place).copied() else {
            return Ok(());
        };
        self.tell(Event::SourceMeasured { track, engines })
    }

    fn measure_newest(&mut self) -> Result<(), String> {
        self.measure_at(self.tracks.len().saturating_sub(1))
    }

    /// Before a job is said to have ended.
    fn measure_before(&mut self, task: Task) -> Result<(), String> {
        let Task::Encode { track, .. } = task else {
            return Ok(());
        };
        let place = self.tracks.iter().position(|other| *other == track);
        place.map_or(Ok(()), |place| self.measure_at(place))
    }

    fn wait(&mut self, span: Span) -> Result<(), String> {
        let until = self.now + span;
        while let Some(at) = self.director.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.tell(Event::Timer)?;
        }
        self.now = until;
        Ok(())
    }

    fn settle(&mut self) -> Result<(), String> {
        for _ in 0..EVENTS_TO_REST_MAX {
            if self.director.has_ended() {
                return Ok(());
            }
            match (self.jobs.is_empty(), self.director.closing()) {
                (false, _) => self.end(0, Outcome::Done)?,
                (true, Some(closing)) => self.tell(Event::GateDrained { closing })?,
                (true, None) => return Ok(()),
            }
        }
        Err("jobs go on for ever".into())
    }

    fn rested(&self) -> Result<(), String> {
        if self.director.has_ended() {
            return Ok(());
        }
        let unfinished = self.director.unfinished();
        if !unfinished.is_empty() {
            return Err(format!("nothing is due, and there is {unfinished:?}"));
        }
        if let Some((_, state)) = self.director.seat().filter(|(_, state)| *state != "Live") {
            return Err(format!("nothing is due, and the session is {state}"));
        }
        self.witness.at_rest()
    }
}

fn hash(director: &Director) -> u64 {
    let mut hasher = DefaultHasher::new();
    director.canonical_hash(&mut hasher);
    hasher.finish()
}

fn mode_of(pick: u8) -> Mode {
    [Mode::Full, Mode::Plain, Mode::Vocals, Mode::Instruments][usize::from(pick) % 4]
}

/// Half of all numbers end well: only so do scripts get anywhere.
fn outcome_of(pick: u8) -> Outcome {
    const OTHERS: [Outcome; 8] = [
        Outcome::Failed(Failure::OutOfMemory),
        Outcome::Yielded { abandoned: true },
        Outcome::Yielded { abandoned: false },
        Outcome::Cancelled,
        Outcome::Failed(Failure::Internal),
        Outcome::Failed(Failure::StemExtractFailed),
        Outcome::Failed(Failure::DiskFull),
        Outcome::Failed(Failure::BadAudio),
    ];
    match pick {
        // A lost device ends everything: rare, so that much happens before it.
        255 => Outcome::Failed(Failure::DeviceLost),
        pick if pick % 2 == 0 => Outcome::Done,
        pick => OTHERS[usize::from(pick / 2) % OTHERS.len()],
    }
}
