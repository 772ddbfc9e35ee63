//! The world: one queue of things to come, one clock, one director, and everything around it.

mod jobs;
mod people;
mod rest;
mod weather;

use std::{
    collections::BTreeSet,
    hash::{Hash, Hasher},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use greenroom_check::Owing;
use greenroom_director::{
    Caller, ClientKey, ConnectionId, Director, Effect, Effects, Event, Found, JobId, Moment, Plan, Span, TrackId,
};

use crate::{
    chance::Chance,
    clients::{Client, Ids, Stand},
    device::Device,
    disk::Disk,
    faults::{Fault, Faults},
    marks::{Mark, Marks},
    onlooker::Onlooker,
    plans::{Built, build, plan},
    queue::{Queue, Thing},
    record::Record,
    script::{Deed, Script},
    shadow::Shadow,
    trace::Trace,
};
use jobs::Running;

/// Faults last so long at least, and until so many events have been handled; then everything heals.
const FAULTY: Span = Span::seconds(10);
const FAULTY_EVENTS: u64 = 240;
const FAULTY_MAX: Span = Span::seconds(3_600);
/// Without faults the pod must have come to rest after so long.
const CONVERGENCE: Span = Span::seconds(180);
/// So long after that nothing may stir that must not: every deadline there is has passed.
const HEALING: Span = Span::seconds(1_200);
const CALLS_MAX: u64 = 200_000;

/// Streams of chance that are apart from each other.
const PLAN: u64 = 1;
const JOBS: u64 = 2;
const WEATHER: u64 = 3;
const SOCKETS: u64 = 4;
const GATE: u64 = 5;
const MACHINE: u64 = 6;
const ENGINES: u64 = 7;
const ACTS: u64 = 16;
const RHYTHMS: u64 = 512;

static NOT_OF_THE_SEED: AtomicU64 = AtomicU64::new(0);

/// Something that broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An effect or a state that must never be.
    Safety(String),
    /// The pod did not come to rest, or rests while something is owed.
    Liveness(String),
    /// Bytes, files or connections that nobody accounts for.
    Leak(String),
}

/// What a history was.
#[derive(Clone, Debug)]
pub struct History {
    /// Hash of all events and effects, in order.
    pub trace: u64,
    /// Events handled that were neither no-ops nor bare timers.
    pub events: u64,
    /// Times the pod ended and was started anew.
    pub restarts: u64,
    /// What broke, if anything.
    pub violation: Option<Violation>,
}

/// A world with its director.
pub struct World {
    seed: u64,
    script: Script,
    plan: Plan,
    built: Built,
    director: Director,
    now: Moment,
    /// How far behind the clock reads that the director is shown next, and the latest it was shown.
    clock_behind: Span,
    shown: Moment,
    healing: bool,
    faults: Faults,
    queue: Queue,
    clients: Vec<Client>,
    ids: Ids,
    jobs: Vec<Running>,
    jobs_begun: u64,
    /// The job that may call engines, before it starts.
    lent: Option<JobId>,
    /// Batches done of rips that are not over.
    rips: Vec<(TrackId, u32)>,
    device: Device,
    disk: Disk,
    foreign: u64,
    /// A closing of the gate that the live thread never answers.
    hung_gate: Option<u64>,
    gone: BTreeSet<ConnectionId>,
    /// Since when a connection acknowledges nothing.
    stuck: Vec<(ConnectionId, Moment)>,
    tracks: Vec<TrackId>,
    fixtures: Vec<(TrackId, Found)>,
    whims: u32,
    ended: Option<End>,
    shadow: Shadow,
    owing: Owing,
    onlooker: Onlooker,
    pub(crate) marks: Marks,
    effects: Effects,
    trace: Trace,
    calls: u64,
    events: u64,
    restarts: u64,
    /// What breaks the world on purpose, for the tests of the tests.
    tamper: Option<Tamper>,
    /// Where asked for, everything in words and figures.
    pub(crate) record: Option<Record>,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By itself, or killed: the disk keeps what was written.
    Process,
    /// With its machine.
    Machine,
}

/// A driver that does something else than it was told: every gate of the simulation must be able to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Tamper {
    /// Every effect is hashed together with a number that no seed knows, as an address or a clock would be.
    Nondeterminism,
    /// A job's end is never told.
    LosesAJob,
    /// Workspaces are never given back.
    KeepsMemory,
    /// A close 4001 is told twice.
    SaysTwice,
    /// It panics when a session is ready.
    Panics,
}

impl std::fmt::Display for Tamper {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Nondeterminism => "nondeterminism",
            Self::LosesAJob => "loses-a-job",
            Self::KeepsMemory => "keeps-memory",
            Self::SaysTwice => "says-twice",
            Self::Panics => "panics",
        })
    }
}

impl World {
    /// The world of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::of(seed, &Script::default())
    }

    /// The world of a seed, with something left out.
    #[must_use]
    pub fn of(seed: u64, script: &Script) -> Self {
        let mut chance = Chance::apart(seed, PLAN, 0);
        let mut faults = Faults::of(&mut chance);
        for fault in &script.without {
            faults.remove(*fault);
        }
        let mut plan = plan(&mut chance);
        let built = build(&mut plan, &mut Chance::apart(seed, ENGINES, 0));
        let mut ids = Ids::default();
        let kinds = [Found::Fixture, Found::FixtureWithStems];
        let fixtures = kinds
            .into_iter()
            .filter(|_| chance.permille(300))
            .map(|kind| (ids.track(), kind))
            .collect();
        let clients = clients(&mut chance, &faults);
        Self {
            seed,
            script: script.clone(),
            director: Director::new(plan.clone()),
            now: Moment(0),
            clock_behind: Span(0),
            shown: Moment(0),
            healing: false,
            faults,
            queue: Queue::default(),
            clients,
            ids,
            jobs: Vec::with_capacity(8),
            jobs_begun: 0,
            lent: None,
            rips: Vec::new(),
            device: Device::new(&plan, &built),
            built,
            disk: Disk::default(),
            foreign: 0,
            hung_gate: None,
            gone: BTreeSet::new(),
            stuck: Vec::new(),
            tracks: Vec::new(),
            fixtures,
            whims: 0,
            ended: None,
            shadow: Shadow::default(),
            owing: Owing::new(plan.uploads),
            onlooker: Onlooker::default(),
            marks: Marks::default(),
            effects: Effects::new(),
            trace: Trace::default(),
            calls: 0,
            events: 0,
            restarts: 0,
            tamper: None,
            record: None,
            plan,
        }
    }

    /// Breaks the world on purpose.
    #[must_use]
    pub fn tampered(mut self, tamper: Tamper) -> Self {
        self.tamper = Some(tamper);
        self
    }

    /// Writes down what `record` asks for.
    #[must_use]
    pub fn recorded(mut self, record: Record) -> Self {
        self.record = Some(record);
        self
    }

    /// What was written down.
    pub fn take_record(&mut self) -> Record {
        self.record.take().unwrap_or_default()
    }

    /// Lives through the faults, the healing, and a visit.
    pub fn run(&mut self) -> History {
        let violation = self.live().err();
        History {
            trace: self.trace.finish(),
            events: self.events,
            restarts: self.restarts,
            violation,
        }
    }

    fn live(&mut self) -> Result<(), Violation> {
        for client in 0..self.clients.len() as u8 {
            let wait = self.rhythm(client);
            self.soon(wait, Thing::Act(client));
        }
        self.soon(Span::milliseconds(100), Thing::Whim);
        self.boot()?;
        self.until(Moment(0) + FAULTY)?;
        while self.events < FAULTY_EVENTS && self.now < Moment(0) + FAULTY_MAX {
            self.until(self.now + Span::seconds(1))?;
        }
        self.heal()?;
        self.until(self.now + CONVERGENCE)?;
        self.at_rest("after the faults")?;
        self.until(self.now + HEALING)?;
        self.at_rest("after every deadline")?;
        self.visit()
    }

    /// What the disk has: fixtures, and what a pod that keeps uploads kept.
    fn boot(&mut self) -> Result<(), Violation> {
        let shadow = std::mem::take(&mut self.shadow);
        let found = self
            .disk
            .recover(self.plan.uploads, |track| shadow.has_forgotten(track), &mut self.marks)
            .map_err(Violation::Safety)?;
        for (track, found) in self.fixtures.clone().into_iter().chain(found) {
            self.tracks.push(track);
            if found == Found::UploadOwingStems {
                self.onlooker.found_owing(track);
            }
            self.tell(Event::TrackFound { track, found })?;
            self.measure(track)?;
        }
        Ok(())
    }

    /// Goes on until `end`: whatever is due next, thing or deadline.
    fn until(&mut self, end: Moment) -> Result<(), Violation> {
        loop {
            let thing = self.queue.next_at();
            let deadline = self.director.next_deadline();
            let next = match (thing, deadline) {
                (None, None) => {
                    self.now = end;
                    return self.not_stranded();
                }
                (Some(thing), Some(deadline)) => thing.min(deadline),
                (Some(at), None) | (None, Some(at)) => at,
            };
            if deadline.is_none() {
                self.not_stranded()?;
            }
            if next > end {
                self.now = self.now.max(end);
                return Ok(());
            }
            if self.calls > CALLS_MAX {
                return Err(Violation::Liveness(
                    "the history never ends: something goes round in circles".into(),
                ));
            }
            self.now = self.now.max(next);
            if thing == Some(next) {
                if let Some(thing) = self.queue.pop() {
                    self.happen(thing)?;
                }
            } else {
                self.tell(Event::Timer)?;
            }
        }
    }

    fn happen(&mut self, thing: Thing) -> Result<(), Violation> {
        match thing {
            Thing::Act(client) => self.act(client),
            Thing::JobEnds(job, outcome) => self.end_job(job, outcome),
            Thing::RipGoesOn(job) => self.rip(job),
            Thing::DiskGoesOn(job) => self.disk_step(job),
            Thing::Drained(closing) => {
                self.device.close_gate();
                self.shadow.drained();
                self.tell(Event::GateDrained { closing })
            }
            Thing::Gone(connection) => self.go(connection),
            Thing::Stuck(connection) => self.get_stuck(connection),
            Thing::Moves(connection) => self.move_again(connection),
            Thing::TickFailed(connection) => self.tick_failed(connection),
            Thing::FreesDone => {
                self.device.complete_frees();
                Ok(())
            }
            Thing::ForeignSeen => self.tell(Event::ForeignMemory { bytes: self.foreign }),
            Thing::LossSeen => self.tell(Event::DeviceLost),
            Thing::Sigterm => self.tell(Event::ShutdownAsked),
            Thing::DiskHeals => {
                self.disk.trouble = None;
                Ok(())
            }
            Thing::Whim => self.whim(),
        }
    }

    /// Tells the director, looks at every effect, and carries it out.
    fn tell(&mut self, event: Event) -> Result<(), Violation> {
        let shown = Moment(self.now.0.saturating_sub(std::mem::take(&mut self.clock_behind).0));
        self.shown = self.shown.max(shown);
        (shown, &event).hash(&mut self.trace);
        if let Some(record) = &mut self.record {
            record.event(shown, &event);
        }
        // Of a track that is not there yet nobody takes note.
        let nobodys = |track: &TrackId| !self.director.tracks().any(|(id, _)| id == *track);
        if !matches!(&event, Event::SourceMeasured { track, .. } if nobodys(track)) {
            self.shadow.event(&event);
        }
        self.onlooker.event(self.now, &self.plan, &event, &mut self.marks);
        let bare = event == Event::Timer;
        let stale = self.director.counters().stale;
        let mut effects = std::mem::take(&mut self.effects);
        self.owing.before(&self.director);
        self.director.handle(shown, event, &mut effects);
        self.calls += 1;
        self.events += u64::from(!bare && self.director.counters().stale == stale);
        let mut seen = Ok(());
        for effect in effects.drain() {
            effect.hash(&mut self.trace);
            if let Some(record) = &mut self.record {
                record.effect(self.now, &effect);
            }
            seen = seen.and_then(|()| self.take_on(&effect));
        }
        self.effects = effects;
        seen?;
        if let Some(end) = self.ended.take() {
            return self.restart(end);
        }
        if self.director.owes_rip_a_turn() {
            self.marks.hit(Mark::RipOwedItsTurn);
        }
        self.owing.after(&self.director).map_err(Violation::Safety)?;
        self.account()
    }

    fn take_on(&mut self, effect: &Effect) -> Result<(), Violation> {
        self.shadow.effect(&self.plan, effect).map_err(Violation::Safety)?;
        self.owing.saw(effect).map_err(Violation::Safety)?;
        if self.tamper == Some(Tamper::SaysTwice) && matches!(effect, Effect::Close { .. }) {
            self.shadow.effect(&self.plan, effect).map_err(Violation::Safety)?;
        }
        if self.tamper == Some(Tamper::Nondeterminism) {
            NOT_OF_THE_SEED.fetch_add(1, Relaxed).hash(&mut self.trace);
        }
        self.onlooker.effect(effect, &mut self.marks);
        self.carry_out(effect)
    }

    fn carry_out(&mut self, effect: &Effect) -> Result<(), Violation> {
        match effect {
            Effect::Proceed { connection } => self.proceed(*connection),
            Effect::Close { connection, code } => self.close(*connection, *code)?,
            Effect::Refuse { connection, .. } | Effect::UploadFailed { connection, .. } => self.closing(*connection),
            Effect::UploadOk(ack) => self.closing(ack.connection()),
            Effect::ForceClose { connection } => {
                let wait = Span(self.chance(SOCKETS, connection.0).between(0, 5_000));
                self.soon(wait, Thing::Gone(*connection));
            }
            Effect::Lend {
                to: Caller::Job(job), ..
            } => self.lent = Some(*job),
            Effect::Start { job, task } => self.start(*job, *task)?,
            Effect::Cancel { job, urgency } => self.cancel(*job, *urgency),
            Effect::GateOpen { connection } => self.open_gate(*connection)?,
            Effect::GateClose { closing, .. } => self.close_gate(*closing),
            Effect::SessionReady { connection, .. } => {
                assert!(
                    self.tamper != Some(Tamper::Panics),
                    "the driver was tampered with and panics"
                );
                self.ready(*connection);
            }
            Effect::Forget { track } => self.tracks.retain(|other| other != track),
            Effect::Exit { .. } => self.ended = Some(End::Process),
            _ => {}
        }
        Ok(())
    }

    /// Tells how long a track is, and what serves it.
    fn measure(&mut self, track: TrackId) -> Result<(), Violation> {
        if self.built.all().next().is_none() {
            return Ok(());
        }
        let engines = self.built.serving(track.0);
        self.tell(Event::SourceMeasured { track, engines })
    }

    fn chance(&self, kind: u64, number: u64) -> Chance {
        Chance::apart(self.seed, kind, number)
    }

    fn strikes(&self, chance: &mut Chance, fault: Fault) -> bool {
        self.strikes_more(chance, fault, 1)
    }

    fn strikes_more(&self, chance: &mut Chance, fault: Fault, times: u64) -> bool {
        !self.healing && chance.permille(self.faults.weight(fault) * times)
    }

    fn soon(&mut self, wait: Span, thing: Thing) {
        self.queue.add(self.now + wait, thing);
    }

    /// Whether a deed of this history is done, as far as the script says; noted where asked for.
    fn does(&mut self, deed: Deed) -> bool {
        let does = self.script.does(deed);
        if does && let Some(record) = &mut self.record {
            record.deed(deed);
        }
        does
    }

    /// The pod and who comes to it, in a line.
    #[must_use]
    pub fn describe(&self) -> String {
        let groups: Vec<String> = greenroom_director::Group::ALL
            .into_iter()
            .filter(|group| self.plan.has(*group))
            .map(|group| format!("{} {}", group.name(), self.plan.weights(group)))
            .collect();
        format!(
            "{} clients; groups: {}; budget {}; policy {:?}; uploads {:?}",
            self.clients.len(),
            groups.join(", "),
            self.plan.budget_bytes,
            self.plan.policy,
            self.plan.uploads
        )
    }

    /// How many clients there are.
    #[must_use]
    pub fn clients_count(&self) -> u8 {
        self.clients.len() as u8
    }

    /// The fault classes of this history.
    pub fn faults(&self) -> impl Iterator<Item = Fault> + '_ {
        self.faults.classes()
    }
}

fn clients(chance: &mut Chance, faults: &Faults) -> Vec<Client> {
    let crowd = if faults.weight(Fault::Storm) > 0 { 10 } else { 6 };
    let mut clients: Vec<Client> = Vec::new();
    for number in 0..chance.between(1, crowd) {
        let own = if chance.permille(150) {
            None
        } else {
            Some(ClientKey(chance.between(1, 4)))
        };
        let doubles = chance.permille(faults.weight(Fault::DoubledTab));
        clients.push(match clients.last() {
            Some(first) if doubles => Client::new(first.key, first.rhythm),
            _ => Client::new(own, number),
        });
    }
    clients
}
