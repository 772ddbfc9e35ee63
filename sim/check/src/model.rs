//! A small world as stateright sees it: what can happen next, and what comes of it.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
};

use greenroom_director::{
    ClientKey, ConnectionId, Director, Effects, Event, Intent, JobId, Moment, Outcome, ReferenceKind, Source, Stand,
    Task, TrackId, Urgency, coverage,
};
use stateright::{Model, Property};

use crate::{
    onlooker::{Before, Onlooker},
    worlds::Setting,
};

/// Batches of a rip.
const BATCHES: u32 = 2;

/// Whose doing a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A client asks for something, or comes or goes.
    Client,
    /// The pod does what it is asked: jobs end well, sockets that are told to close do, deadlines pass.
    System,
    /// The same, and something that was owed is nearer.
    Progress,
    /// Something goes wrong.
    Fault,
}

impl Kind {
    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::System => "system",
            Self::Progress => "progress",
            Self::Fault => "fault",
        }
    }
}

/// What a step waits for: whoever waits for ever for something that could always have happened was not treated fairly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Awaits {
    Live,
    Work,
    Stage,
    Disk,
    Gate,
    Socket,
    Time,
    Nobody,
}

impl Awaits {
    fn task(task: Task) -> Self {
        match task {
            Task::Encode { .. } | Task::Rip { .. } | Task::EncodeStems { .. } => Self::Work,
            Task::OpenStream { .. }
            | Task::SwapSource { .. }
            | Task::EncodePrompt { .. }
            | Task::Reference { .. }
            | Task::CloseStream { .. } => Self::Live,
            Task::Restore { .. } | Task::Park { .. } | Task::LoadEngine { .. } | Task::UnloadEngine { .. } => {
                Self::Stage
            }
            Task::Save { .. } | Task::SaveStems { .. } | Task::Wipe { .. } => Self::Disk,
        }
    }

    fn of(event: &Event, director: &Director) -> Self {
        match event {
            Event::JobEnded { job, .. } | Event::RipProgress { job, .. } => {
                let task = director.jobs().find(|(id, ..)| id == job).map(|(_, task, _)| task);
                task.map_or(Self::Nobody, Self::task)
            }
            Event::GateDrained { .. } => Self::Gate,
            Event::ConnectionGone { .. } => Self::Socket,
            Event::Timer => Self::Time,
            _ => Self::Nobody,
        }
    }

    /// As one bit of a set.
    pub(super) fn bit(self) -> u8 {
        match self {
            Self::Nobody => 0,
            awaited => 1 << awaited as u8,
        }
    }
}

/// A step: one event, or several that nothing comes between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What happens.
    pub events: Vec<Event>,
    /// Whose doing it is.
    pub kind: Kind,
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:<8}", self.kind.name())?;
        self.events.iter().try_for_each(|event| write!(out, " {event:?}"))
    }
}

/// A director with what an onlooker saw of it.
#[derive(Debug)]
pub struct State {
    director: Director,
    onlooker: Onlooker,
    ids: Ids,
    hash: u64,
    /// What was wrong with the step that led here.
    pub broken: Option<String>,
}

/// The numbers that the driver gives next.
#[derive(Clone, Copy, Debug)]
struct Ids {
    connection: u64,
    track: u64,
}

impl Clone for State {
    fn clone(&self) -> Self {
        Self {
            director: self.director.fork(),
            onlooker: self.onlooker.clone(),
            broken: self.broken.clone(),
            ..*self
        }
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.hash);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

/// What is kept of the walk.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Where it began.
    pub(super) start: u64,
    /// Whether the pod could stay where it began.
    pub(super) start_rests: bool,
    pub(super) edges: Vec<Edge>,
    /// Cells of the machines that were walked.
    pub(super) cells: coverage::Walked,
}

/// A step from one state to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) kind: Kind,
    pub(super) awaits: Awaits,
    /// Whether the pod could stay where the step leads.
    pub(super) to_rests: bool,
}

const SHARDS: usize = 16;

/// The record under construction: several threads write, each state into its own shard.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder(Arc<[Mutex<Record>; SHARDS]>);

impl Recorder {
    fn with(&self, state: u64, write: impl FnOnce(&mut Record)) {
        let mut shard = self.0[state as usize % SHARDS]
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        write(&mut shard);
    }

    /// Everything that was recorded, together.
    pub(super) fn take(&self) -> Record {
        let mut all = Record::default();
        for shard in self.0.iter() {
            let shard = std::mem::take(&mut *shard.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
            all.start = all.start.max(shard.start);
            all.start_rests |= shard.start_rests;
            all.edges.extend(shard.edges);
            all.cells = all.cells.and(shard.cells);
        }
        all
    }
}

/// One world.
#[derive(Debug)]
pub struct PodModel {
    setting: Setting,
    recorder: Recorder,
    /// A state to find the way to.
    wanted: Option<u64>,
}

impl PodModel {
    /// A pod in this setting.
    #[must_use]
    pub fn new(setting: Setting) -> Self {
        Self {
            setting,
            recorder: Recorder::default(),
            wanted: None,
        }
    }

    /// The same, in search of one state.
    pub(super) fn looking_for(setting: Setting, state: u64) -> Self {
        Self {
            wanted: Some(state),
            ..Self::new(setting)
        }
    }

    pub(super) fn record(&self) -> Recorder {
        self.recorder.clone()
    }

    fn connection_steps(&self, state: &State, steps: &mut Vec<Action>) {
        let setting = &self.setting;
        let open = state.director.connections().count();
        if open < setting.connections && !state.director.has_ended() {
            let connection = ConnectionId(state.ids.connection);
            steps.push(client(Event::HandshakeOpened { connection }));
        }
        for (connection, stand) in state.director.connections() {
            match stand {
                Stand::Greeting => {
                    let declare = |intent| {
                        client(Event::HandshakeDeclared {
                            connection,
                            intent,
                            bytes: 1,
                        })
                    };
                    steps.extend(setting.intents.iter().map(|intent| declare(*intent)));
                }
                Stand::Body(Intent::Session) => self.session_asks(state, connection, steps),
                Stand::Body(Intent::Upload) => {
                    if self.has_room_for_track(state) {
                        let track = TrackId(state.ids.track);
                        steps.push(client(Event::UploadAsked { connection, track }));
                    }
                }
                Stand::Seated | Stand::Uploading | Stand::Closing => {}
            }
            let kind = if stand == Stand::Closing {
                Kind::System
            } else {
                Kind::Client
            };
            steps.push(step(Event::ConnectionGone { connection }, kind));
        }
    }

    fn has_room_for_track(&self, state: &State) -> bool {
        state.director.tracks().count() < self.setting.tracks
    }

    fn sources(&self, state: &State) -> Vec<Source> {
        let mut sources: Vec<Source> = state.director.tracks().map(|(track, _)| Source::Track(track)).collect();
        if self.setting.sends_source && self.has_room_for_track(state) {
            sources.push(Source::Sent(TrackId(state.ids.track)));
        }
        sources
    }

    fn session_asks(&self, state: &State, connection: ConnectionId, steps: &mut Vec<Action>) {
        for client_key in &self.setting.clients {
            for source in self.sources(state) {
                for mode in &self.setting.modes {
                    steps.push(client(Event::SessionAsked {
                        connection,
                        client: client_key.map(ClientKey),
                        source,
                        mode: *mode,
                    }));
                }
            }
        }
    }

    fn session_steps(&self, state: &State, steps: &mut Vec<Action>) {
        let Some(live) = state.director.live() else { return };
        let connection = live.connection;
        if live.swaps < self.setting.swaps {
            for source in self.sources(state) {
                for mode in &self.setting.modes {
                    steps.push(client(Event::SwapAsked {
                        connection,
                        source,
                        mode: *mode,
                    }));
                }
            }
        }
        if live.references < self.setting.references {
            let sources = self.sources(state).into_iter().map(Some).chain([None]);
            for source in sources {
                steps.push(client(Event::ReferenceAsked {
                    connection,
                    kind: ReferenceKind::Timbre,
                    source,
                }));
            }
        }
        if self.setting.prompts {
            steps.push(client(Event::PromptAsked { connection }));
        }
        if self.setting.plays {
            let wanted = !live.is_wanted;
            steps.push(client(Event::Playing { connection, wanted }));
        }
        if self.setting.stalls {
            steps.push(step(Event::ClientStuck { connection }, Kind::Fault));
            steps.push(client(Event::ClientMoving { connection }));
        }
    }

    fn job_steps(&self, state: &State, steps: &mut Vec<Action>) {
        for (job, task, cancelled) in state.director.jobs() {
            match task {
                Task::Rip { track } => rip_steps(state, job, track, cancelled, steps),
                _ => steps.push(ends(job, Outcome::Done, Kind::System)),
            }
            let may_cancel = cancelled.is_some() && !matches!(task, Task::Rip { .. } | Task::CloseStream { .. });
            if may_cancel {
                steps.push(ends(job, Outcome::Cancelled, Kind::System));
            }
            for failure in self.setting.failures(task) {
                steps.push(ends(job, Outcome::Failed(*failure), Kind::Fault));
            }
        }
        if let Some(closing) = state.director.closing() {
            steps.push(step(Event::GateDrained { closing }, Kind::System));
        }
    }

    fn house_steps(&self, state: &State, steps: &mut Vec<Action>) {
        if state.director.next_deadline().is_some() {
            let hangs = state.director.awaits_job();
            if !hangs {
                steps.push(step(Event::Timer, Kind::System));
            } else if self.setting.hangs {
                steps.push(step(Event::Timer, Kind::Fault));
            }
        }
        if self.setting.device_lost && !state.director.is_ending() {
            steps.push(step(Event::DeviceLost, Kind::Fault));
        }
        if self.setting.shutdown {
            steps.push(client(Event::ShutdownAsked));
        }
        for bytes in &self.setting.foreign_bytes {
            steps.push(step(Event::ForeignMemory { bytes: *bytes }, Kind::Fault));
        }
        if self.setting.stale {
            let job = JobId(u64::MAX);
            steps.push(ends(job, Outcome::Done, Kind::Fault));
            steps.push(step(Event::GateDrained { closing: u64::MAX }, Kind::Fault));
        }
    }

    fn after(&self, before: &State, action: &Action) -> State {
        let mut state = before.clone();
        let lived = catch_unwind(AssertUnwindSafe(|| {
            for event in &action.events {
                state.tell(&self.setting, event.clone())?;
            }
            Ok(())
        }));
        match lived {
            Ok(result) => state.broken = result.err(),
            // A core that panicked may be in the middle of a step: only what was before it can be looked at.
            Err(panic) => {
                state = before.clone();
                state.broken = Some(crate::words_of(panic.as_ref()));
            }
        }
        state.hash = state.canonical();
        state
    }
}

fn step(event: Event, kind: Kind) -> Action {
    Action {
        events: vec![event],
        kind,
    }
}

fn client(event: Event) -> Action {
    step(event, Kind::Client)
}

fn ends(job: JobId, outcome: Outcome, kind: Kind) -> Action {
    step(Event::JobEnded { job, outcome }, kind)
}

/// A rip gets on, gives way as it is asked to, or comes to its end before it has looked.
fn rip_steps(state: &State, job: JobId, track: TrackId, cancelled: Option<Urgency>, steps: &mut Vec<Action>) {
    let rip = state
        .director
        .tracks()
        .find(|(id, _)| *id == track)
        .and_then(|(_, view)| view.rip);
    let done = rip.map_or(0, |rip| rip.progress().0);
    let gives_way_after = cancelled == Some(Urgency::AfterBatch) && state.onlooker.has_done_batch();
    if rip.is_some() && done < BATCHES && !gives_way_after {
        let progress = Event::RipProgress {
            job,
            done: done + 1,
            total: BATCHES,
        };
        steps.push(step(progress, Kind::Progress));
    }
    if done >= BATCHES {
        steps.push(ends(job, Outcome::Done, Kind::Progress));
        return;
    }
    let abandoned = cancelled == Some(Urgency::Now);
    if abandoned || gives_way_after {
        steps.push(ends(job, Outcome::Yielded { abandoned }, Kind::System));
    }
}

impl State {
    fn tell(&mut self, setting: &Setting, event: Event) -> Result<(), String> {
        let now = match event {
            Event::Timer => self.director.next_deadline().unwrap_or_default(),
            _ => Moment::default(),
        };
        self.ids.saw(&event);
        self.onlooker.told(&event);
        let mut effects = Effects::new();
        let mut before = Before::of(&self.director, &event, setting.plan.uploads);
        if let Event::JobEnded { job, outcome } = event
            && let Some((_, task, _)) = self.director.jobs().find(|(id, ..)| *id == job)
        {
            self.onlooker.ended(job, task, outcome);
        }
        if let Event::RipProgress { .. } = event {
            self.onlooker.progressed();
        }
        if let Event::GateDrained { closing } = event {
            self.onlooker.drained(closing);
        }
        self.director.handle(now, event, &mut effects);
        for effect in effects.drain() {
            self.onlooker.saw(&setting.plan, &mut before, &effect)?;
        }
        before.answered_as_owed(&self.director)?;
        self.onlooker.compare(&self.director)
    }

    fn canonical(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.director.canonical_hash(&mut hasher);
        self.onlooker.hash(&mut hasher);
        self.broken.is_some().hash(&mut hasher);
        hasher.finish()
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// Whether it is the state of that hash.
    pub(super) fn is(&self, hash: u64) -> bool {
        self.hash == hash
    }

    /// Whether the pod can stay like this: nothing is owed, nothing is under way.
    fn rests(&self) -> bool {
        let director = &self.director;
        let seat = director.seat();
        let settled = seat.is_none_or(|(_, state)| state == "Live");
        let waiting = director.live().is_some_and(|live| live.swaps > 0 || live.is_prompting);
        director.has_ended()
            || (settled
                && !waiting
                && director.unfinished().is_empty()
                && (seat.is_none() || director.owing().is_empty())
                && director.closing().is_none())
    }
}

impl Ids {
    fn saw(&mut self, event: &Event) {
        match event {
            Event::HandshakeOpened { connection } => self.connection = self.connection.max(connection.0 + 1),
            Event::UploadAsked { track, .. }
            | Event::SessionAsked {
                source: Source::Sent(track),
                ..
            }
            | Event::SwapAsked {
                source: Source::Sent(track),
                ..
            }
            | Event::ReferenceAsked {
                source: Some(Source::Sent(track)),
                ..
            }
            | Event::TrackFound { track, .. } => self.track = self.track.max(track.0 + 1),
            _ => {}
        }
    }
}

impl Model for PodModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State {
            director: Director::new(self.setting.plan.clone()),
            onlooker: Onlooker::default(),
            ids: Ids {
                connection: 1,
                track: 1,
            },
            hash: 0,
            broken: None,
        };
        for (place, found) in self.setting.found.iter().enumerate() {
            let track = TrackId(state.ids.track);
            let found = Event::TrackFound { track, found: *found };
            let engines = self.setting.measured.get(place).copied();
            let measured = engines.map(|engines| Event::SourceMeasured { track, engines });
            for event in [Some(found), measured].into_iter().flatten() {
                state.broken = state.tell(&self.setting, event).err();
            }
        }
        state.hash = state.canonical();
        self.recorder.with(state.hash, |record| {
            record.start = state.hash;
            record.start_rests = state.rests();
        });
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() || state.director.has_ended() {
            return;
        }
        self.connection_steps(state, actions);
        self.session_steps(state, actions);
        self.job_steps(state, actions);
        self.house_steps(state, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let after = self.after(before, &action);
        let cells = coverage::Walked::take();
        self.recorder.with(before.hash, |record| {
            record.edges.push(Edge {
                from: before.hash,
                to: after.hash,
                kind: action.kind,
                awaits: action
                    .events
                    .first()
                    .map_or(Awaits::Nobody, |event| Awaits::of(event, &before.director)),
                to_rests: after.rests(),
            });
            record.cells = record.cells.and(cells);
        });
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(
            "every invariant holds",
            |model: &Self, state: &State| state.broken.is_none() && model.wanted != Some(state.hash),
        )]
    }
}
