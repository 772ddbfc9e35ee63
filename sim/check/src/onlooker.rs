//! Who watches a small world: what it sees in the effects must agree with what the director says of itself.
//!
//! Everything it remembers follows from the director's state as long as nothing is wrong, so it adds no states.

use std::hash::{Hash, Hasher};

use greenroom_director::{
    Close, ConnectionId, Director, Effect, Event, Group, JobId, Outcome, Phase, Plan, Policy, Stand, Task, TrackId,
    Uploads, Work, script::EngineWatch,
};

use crate::Owing;

/// The device as the moves of groups tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Onlooker {
    on_device: [bool; 5],
    resident: [bool; 5],
    stream_open: bool,
    /// Whether the rip has done a batch in this turn of its.
    batch_done: bool,
    /// The closing that the live thread has not left the gate for yet.
    draining: Option<Draining>,
    engines: Engines,
}

/// What is seen of engines: it follows from the director's state, and is no part of one's own.
#[derive(Clone, Debug, Default)]
struct Engines(EngineWatch);

impl PartialEq for Engines {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Engines {}

impl Hash for Engines {
    fn hash<H: Hasher>(&self, _hasher: &mut H) {}
}

/// Every closing is as good as another.
#[derive(Clone, Copy, Debug)]
struct Draining(u64);

impl PartialEq for Draining {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Draining {}

impl Hash for Draining {
    fn hash<H: Hasher>(&self, _hasher: &mut H) {}
}

/// What held before an event.
#[derive(Debug)]
pub(super) struct Before {
    /// Who asked for a session with this event.
    asks: Option<ConnectionId>,
    /// Told to close.
    closed: Vec<ConnectionId>,
    /// Tracks that nobody may touch any more but to wipe them.
    doomed: Vec<TrackId>,
    /// Tracks whose stems are being made or saved, or never will be again.
    beyond_rip: Vec<TrackId>,
    owing: Owing,
}

impl Before {
    pub(super) fn of(director: &Director, event: &Event, uploads: Uploads) -> Self {
        let closed = director.connections().filter(|(_, stand)| *stand == Stand::Closing);
        let tracks = || director.tracks();
        let beyond = |stems| !matches!(stems, "Absent" | "Queued" | "Ripping");
        let mut owing = Owing::new(uploads);
        owing.before(director);
        Self {
            asks: match event {
                Event::SessionAsked { connection, .. } => Some(*connection),
                _ => None,
            },
            closed: closed.map(|(connection, _)| connection).collect(),
            doomed: tracks().filter(|(_, view)| !view.is_usable).map(|(id, _)| id).collect(),
            beyond_rip: tracks()
                .filter(|(_, view)| beyond(view.stems))
                .map(|(id, _)| id)
                .collect(),
            owing,
        }
    }

    fn speaks_to(&self, connection: ConnectionId) -> Result<(), String> {
        if self.closed.contains(&connection) {
            Err(format!("{connection:?} hears something after it was told to close"))
        } else {
            Ok(())
        }
    }

    fn closes(&mut self, connection: ConnectionId) -> Result<(), String> {
        self.speaks_to(connection)?;
        self.closed.push(connection);
        Ok(())
    }

    /// Only a whole handshake preempts, and nobody older than those it preempts.
    fn preempts(&mut self, connection: ConnectionId) -> Result<(), String> {
        match self.asks {
            Some(asks) if connection <= asks => self.closes(connection),
            // Passed over in favour of one that was here before: only whoever asks now.
            asks => Err(format!("{connection:?} is preempted while {asks:?} asks")),
        }
    }

    /// Whoever was owed an answer has had exactly one, or is still owed it.
    pub(super) fn answered_as_owed(&self, director: &Director) -> Result<(), String> {
        self.owing.after(director)
    }
}

impl Onlooker {
    /// Looks at an effect.
    pub(super) fn saw(&mut self, plan: &Plan, before: &mut Before, effect: &Effect) -> Result<(), String> {
        before.owing.saw(effect)?;
        self.engines.0.effect(plan, effect)?;
        match effect {
            Effect::Start { task, .. } => self.starts(plan, before, *task),
            Effect::Close { connection, code } if *code == Close::Preempted => before.preempts(*connection),
            Effect::Close { connection, .. }
            | Effect::Refuse { connection, .. }
            | Effect::UploadFailed { connection, .. } => before.closes(*connection),
            Effect::UploadOk(ack) => before.closes(ack.connection()),
            Effect::PushStems { connection, .. } | Effect::PushStemFailure { connection, .. } => {
                before.speaks_to(*connection)
            }
            Effect::SessionReady { connection, track, .. } | Effect::SwapReady { connection, track, .. } => {
                if before.doomed.contains(track) {
                    return Err(format!("{track:?} plays and is doomed"));
                }
                before.speaks_to(*connection)
            }
            Effect::ReferenceApplied { connection, track, .. } => {
                if track.is_some_and(|track| before.doomed.contains(&track)) {
                    return Err(format!("{effect:?}, and the track is doomed"));
                }
                before.speaks_to(*connection)
            }
            Effect::SwapFailed { connection, .. }
            | Effect::PromptApplied { connection }
            | Effect::PromptFailed { connection, .. }
            | Effect::ReferenceFailed { connection, .. }
            | Effect::PushStemProgress { connection, .. }
            | Effect::Proceed { connection }
            | Effect::GateOpen { connection } => before.speaks_to(*connection),
            Effect::Forget { track } => {
                before.doomed.push(*track);
                Ok(())
            }
            Effect::GateClose { closing, .. } => {
                self.draining = Some(Draining(*closing));
                Ok(())
            }
            Effect::ForceClose { .. }
            | Effect::Cancel { .. }
            | Effect::PlacementChanged { .. }
            | Effect::Lend { .. }
            | Effect::Exit { .. } => Ok(()),
        }
    }

    fn starts(&mut self, plan: &Plan, before: &Before, task: Task) -> Result<(), String> {
        let (work, track) = match task {
            Task::Encode { track, .. } => (Some(Work::EncodeSource), Some(track)),
            Task::EncodeStems { track } => (Some(Work::EncodeSource), Some(track)),
            Task::Rip { track } => (Some(Work::Rip), Some(track)),
            Task::OpenStream { track, .. } | Task::SwapSource { track, .. } => (Some(Work::OpenStream), Some(track)),
            Task::EncodePrompt { .. } => (Some(Work::EncodePrompt), None),
            Task::Reference { kind, track, .. } => (kind.work(track), track),
            Task::Save { track } | Task::SaveStems { track } => (None, Some(track)),
            Task::Park { group } if self.draining.is_some() && plan.need(Work::Play).groups.has(group) => {
                return Err(format!("{} is parked and a tick may still run on it", group.name()));
            }
            Task::Wipe { .. } | Task::CloseStream { .. } | Task::Park { .. } => (None, None),
            Task::LoadEngine { .. } | Task::UnloadEngine { .. } => (None, None),
            Task::Restore { group } => {
                self.on_device[group as usize] = true;
                self.meets(plan)?;
                (None, None)
            }
        };
        if let Some(track) = track.filter(|track| before.doomed.contains(track)) {
            return Err(format!("{task:?} is started and {track:?} is doomed"));
        }
        if let Task::Rip { .. } = task {
            self.batch_done = false;
        }
        if let Task::Rip { track } = task
            && before.beyond_rip.contains(&track)
        {
            return Err(format!("{track:?} is ripped again"));
        }
        if matches!(task, Task::OpenStream { .. }) && self.stream_open {
            return Err("a stream is opened while another stands".into());
        }
        let groups = work.map(|work| plan.need(work).groups);
        match groups.and_then(|groups| groups.iter().find(|group| !self.resident[*group as usize])) {
            Some(absent) => Err(format!("{task:?} runs and {} is not resident", absent.name())),
            None => Ok(()),
        }
    }

    fn meets(&self, plan: &Plan) -> Result<(), String> {
        let eager = Group::EAGER.iter().any(|group| self.on_device[*group as usize]);
        if plan.policy == Policy::Always && eager && self.on_device[Group::Separator as usize] {
            return Err(format!("the separator and eager weights meet: {:?}", self.on_device));
        }
        let weights: u64 = Group::ALL
            .iter()
            .filter(|group| self.on_device[**group as usize])
            .map(|group| plan.weights(*group))
            .sum();
        if weights > plan.budget_bytes {
            return Err(format!(
                "{weights} bytes of weights are on the device of {}",
                plan.budget_bytes
            ));
        }
        Ok(())
    }

    /// The director is about to be told this.
    pub(super) fn told(&mut self, event: &Event) {
        self.engines.0.event(event);
    }

    /// A job ended.
    pub(super) fn ended(&mut self, job: JobId, task: Task, outcome: Outcome) {
        self.engines.0.ended(job, task, outcome);
        let done = outcome == Outcome::Done;
        match task {
            // Of no matter between turns.
            Task::Rip { .. } => self.batch_done = false,
            Task::Restore { group } => {
                self.on_device[group as usize] = done;
                self.resident[group as usize] = done;
            }
            Task::Park { group } if done => {
                self.on_device[group as usize] = false;
                self.resident[group as usize] = false;
            }
            Task::OpenStream { .. } => self.stream_open |= done,
            Task::CloseStream { .. } => self.stream_open = false,
            _ => {}
        }
    }

    /// The rip has done a batch.
    pub(super) fn progressed(&mut self) {
        self.batch_done = true;
    }

    /// Whether a rip that is to finish its batch first may give way.
    pub(super) fn has_done_batch(&self) -> bool {
        self.batch_done
    }

    /// The live thread has left the gate.
    pub(super) fn drained(&mut self, closing: u64) {
        self.draining = self.draining.filter(|draining| draining.0 != closing);
    }

    /// Whether the director sees the device as it is.
    pub(super) fn compare(&self, director: &Director) -> Result<(), String> {
        for group in Group::ALL {
            let seen = (self.on_device[group as usize], self.resident[group as usize]);
            let said = match director.phase(group) {
                Phase::Parked => (false, false),
                Phase::Restoring => (true, false),
                Phase::Resident | Phase::Parking => (true, true),
            };
            if seen != said {
                return Err(format!(
                    "{} is said to be {:?}, and is {seen:?}",
                    group.name(),
                    director.phase(group)
                ));
            }
        }
        Ok(())
    }
}
