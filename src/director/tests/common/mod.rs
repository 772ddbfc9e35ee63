//! A driver that does every job at once and well, unless a test holds it back.

#![allow(dead_code, reason = "every test file uses its own part")]

use std::collections::BTreeSet;

use greenroom_director::{
    ClientKey, ConnectionId, Director, Effect, Effects, Event, Failure, Group, Groups, Intent, JobId, Limits, Mode,
    Moment, Need, Outcome, Plan, Policy, Source, Span, Task, Times, TrackId, Uploads,
};

/// A pod whose groups weigh what the real ones do, scaled down to units.
pub(crate) fn weighted_plan() -> Plan {
    let need = |groups: &[Group]| Need {
        groups: Groups::of(groups),
        workspace_bytes: 1,
    };
    Plan {
        weights_bytes: [Some(30), Some(16), Some(11), Some(3), Some(5)],
        needs: [
            need(&[Group::Vae, Group::Conditioner]),
            need(&[Group::TextEncoder, Group::Conditioner]),
            need(&[Group::TextEncoder, Group::Conditioner, Group::Vae]),
            need(&[Group::Dit, Group::Vae]),
            need(&[Group::Separator]),
        ],
        engines_only: greenroom_director::Components::NONE,
        budget_bytes: 80,
        keeps_stems: false,
        policy: Policy::Always,
        uploads: Uploads::Wipe,
        limits: Limits::default(),
        times: Times::default(),
    }
}

/// A pod like the embedded default: no eager group, one small separator.
pub(crate) fn spectral_plan() -> Plan {
    let mut plan = weighted_plan();
    plan.weights_bytes = [None, None, None, None, Some(5)];
    plan.needs = [Need::default(); 5];
    plan.needs[4] = Need {
        groups: Groups::of(&[Group::Separator]),
        workspace_bytes: 1,
    };
    plan
}

/// The same, with a generator that keeps something of each stem.
pub(crate) fn keeping_plan() -> Plan {
    Plan {
        keeps_stems: true,
        ..weighted_plan()
    }
}

/// The director, its clock, and what it asked for.
pub(crate) struct Pod {
    pub(crate) director: Director,
    pub(crate) now: Moment,
    pub(crate) said: Vec<String>,
    pub(crate) held: BTreeSet<&'static str>,
    pub(crate) pending: Vec<(JobId, Task)>,
    pub(crate) closings: Vec<u64>,
    pub(crate) obeys_gate: bool,
    next: u64,
}

impl Pod {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            director: Director::new(plan),
            now: Moment(0),
            said: Vec::new(),
            held: BTreeSet::new(),
            pending: Vec::new(),
            closings: Vec::new(),
            obeys_gate: true,
            next: 0,
        }
    }

    /// Leaves jobs of this kind unfinished until `finish`.
    pub(crate) fn hold(&mut self, kind: &'static str) {
        self.held.insert(kind);
    }

    pub(crate) fn event(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut effects = Effects::new();
            self.director.handle(self.now, event, &mut effects);
            for effect in effects.drain() {
                match &effect {
                    Effect::Start { job, task } => {
                        self.said.push(format!("start {task:?}"));
                        if self.held.contains(kind(task)) {
                            self.pending.push((*job, *task));
                        } else {
                            events.insert(
                                0,
                                Event::JobEnded {
                                    job: *job,
                                    outcome: Outcome::Done,
                                },
                            );
                        }
                    }
                    Effect::GateClose { closing, .. } => {
                        self.said.push(format!("{effect:?}"));
                        self.closings.push(*closing);
                        if self.obeys_gate {
                            events.insert(0, Event::GateDrained { closing: *closing });
                        }
                    }
                    other => self.said.push(format!("{other:?}")),
                }
            }
        }
    }

    /// Ends the oldest held job of a kind.
    pub(crate) fn finish(&mut self, name: &str, outcome: Outcome) {
        let place = self.pending.iter().position(|(_, task)| kind(task) == name);
        let (job, _) = self
            .pending
            .remove(place.unwrap_or_else(|| panic!("no {name} is held: {:?}", self.pending)));
        self.event(Event::JobEnded { job, outcome });
    }

    pub(crate) fn wait(&mut self, span: Span) {
        let until = self.now + span;
        while let Some(at) = self.director.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.event(Event::Timer);
        }
        self.now = until;
    }

    pub(crate) fn connect(&mut self) -> ConnectionId {
        self.next += 1;
        let connection = ConnectionId(self.next);
        self.event(Event::HandshakeOpened { connection });
        connection
    }

    /// A whole session handshake that brings its own audio.
    pub(crate) fn session(&mut self, client: u64, mode: Mode) -> (ConnectionId, TrackId) {
        let connection = self.connect();
        let track = self.ask(connection, client, mode);
        (connection, track)
    }

    pub(crate) fn ask(&mut self, connection: ConnectionId, client: u64, mode: Mode) -> TrackId {
        self.event(Event::HandshakeDeclared {
            connection,
            intent: Intent::Session,
            bytes: 1000,
        });
        self.next += 1;
        let track = TrackId(self.next);
        self.event(Event::SessionAsked {
            connection,
            client: Some(ClientKey(client)),
            source: Source::Sent(track),
            mode,
        });
        track
    }

    pub(crate) fn upload(&mut self) -> (ConnectionId, TrackId) {
        let connection = self.connect();
        self.event(Event::HandshakeDeclared {
            connection,
            intent: Intent::Upload,
            bytes: 1000,
        });
        self.next += 1;
        let track = TrackId(self.next);
        self.event(Event::UploadAsked { connection, track });
        (connection, track)
    }

    /// How often something was said that contains all of these words.
    pub(crate) fn count(&self, words: &[&str]) -> usize {
        self.said
            .iter()
            .filter(|line| words.iter().all(|word| line.contains(word)))
            .count()
    }

    /// The place of the first line that contains all of these words.
    pub(crate) fn place(&self, words: &[&str]) -> usize {
        let place = self
            .said
            .iter()
            .position(|line| words.iter().all(|word| line.contains(word)));
        place.unwrap_or_else(|| panic!("nobody said {words:?} in {:#?}", self.said))
    }

    pub(crate) fn forget(&mut self) {
        self.said.clear();
    }
}

/// A connection that has said what it wants and may send so much.
pub(crate) fn declare(pod: &mut Pod, intent: Intent, bytes: u64) -> ConnectionId {
    let connection = pod.connect();
    pod.event(Event::HandshakeDeclared {
        connection,
        intent,
        bytes,
    });
    connection
}

/// Whether anybody may still name the track.
pub(crate) fn is_listed(pod: &Pod, track: TrackId) -> bool {
    pod.director.tracks().any(|(id, view)| id == track && view.is_usable)
}

pub(crate) fn kind(task: &Task) -> &'static str {
    match task {
        Task::Encode { .. } => "encode",
        Task::Save { .. } => "save",
        Task::Rip { .. } => "rip",
        Task::EncodeStems { .. } => "encode stems",
        Task::SaveStems { .. } => "save stems",
        Task::Wipe { .. } => "wipe",
        Task::OpenStream { .. } => "open",
        Task::SwapSource { .. } => "swap",
        Task::EncodePrompt { .. } => "prompt",
        Task::Reference { .. } => "reference",
        Task::CloseStream { .. } => "close",
        Task::Restore { .. } => "restore",
        Task::Park { .. } => "park",
        Task::LoadEngine { .. } => "load",
        Task::UnloadEngine { .. } => "unload",
    }
}

/// A failure that any job may have.
pub(crate) const BROKEN: Outcome = Outcome::Failed(Failure::Internal);
