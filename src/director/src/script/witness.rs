//! What can be held against a director by somebody who hears what it is told and what it asks for, and knows nothing of its state.

use std::collections::{BTreeMap, BTreeSet};

use super::EngineWatch;
use crate::{
    effect::{Close, Effect, StemsAtHand, Task},
    event::{Event, Intent, Outcome, ReferenceKind, Source},
    ids::{ClientKey, ConnectionId, JobId, TrackId},
    plan::{Group, Plan, Policy, Uploads, Work},
};

/// A connection as seen from outside.
#[derive(Debug, Default)]
struct Seen {
    proceeds: bool,
    intent: Option<Intent>,
    /// Its handshake is whole.
    asked: bool,
    client: Option<ClientKey>,
    ready: bool,
    /// The last thing it is told; there is one.
    farewell: Option<String>,
    preempted: bool,
    /// Dropped by force: the director need not remember it.
    dropped: bool,
    swaps_open: u32,
    /// Timbres and structures asked for and not answered.
    references_open: [u32; 2],
    prompt_open: bool,
    prompt_encoding: bool,
}

/// What has been seen.
#[derive(Debug)]
pub(super) struct Witness {
    plan: Plan,
    there: BTreeMap<ConnectionId, Seen>,
    /// Uploads in phase 1, by who asked; an answer comes even if the socket is gone.
    uploads: BTreeSet<ConnectionId>,
    /// Audio that came: it lies somewhere until it is forgotten.
    nameless: BTreeSet<TrackId>,
    uploaded: BTreeSet<TrackId>,
    /// Stems promised: how often they were answered.
    promised: BTreeMap<TrackId, u32>,
    forgotten: BTreeSet<TrackId>,
    ripped: BTreeSet<TrackId>,
    jobs: BTreeMap<JobId, Task>,
    last_job: JobId,
    on_device: BTreeSet<Group>,
    resident: BTreeSet<Group>,
    gate: Option<ConnectionId>,
    engines: EngineWatch,
    stream: bool,
    forced_out: BTreeSet<ClientKey>,
    exited: bool,
}

type Verdict = Result<(), String>;

impl Witness {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            there: BTreeMap::new(),
            uploads: BTreeSet::new(),
            nameless: BTreeSet::new(),
            uploaded: BTreeSet::new(),
            promised: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            ripped: BTreeSet::new(),
            jobs: BTreeMap::new(),
            last_job: JobId(0),
            on_device: BTreeSet::new(),
            resident: BTreeSet::new(),
            gate: None,
            engines: EngineWatch::default(),
            stream: false,
            forced_out: BTreeSet::new(),
            exited: false,
        }
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether a connection is there, and was not dropped: the director knows it.
    pub(super) fn is_known(&self, connection: ConnectionId) -> bool {
        self.there.get(&connection).is_some_and(|seen| !seen.dropped)
    }

    /// Every connection that is there.
    pub(super) fn there(&self) -> Vec<ConnectionId> {
        self.there.keys().copied().collect()
    }

    /// A connection that was told to close, and will.
    pub(super) fn told_to_go(&self) -> Option<ConnectionId> {
        let told = self.there.iter().find(|(_, seen)| seen.farewell.is_some());
        told.map(|(connection, _)| *connection)
    }

    /// The director is about to be told this.
    pub(super) fn event(&mut self, event: &Event) {
        self.engines.event(event);
        match event {
            Event::HandshakeOpened { connection } => {
                self.there.entry(*connection).or_default();
            }
            Event::HandshakeDeclared { connection, intent, .. } => {
                if let Some(seen) = self.heard(*connection).filter(|seen| seen.intent.is_none()) {
                    seen.intent = Some(*intent);
                }
            }
            Event::SessionAsked {
                connection,
                client,
                source,
                ..
            } => {
                self.sent(*source);
                if let Some(seen) = self.waits(*connection, Intent::Session) {
                    (seen.asked, seen.client) = (true, *client);
                }
            }
            Event::UploadAsked { connection, track } => {
                self.uploaded.insert(*track);
                if let Some(seen) = self.waits(*connection, Intent::Upload) {
                    seen.asked = true;
                    self.uploads.insert(*connection);
                }
            }
            Event::ConnectionGone { connection } => {
                self.there.remove(connection);
            }
            Event::SwapAsked { connection, source, .. } => {
                self.sent(*source);
                if let Some(seen) = self.live(*connection) {
                    seen.swaps_open += 1;
                }
            }
            Event::ReferenceAsked {
                connection,
                kind,
                source,
            } => {
                if let Some(source) = source {
                    self.sent(*source);
                }
                if let Some(seen) = self.live(*connection) {
                    seen.references_open[*kind as usize] += 1;
                }
            }
            Event::PromptAsked { connection } => {
                if let Some(seen) = self.live(*connection) {
                    seen.prompt_open = true;
                }
            }
            _ => {}
        }
    }

    /// A job is about to be said to have ended.
    pub(super) fn ended(&mut self, job: JobId, task: Task, outcome: Outcome) {
        let done = outcome == Outcome::Done;
        self.jobs.remove(&job);
        self.engines.ended(job, task, outcome);
        match task {
            Task::Restore { group } if done => {
                self.resident.insert(group);
            }
            Task::Restore { group } => {
                self.on_device.remove(&group);
            }
            Task::Park { group } if done => {
                self.on_device.remove(&group);
            }
            // It would not go: it is where it was.
            Task::Park { group } => {
                self.resident.insert(group);
            }
            Task::OpenStream { .. } => self.stream |= done,
            Task::CloseStream { .. } => self.stream = false,
            Task::Rip { track } if done => {
                self.ripped.insert(track);
            }
            _ => {}
        }
    }

    /// The director asks for this.
    pub(super) fn effect(&mut self, effect: &Effect) -> Verdict {
        if self.exited {
            return Err(format!("{effect:?} after the end"));
        }
        self.engines.effect(&self.plan, effect)?;
        match effect {
            Effect::Proceed { connection } => self.proceed(*connection),
            Effect::Refuse { connection, .. } => self.farewell(*connection, effect),
            Effect::Close { connection, code } => self.close(*connection, *code, effect),
            Effect::ForceClose { connection } => self.force(*connection),
            Effect::UploadOk(ack) => {
                if ack.stems_pending() && self.promised.insert(ack.track(), 0).is_some() {
                    return Err(format!("{effect:?} for the second time"));
                }
                self.answer_upload(ack.connection(), effect)
            }
            Effect::UploadFailed { connection, .. } => self.answer_upload(*connection, effect),
            Effect::Start { job, task } => self.start(*job, *task),
            Effect::Cancel { job, .. } if !self.jobs.contains_key(job) => Err(format!("{effect:?} is over")),
            Effect::GateOpen { connection } => self.open_gate(*connection),
            Effect::GateClose { connection, .. } => match self.gate.take() {
                Some(open) if open == *connection => Ok(()),
                other => Err(format!("{effect:?}, and it is open for {other:?}")),
            },
            Effect::SessionReady {
                connection,
                track,
                stems,
                ..
            } => self.ready(*connection, *track, *stems, effect),
            Effect::SwapReady {
                connection,
                track,
                stems,
                ..
            } => {
                self.answer_swap(*connection, effect)?;
                self.stems_sent(*track, *stems)
            }
            Effect::SwapFailed { connection, .. } => self.answer_swap(*connection, effect),
            Effect::PromptApplied { connection } | Effect::PromptFailed { connection, .. } => {
                let seen = self.spoken_to(*connection, effect)?;
                if !std::mem::take(&mut seen.prompt_encoding) && !std::mem::take(&mut seen.prompt_open) {
                    return Err(format!("{effect:?}, and nobody asked"));
                }
                Ok(())
            }
            Effect::ReferenceApplied {
                connection,
                kind,
                track,
            } => {
                self.answer_reference(*connection, *kind, effect)?;
                track.map_or(Ok(()), |track| self.remembered(track, effect))
            }
            Effect::ReferenceFailed { connection, kind, .. } => self.answer_reference(*connection, *kind, effect),
            Effect::PushStems { connection, track } | Effect::PushStemFailure { connection, track, .. } => {
                self.spoken_to(*connection, effect)?;
                self.told_of_stems(*track)
            }
            Effect::PushStemProgress { connection, track, .. } => {
                self.spoken_to(*connection, effect)?;
                self.remembered(*track, effect)
            }
            Effect::Forget { track } if !self.forgotten.insert(*track) => Err(format!("{effect:?} twice")),
            Effect::Exit { .. } => {
                self.exited = true;
                Ok(())
            }
            Effect::Cancel { .. } | Effect::Forget { .. } | Effect::PlacementChanged { .. } | Effect::Lend { .. } => {
                Ok(())
            }
        }
    }

    /// Nothing is under way: everybody who asked has been answered, and who is there plays.
    pub(super) fn at_rest(&self) -> Verdict {
        if let Some(connection) = self.uploads.first() {
            return Err(format!("the upload of {connection:?} is never answered"));
        }
        if !self.jobs.is_empty() {
            return Err(format!("jobs that nobody knows of: {:?}", self.jobs));
        }
        for (connection, seen) in &self.there {
            if !seen.ready
                || seen.swaps_open > 0
                || seen.references_open != [0; 2]
                || seen.prompt_open
                || seen.prompt_encoding
            {
                return Err(format!("{connection:?} is never answered: {seen:?}"));
            }
        }
        if let Some(connection) = self.there.keys().nth(1) {
            return Err(format!("{connection:?} plays, and somebody else does too"));
        }
        Ok(())
    }

    /// Everybody has left, and whatever waits for somebody's return has given up: what was promised was kept, and nothing stays.
    pub(super) fn at_the_end(&self) -> Verdict {
        if self.gate.is_some() || self.stream {
            return Err("everybody left, and something still plays".into());
        }
        let kept = self.plan.uploads == Uploads::Keep;
        let gone = self.nameless.iter().chain(self.uploaded.iter().filter(|_| !kept));
        match gone.into_iter().find(|track| !self.forgotten.contains(track)) {
            Some(track) => Err(format!("everybody left, and the audio of {track:?} stays")),
            None => Ok(()),
        }
    }

    fn sent(&mut self, source: Source) {
        if let Source::Sent(track) = source {
            self.nameless.insert(track);
        }
    }

    /// A connection that is there and has not been told to go.
    fn heard(&mut self, connection: ConnectionId) -> Option<&mut Seen> {
        self.there.get_mut(&connection).filter(|seen| seen.farewell.is_none())
    }

    /// A connection whose body is due.
    fn waits(&mut self, connection: ConnectionId, intent: Intent) -> Option<&mut Seen> {
        self.heard(connection)
            .filter(|seen| seen.proceeds && !seen.asked && seen.intent == Some(intent))
    }

    fn live(&mut self, connection: ConnectionId) -> Option<&mut Seen> {
        self.heard(connection).filter(|seen| seen.ready)
    }

    /// Whoever is spoken to as a live session must be one.
    fn spoken_to(&mut self, connection: ConnectionId, effect: &Effect) -> Result<&mut Seen, String> {
        self.live(connection)
            .ok_or_else(|| format!("{effect:?}, and it is no live session"))
    }

    fn proceed(&mut self, connection: ConnectionId) -> Verdict {
        match self.heard(connection) {
            Some(seen) if seen.intent.is_some() && !seen.proceeds => {
                seen.proceeds = true;
                Ok(())
            }
            other => Err(format!("{connection:?} is to read on, and is {other:?}")),
        }
    }

    fn farewell(&mut self, connection: ConnectionId, effect: &Effect) -> Verdict {
        let Some(seen) = self.there.get_mut(&connection) else {
            return Err(format!("{effect:?}, and it is gone"));
        };
        match seen.farewell.replace(format!("{effect:?}")) {
            None => {
                // An upload that is told to go is answered with that.
                self.uploads.remove(&connection);
                Ok(())
            }
            Some(before) => Err(format!("{effect:?} after {before}")),
        }
    }

    fn close(&mut self, connection: ConnectionId, code: Close, effect: &Effect) -> Verdict {
        if code == Close::Preempted {
            let later = |(other, seen): (&ConnectionId, &Seen)| {
                *other > connection && seen.asked && seen.intent == Some(Intent::Session) && seen.farewell.is_none()
            };
            let Some(seen) = self.there.get(&connection).filter(|seen| seen.asked) else {
                return Err(format!("{effect:?}, and it never asked for the pod"));
            };
            let held = seen.client.is_some_and(|client| self.forced_out.contains(&client));
            if !held && !self.there.iter().any(later) {
                return Err(format!("{effect:?}, and nobody later asked for the pod"));
            }
        }
        self.farewell(connection, effect)?;
        if let Some(seen) = self.there.get_mut(&connection) {
            seen.preempted = code == Close::Preempted;
        }
        Ok(())
    }

    fn force(&mut self, connection: ConnectionId) -> Verdict {
        match self.there.get_mut(&connection) {
            Some(seen) if seen.farewell.is_some() => {
                seen.dropped = true;
                if seen.preempted {
                    self.forced_out.extend(seen.client);
                }
                Ok(())
            }
            other => Err(format!("{connection:?} is forced out, and is {other:?}")),
        }
    }

    fn answer_upload(&mut self, connection: ConnectionId, effect: &Effect) -> Verdict {
        if !self.uploads.remove(&connection) {
            return Err(format!("{effect:?}, and nobody waits for it"));
        }
        match self.there.contains_key(&connection) {
            true => self.farewell(connection, effect),
            false => Ok(()),
        }
    }

    fn ready(&mut self, connection: ConnectionId, track: TrackId, stems: StemsAtHand, effect: &Effect) -> Verdict {
        if let Some((other, _)) = self
            .there
            .iter()
            .find(|(other, seen)| seen.ready && **other != connection)
        {
            return Err(format!("{effect:?}, and {other:?} is still there"));
        }
        match self.heard(connection) {
            Some(seen) if seen.asked && !seen.ready => seen.ready = true,
            other => return Err(format!("{effect:?}, and it is {other:?}")),
        }
        self.remembered(track, effect)?;
        self.stems_sent(track, stems)
    }

    fn answer_swap(&mut self, connection: ConnectionId, effect: &Effect) -> Verdict {
        let seen = self.spoken_to(connection, effect)?;
        match seen.swaps_open.checked_sub(1) {
            Some(left) => {
                seen.swaps_open = left;
                Ok(())
            }
            None => Err(format!("{effect:?}, and nobody asked")),
        }
    }

    fn answer_reference(&mut self, connection: ConnectionId, kind: ReferenceKind, effect: &Effect) -> Verdict {
        let seen = self.spoken_to(connection, effect)?;
        let open = &mut seen.references_open[kind as usize];
        *open = open
            .checked_sub(1)
            .ok_or_else(|| format!("{effect:?}, and nobody asked"))?;
        Ok(())
    }

    fn stems_sent(&mut self, track: TrackId, stems: StemsAtHand) -> Verdict {
        // Stems that come with a source answer what is owed; later sessions may get them again.
        match (stems, self.promised.get(&track)) {
            (StemsAtHand::Ready | StemsAtHand::Failed(_), Some(0)) => self.told_of_stems(track),
            _ => Ok(()),
        }
    }

    fn told_of_stems(&mut self, track: TrackId) -> Verdict {
        self.remembered(track, &Effect::Forget { track })?;
        if let Some(answers) = self.promised.get_mut(&track) {
            *answers += 1;
            if *answers > 1 {
                return Err(format!("the stems of {track:?} are answered {answers} times"));
            }
        }
        Ok(())
    }

    fn remembered(&self, track: TrackId, effect: &Effect) -> Verdict {
        match self.forgotten.contains(&track) {
            true => Err(format!("{track:?} is spoken of after it was forgotten: {effect:?}")),
            false => Ok(()),
        }
    }

    fn open_gate(&mut self, connection: ConnectionId) -> Verdict {
        self.spoken_to(connection, &Effect::GateOpen { connection })?;
        self.needs_resident(Work::Play)?;
        match self.gate.replace(connection) {
            None => Ok(()),
            Some(other) => Err(format!("the gate opens for {connection:?} and is open for {other:?}")),
        }
    }

    fn needs_resident(&self, work: Work) -> Verdict {
        let mut groups = self.plan.need(work).groups.iter();
        match groups.find(|group| !self.resident.contains(group)) {
            Some(group) => Err(format!("{work:?} begins, and {} is not resident", group.name())),
            None => Ok(()),
        }
    }

    fn start(&mut self, job: JobId, task: Task) -> Verdict {
        if job <= self.last_job {
            return Err(format!("{job:?} of {task:?} is no new number"));
        }
        if let Some(track) = task.track().filter(|_| !matches!(task, Task::Wipe { .. })) {
            self.remembered(track, &Effect::Start { job, task })?;
        }
        match task {
            Task::Encode { .. } | Task::EncodeStems { .. } => self.needs_resident(Work::EncodeSource)?,
            Task::EncodePrompt { connection } => {
                self.needs_resident(Work::EncodePrompt)?;
                let seen = self.spoken_to(connection, &Effect::Start { job, task })?;
                if !std::mem::take(&mut seen.prompt_open) || std::mem::replace(&mut seen.prompt_encoding, true) {
                    return Err(format!("{task:?}, and nobody asked"));
                }
            }
            Task::OpenStream { .. } => {
                self.needs_resident(Work::OpenStream)?;
                let wiped = |other: &Task| matches!(other, Task::Wipe { .. });
                if self.stream || self.jobs.values().any(wiped) {
                    return Err(format!("{task:?} while something of an earlier session is there"));
                }
            }
            Task::SwapSource { .. } => self.needs_resident(Work::OpenStream)?,
            Task::Reference {
                connection,
                kind,
                track,
            } => {
                self.spoken_to(connection, &Effect::Start { job, task })?;
                kind.work(track).map_or(Ok(()), |work| self.needs_resident(work))?;
            }
            Task::Rip { track } => {
                self.needs_resident(Work::Rip)?;
                if self.ripped.contains(&track) {
                    return Err(format!("{track:?} is ripped twice"));
                }
            }
            Task::Wipe { track } if !self.forgotten.contains(&track) => {
                return Err(format!("{track:?} is wiped and may still be listed"));
            }
            Task::Restore { group } => self.restore(group)?,
            Task::Park { group } => self.park(group)?,
            Task::Save { .. } | Task::SaveStems { .. } | Task::Wipe { .. } | Task::CloseStream { .. } => {}
            Task::LoadEngine { .. } | Task::UnloadEngine { .. } => {}
        }
        self.last_job = job;
        self.jobs.insert(job, task);
        Ok(())
    }

    fn restore(&mut self, group: Group) -> Verdict {
        if !self.on_device.insert(group) {
            return Err(format!("{} is restored and is there", group.name()));
        }
        let eager = Group::EAGER.iter().any(|group| self.on_device.contains(group));
        if self.plan.policy == Policy::Always && eager && self.on_device.contains(&Group::Separator) {
            return Err(format!("the separator and eager weights meet: {:?}", self.on_device));
        }
        Ok(())
    }

    fn park(&mut self, group: Group) -> Verdict {
        let ticks = self.gate.is_some() && self.plan.need(Work::Play).groups.has(group);
        let used = |task: &Task| match task {
            Task::Encode { .. } | Task::EncodeStems { .. } => self.plan.need(Work::EncodeSource).groups.has(group),
            Task::EncodePrompt { .. } => self.plan.need(Work::EncodePrompt).groups.has(group),
            Task::OpenStream { .. } | Task::SwapSource { .. } => self.plan.need(Work::OpenStream).groups.has(group),
            Task::Reference { kind, track, .. } => {
                let work = kind.work(*track);
                work.is_some_and(|work| self.plan.need(work).groups.has(group))
            }
            Task::Rip { .. } => self.plan.need(Work::Rip).groups.has(group),
            _ => false,
        };
        if ticks || self.jobs.values().any(used) {
            return Err(format!("{} leaves while somebody works on it", group.name()));
        }
        match self.resident.remove(&group) {
            true => Ok(()),
            false => Err(format!("{} is parked and is not resident", group.name())),
        }
    }
}
