//! The world: one queue of things to come, one clock, one director.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use greenroom_director::{
    ClientKey, ConnectionId, Director, Effect, Effects, Event, Failure, Found, Group, Groups, JobId, Limits, Moment,
    Need, Outcome, Plan, Policy, Span, Task, Times, TrackId, Uploads, Urgency,
};

use crate::{
    chance::Chance,
    clients::{Client, Ids, Stand},
    faults::Faults,
    shadow::Shadow,
};

/// Virtual time with faults, and without any: long enough for every deadline there is.
const FAULTY: Span = Span::seconds(120);
const HEALING: Span = Span::seconds(1_500);
const EVENTS_MAX: u64 = 200_000;

/// Something that broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An effect or a state that must never be.
    Safety(String),
    /// After the faults stopped, the pod did not come to rest.
    Liveness(String),
}

/// What a history was.
#[derive(Clone, Debug)]
pub struct History {
    /// Hash of all events and effects, in order.
    pub trace: u64,
    /// Events handled.
    pub events: u64,
    /// Times the pod ended and was started anew.
    pub restarts: u64,
    /// What broke, if anything.
    pub violation: Option<Violation>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Act(usize),
    JobEnds(JobId, Outcome),
    RipGoesOn(JobId),
    Drained(u64),
    Gone(ConnectionId),
    Whim,
}

/// A world with its director.
pub struct World {
    plan: Plan,
    director: Director,
    now: Moment,
    healing: bool,
    chance: Chance,
    faults: Faults,
    queue: BTreeMap<(Moment, u64), Thing>,
    sequence: u64,
    clients: Vec<Client>,
    ids: Ids,
    jobs: BTreeMap<JobId, Task>,
    rips: BTreeMap<TrackId, (u32, u32)>,
    hung: BTreeSet<JobId>,
    gone: BTreeSet<ConnectionId>,
    tracks: Vec<TrackId>,
    kept: Vec<TrackId>,
    ended: bool,
    shadow: Shadow,
    trace: DefaultHasher,
    events: u64,
    restarts: u64,
    /// Where asked for, every event and effect in words.
    pub log: Option<Vec<String>>,
}

impl World {
    /// The world of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::seeded(seed);
        let faults = Faults::of(&mut chance);
        let plan = plan(&mut chance);
        let clients = (0..chance.between(1, 6))
            .map(|_| Client::new(key(&mut chance)))
            .collect();
        Self {
            director: Director::new(plan.clone()),
            plan,
            now: Moment(0),
            healing: false,
            chance,
            faults,
            queue: BTreeMap::new(),
            sequence: 0,
            clients,
            ids: Ids::default(),
            jobs: BTreeMap::new(),
            rips: BTreeMap::new(),
            hung: BTreeSet::new(),
            gone: BTreeSet::new(),
            tracks: Vec::new(),
            kept: Vec::new(),
            ended: false,
            shadow: Shadow::default(),
            trace: DefaultHasher::new(),
            events: 0,
            restarts: 0,
            log: None,
        }
    }

    /// Lives through the faults and through the healing.
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
        for client in 0..self.clients.len() {
            let wait = Span(self.chance.between(0, 500_000));
            self.soon(wait, Thing::Act(client));
        }
        self.soon(Span::milliseconds(100), Thing::Whim);
        self.boot()?;
        self.until(Moment(0) + FAULTY)?;
        self.heal();
        self.until(self.now + HEALING)?;
        self.at_rest()
    }

    /// What the disk has: fixtures, and what a pod that keeps uploads kept.
    fn boot(&mut self) -> Result<(), Violation> {
        let mut found = Vec::new();
        for kind in [Found::Fixture, Found::FixtureWithStems] {
            if self.chance.permille(300) {
                found.push((self.ids.track(), kind));
            }
        }
        if self.plan.uploads == Uploads::Keep {
            const KEPT: [Found; 3] = [
                Found::UploadWithStems,
                Found::UploadOwingStems,
                Found::UploadWithoutStems,
            ];
            for track in std::mem::take(&mut self.kept) {
                found.push((
                    track,
                    self.chance.pick(&KEPT).copied().unwrap_or(Found::UploadOwingStems),
                ));
            }
        }
        for (track, found) in found {
            self.tracks.push(track);
            self.tell(Event::TrackFound { track, found })?;
        }
        Ok(())
    }

    /// Goes on until `end`: whatever is due next, thing or deadline.
    fn until(&mut self, end: Moment) -> Result<(), Violation> {
        loop {
            let thing = self.queue.keys().next().map(|(at, _)| *at);
            let deadline = self.director.next_deadline();
            let next = match (thing, deadline) {
                (None, None) => return Ok(()),
                (Some(thing), Some(deadline)) => thing.min(deadline),
                (Some(at), None) | (None, Some(at)) => at,
            };
            if next > end {
                self.now = end;
                return Ok(());
            }
            if self.events > EVENTS_MAX {
                return Err(Violation::Liveness(
                    "the history never ends: something goes round in circles".into(),
                ));
            }
            self.now = self.now.max(next);
            if thing == Some(next) {
                if let Some((_, thing)) = self.queue.pop_first() {
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
            Thing::Drained(closing) => self.tell(Event::GateDrained { closing }),
            Thing::Gone(connection) => self.go(connection),
            Thing::Whim => self.whim(),
        }
    }

    fn act(&mut self, number: usize) -> Result<(), Violation> {
        if self.healing {
            return Ok(());
        }
        let event = self.clients[number].act(&mut self.chance, &self.faults, &self.tracks, &mut self.ids);
        let wait = Span(self.chance.between(1_000, 3_000_000));
        self.soon(wait, Thing::Act(number));
        match event {
            Some(Event::ConnectionGone { connection }) => self.go(connection),
            Some(event) => self.tell(event),
            None => Ok(()),
        }
    }

    fn go(&mut self, connection: ConnectionId) -> Result<(), Violation> {
        if !self.gone.insert(connection) {
            return Ok(());
        }
        for client in self.clients.iter_mut().filter(|client| client.connection == connection) {
            client.stand = Stand::Away;
        }
        self.tell(Event::ConnectionGone { connection })
    }

    /// Things that nobody asked for.
    fn whim(&mut self) -> Result<(), Violation> {
        if self.healing {
            return Ok(());
        }
        let wait = Span(self.chance.between(10_000, 1_000_000));
        self.soon(wait, Thing::Whim);
        if self.chance.permille(self.faults.stale_events) {
            let job = JobId(self.chance.between(0, 40));
            if !self.jobs.contains_key(&job) {
                self.tell(Event::JobEnded {
                    job,
                    outcome: Outcome::Done,
                })?;
            }
            self.tell(Event::GateDrained { closing: 0 })?;
            self.tell(Event::Playing {
                connection: ConnectionId(0),
                wanted: true,
            })?;
        }
        if self.chance.permille(self.faults.foreign_memory) {
            let bytes = self.chance.between(0, 60);
            self.tell(Event::ForeignMemory { bytes })?;
        }
        if self.chance.permille(self.faults.clock_jumps) {
            self.now = self.now + Span::seconds(self.chance.between(1, 90));
            self.tell(Event::Timer)?;
        }
        if self.chance.permille(self.faults.device_lost) {
            self.tell(Event::DeviceLost)?;
        }
        if self.chance.permille(self.faults.shutdown) {
            self.tell(Event::ShutdownAsked)?;
        }
        Ok(())
    }

    fn end_job(&mut self, job: JobId, outcome: Outcome) -> Result<(), Violation> {
        let Some(task) = self.jobs.remove(&job) else {
            return Ok(());
        };
        self.shadow.ended(task, outcome);
        if let (Task::Save { track }, Outcome::Done) = (task, outcome) {
            self.tracks.push(track);
        }
        self.tell(Event::JobEnded { job, outcome })
    }

    /// One batch more.
    fn rip(&mut self, job: JobId) -> Result<(), Violation> {
        let Some(Task::Rip { track }) = self.jobs.get(&job).copied() else {
            return Ok(());
        };
        let (done, total) = *self.rips.entry(track).or_insert((0, 4));
        self.rips.insert(track, (done + 1, total));
        self.tell(Event::RipProgress {
            job,
            done: done + 1,
            total,
        })?;
        if done + 1 >= total {
            return self.end_job(job, Outcome::Done);
        }
        let batch = Span(self.chance.between(20_000, 400_000));
        self.soon(batch, Thing::RipGoesOn(job));
        Ok(())
    }

    /// Tells the director, looks at every effect, and carries it out.
    fn tell(&mut self, event: Event) -> Result<(), Violation> {
        self.events += 1;
        (self.now, &event).hash(&mut self.trace);
        if let Some(log) = &mut self.log {
            log.push(format!("{:>12} {event:?}", self.now.0));
        }
        let mut effects = Effects::new();
        self.director.handle(self.now, event, &mut effects);
        for effect in effects.drain() {
            effect.hash(&mut self.trace);
            if let Some(log) = &mut self.log {
                log.push(format!("{:>12}     {effect:?}", ""));
            }
            self.shadow.effect(&self.plan, &effect).map_err(Violation::Safety)?;
            self.carry_out(&effect);
        }
        if std::mem::take(&mut self.ended) {
            self.boot()
        } else {
            Ok(())
        }
    }

    fn carry_out(&mut self, effect: &Effect) {
        match effect {
            Effect::Proceed { connection } => self.proceed(*connection),
            Effect::Close { connection, .. }
            | Effect::Refuse { connection, .. }
            | Effect::UploadFailed { connection, .. } => self.closing(*connection),
            Effect::UploadOk(ack) => self.closing(ack.connection()),
            Effect::ForceClose { connection } => {
                let wait = Span(self.chance.between(0, 5_000));
                self.soon(wait, Thing::Gone(*connection));
            }
            Effect::Start { job, task } => self.start(*job, *task),
            Effect::Cancel { job, urgency } => self.cancel(*job, *urgency),
            Effect::GateClose { closing, .. } => {
                let wait = Span(self.chance.between(0, 30_000));
                self.soon(wait, Thing::Drained(*closing));
            }
            Effect::Forget { track } => self.tracks.retain(|other| other != track),
            Effect::Exit { .. } => self.restart(),
            _ => {}
        }
    }

    fn proceed(&mut self, connection: ConnectionId) {
        for client in self.clients.iter_mut().filter(|client| client.connection == connection) {
            if client.stand == Stand::Proceeding {
                client.stand = Stand::Body(client.intent());
            }
        }
    }

    fn closing(&mut self, connection: ConnectionId) {
        for client in self.clients.iter_mut().filter(|client| client.connection == connection) {
            client.stand = Stand::Closing;
        }
        if self.healing || !self.chance.permille(self.faults.client_wedged) {
            let wait = Span(self.chance.between(0, 100_000));
            self.soon(wait, Thing::Gone(connection));
        }
    }

    fn start(&mut self, job: JobId, task: Task) {
        self.jobs.insert(job, task);
        if !self.healing && self.chance.permille(self.faults.job_hangs) {
            self.hung.insert(job);
            return;
        }
        let outcome = self.outcome(task);
        let wait = Span(match task {
            Task::Restore { .. } | Task::Park { .. } => self.chance.between(300, 100_000),
            Task::Rip { .. } => self.chance.between(20_000, 400_000),
            _ => self.chance.between(500, 900_000),
        });
        if matches!(task, Task::Rip { .. }) && outcome == Outcome::Done {
            self.soon(wait, Thing::RipGoesOn(job));
        } else {
            self.soon(wait, Thing::JobEnds(job, outcome));
        }
    }

    fn outcome(&mut self, task: Task) -> Outcome {
        if self.healing {
            return Outcome::Done;
        }
        let (out_of_memory, fails, failure) = match task {
            Task::Restore { .. } => (self.faults.restore_out_of_memory, 0, Failure::Internal),
            Task::Park { .. } => (0, self.faults.park_fails, Failure::Internal),
            Task::Save { .. } | Task::SaveStems { .. } | Task::Wipe { .. } => {
                (0, self.faults.disk_fails, Failure::DiskFull)
            }
            Task::CloseStream { .. } => (0, 0, Failure::Internal),
            _ => (
                self.faults.compute_out_of_memory,
                self.faults.compute_fails,
                Failure::Internal,
            ),
        };
        if self.chance.permille(out_of_memory) {
            Outcome::Failed(Failure::OutOfMemory)
        } else if self.chance.permille(fails) {
            Outcome::Failed(failure)
        } else {
            Outcome::Done
        }
    }

    fn cancel(&mut self, job: JobId, urgency: Urgency) {
        if self.hung.contains(&job) {
            return;
        }
        let Some(task) = self.jobs.get(&job).copied() else {
            return;
        };
        let wait = Span(self.chance.between(0, 100_000));
        match task {
            Task::Rip { .. } if urgency == Urgency::Now => {
                self.soon(wait, Thing::JobEnds(job, Outcome::Yielded { abandoned: true }))
            }
            Task::Rip { .. } => self.soon(
                Span::milliseconds(400),
                Thing::JobEnds(job, Outcome::Yielded { abandoned: false }),
            ),
            // The cancel may come too late: then the job's own end is what counts.
            Task::Encode { .. } | Task::OpenStream { .. } | Task::SwapSource { .. } | Task::EncodePrompt { .. } => {
                self.soon(wait, Thing::JobEnds(job, Outcome::Cancelled));
            }
            _ => {}
        }
    }

    /// The process ended; the supervisor starts another.
    fn restart(&mut self) {
        self.restarts += 1;
        self.director = Director::new(self.plan.clone());
        self.queue
            .retain(|_, thing| matches!(thing, Thing::Act(_) | Thing::Whim));
        self.jobs.clear();
        self.hung.clear();
        self.rips.clear();
        self.kept = std::mem::take(&mut self.tracks);
        self.ended = true;
        self.shadow = Shadow::default();
        for client in &mut self.clients {
            client.stand = Stand::Away;
        }
        // Job numbers begin anew, connection and track numbers go on: the new process would too, its counters are its own.
    }

    /// All faults off: whoever is wedged or hung is let go.
    fn heal(&mut self) {
        self.healing = true;
        for client in &self.clients {
            if client.stand == Stand::Closing {
                self.sequence += 1;
                self.queue
                    .insert((self.now, self.sequence), Thing::Gone(client.connection));
            }
        }
        for job in std::mem::take(&mut self.hung) {
            self.soon(Span::milliseconds(1), Thing::JobEnds(job, Outcome::Cancelled));
        }
        self.soon(Span::milliseconds(2), Thing::Whim);
    }

    fn at_rest(&self) -> Result<(), Violation> {
        let unfinished = self.director.unfinished();
        if !unfinished.is_empty() {
            return Err(Violation::Liveness(format!(
                "still unfinished: {unfinished:?}; armed: {:?}",
                self.director.armed()
            )));
        }
        match self.director.seat() {
            Some((_, state)) if state != "Live" => Err(Violation::Liveness(format!("the seat is stuck: {state}"))),
            Some(_) if !self.director.owing().is_empty() => {
                let owing = self.director.owing();
                Err(Violation::Liveness(format!("stems are owed and never told: {owing:?}")))
            }
            _ => Ok(()),
        }
    }

    fn soon(&mut self, wait: Span, thing: Thing) {
        self.sequence += 1;
        self.queue.insert((self.now + wait, self.sequence), thing);
    }
}

fn key(chance: &mut Chance) -> Option<ClientKey> {
    if chance.permille(150) {
        None
    } else {
        Some(ClientKey(chance.between(1, 3)))
    }
}

/// Pods of every kind: with and without eager groups, roomy and tight, every policy.
fn plan(chance: &mut Chance) -> Plan {
    let eager = chance.permille(750);
    let need = |groups: &[Group]| {
        let groups = if eager { Groups::of(groups) } else { Groups::NONE };
        Need {
            groups,
            workspace_bytes: if eager { 1 } else { 0 },
        }
    };
    let weights = |bytes: u64| eager.then_some(bytes);
    let separator = chance.permille(900).then_some(5);
    let rip = Need {
        groups: if separator.is_some() {
            Groups::of(&[Group::Separator])
        } else {
            Groups::NONE
        },
        workspace_bytes: 1,
    };
    Plan {
        weights_bytes: [weights(30), weights(16), weights(11), weights(3), separator],
        needs: [
            need(&[Group::Vae, Group::Conditioner]),
            need(&[Group::TextEncoder, Group::Conditioner]),
            need(&[Group::TextEncoder, Group::Conditioner, Group::Vae]),
            need(&[Group::Dit, Group::Vae]),
            rip,
        ],
        budget_bytes: chance.between(40, 90),
        policy: match chance.between(0, 4) {
            0 => Policy::Never,
            1 => Policy::Auto {
                reserve_bytes: chance.between(1, 30),
            },
            _ => Policy::Always,
        },
        uploads: if chance.permille(300) {
            Uploads::Keep
        } else {
            Uploads::Wipe
        },
        limits: Limits {
            tracks: 6,
            ..Limits::default()
        },
        times: Times::default(),
    }
}
