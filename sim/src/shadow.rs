//! What an onlooker who knows nothing of the director's state can hold it to: events and effects alone.

use std::collections::{BTreeMap, BTreeSet};

use greenroom_director::{
    Close, ConnectionId, Effect, Event, Failure, Group, JobId, Outcome, Plan, Policy, StemsAtHand, Task, TrackId, Work,
    script::EngineWatch,
};

use crate::device::work_of;

/// What has been seen of one process.
#[derive(Debug, Default)]
pub(crate) struct Shadow {
    on_device: [bool; 5],
    resident: [bool; 5],
    /// Work that leases groups: the tasks under way.
    working: Vec<Work>,
    stream_open: bool,
    /// The newest connection that asked for the seat with a whole handshake.
    newest_asked: Option<ConnectionId>,
    ready: Option<ConnectionId>,
    told_4001: BTreeSet<ConnectionId>,
    pending: BTreeMap<TrackId, u32>,
    forgotten: BTreeSet<TrackId>,
    ripped: BTreeSet<TrackId>,
    /// Tracks whose rip ran out of memory once: they have one more try.
    short: BTreeSet<TrackId>,
    engines: EngineWatch,
}

impl Shadow {
    /// Takes note of an event before the director does.
    pub(crate) fn event(&mut self, event: &Event) {
        self.engines.event(event);
        if let Event::SessionAsked { connection, .. } = event {
            self.newest_asked = self.newest_asked.max(Some(*connection));
        }
    }

    /// Looks at an effect; says what is wrong with it.
    pub(crate) fn effect(&mut self, plan: &Plan, effect: &Effect) -> Result<(), String> {
        self.engines.effect(plan, effect)?;
        match effect {
            Effect::Start { task, .. } => self.start(plan, *task),
            Effect::Close {
                connection,
                code: Close::Preempted,
            } => self.preempted(*connection),
            Effect::UploadOk(ack) if ack.stems_pending() => {
                self.pending.insert(ack.track(), 0);
                Ok(())
            }
            Effect::PushStems { connection, track } | Effect::PushStemFailure { connection, track, .. } => {
                self.quiet(*connection)?;
                self.answer(*track)
            }
            Effect::SessionReady { connection, .. } => {
                self.ready = Some(*connection);
                self.plays(effect)
            }
            Effect::SwapReady { .. } => self.plays(effect),
            Effect::SwapFailed { connection, .. }
            | Effect::PromptApplied { connection }
            | Effect::PromptFailed { connection, .. }
            | Effect::ReferenceApplied { connection, .. }
            | Effect::ReferenceFailed { connection, .. }
            | Effect::PushStemProgress { connection, .. } => self.quiet(*connection),
            Effect::GateOpen { connection } => {
                self.quiet(*connection)?;
                self.begin_work(plan, Work::Play)
            }
            Effect::Forget { track } => {
                self.pending.remove(track);
                self.forgotten.insert(*track);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Nobody is preempted by an older, unfinished or unauthenticated connection, and nobody twice.
    fn preempted(&mut self, connection: ConnectionId) -> Result<(), String> {
        if !self.told_4001.insert(connection) {
            return Err(format!("{connection:?} is told 4001 twice"));
        }
        if self.ready == Some(connection) && self.newest_asked <= Some(connection) {
            return Err(format!(
                "{connection:?} is preempted and nobody later asked for the seat"
            ));
        }
        Ok(())
    }

    fn plays(&mut self, effect: &Effect) -> Result<(), String> {
        let (Effect::SessionReady {
            connection,
            track,
            stems,
            ..
        }
        | Effect::SwapReady {
            connection,
            track,
            stems,
            ..
        }) = effect
        else {
            return Ok(());
        };
        self.quiet(*connection)?;
        if self.forgotten.contains(track) {
            return Err(format!("{track:?} plays and was forgotten"));
        }
        // Stems that come with a source answer what is owed; later sessions may get them again.
        if *stems != StemsAtHand::Nothing && self.pending.get(track) == Some(&0) {
            return self.answer(*track);
        }
        Ok(())
    }

    fn quiet(&self, connection: ConnectionId) -> Result<(), String> {
        if self.told_4001.contains(&connection) {
            Err(format!("{connection:?} hears something after 4001"))
        } else {
            Ok(())
        }
    }

    fn answer(&mut self, track: TrackId) -> Result<(), String> {
        let Some(answers) = self.pending.get_mut(&track) else {
            return Ok(());
        };
        *answers += 1;
        if *answers > 1 {
            Err(format!("the stems of {track:?} are answered {answers} times"))
        } else {
            Ok(())
        }
    }

    fn start(&mut self, plan: &Plan, task: Task) -> Result<(), String> {
        let track = match task {
            Task::Encode { track, .. }
            | Task::Rip { track }
            | Task::EncodeStems { track }
            | Task::OpenStream { track, .. }
            | Task::SwapSource { track, .. }
            | Task::Save { track }
            | Task::SaveStems { track } => Some(track),
            Task::Reference { track, .. } => track,
            _ => None,
        };
        if let Some(track) = track.filter(|track| self.forgotten.contains(track)) {
            return Err(format!("{task:?} works on {track:?}, which was forgotten"));
        }
        match task {
            Task::Rip { track } if self.ripped.contains(&track) => return Err(format!("{track:?} is ripped twice")),
            Task::OpenStream { .. } if self.stream_open => return Err("a stream is opened while another stands".into()),
            Task::Restore { group } => self.comes(plan, group)?,
            Task::Park { group } => self.leaves(plan, group)?,
            _ => {}
        }
        work_of(task).map_or(Ok(()), |work| self.begin_work(plan, work))
    }

    /// 1: the separator and eager weights never meet.
    fn comes(&mut self, plan: &Plan, group: Group) -> Result<(), String> {
        self.on_device[group as usize] = true;
        let eager = Group::EAGER.iter().any(|group| self.on_device[*group as usize]);
        if plan.policy == Policy::Always && eager && self.on_device[Group::Separator as usize] {
            return Err(format!("the separator and eager weights meet: {:?}", self.on_device));
        }
        Ok(())
    }

    /// 3: no group moves while leased.
    fn leaves(&self, plan: &Plan, group: Group) -> Result<(), String> {
        match self.working.iter().find(|work| plan.need(**work).groups.has(group)) {
            Some(work) => Err(format!("{} is parked while {work:?} runs on it", group.name())),
            None => Ok(()),
        }
    }

    /// 3: work runs on resident groups only.
    fn begin_work(&mut self, plan: &Plan, work: Work) -> Result<(), String> {
        let absent = plan
            .need(work)
            .groups
            .iter()
            .find(|group| !self.resident[*group as usize]);
        if let Some(absent) = absent {
            return Err(format!("{work:?} runs and {} is not resident", absent.name()));
        }
        self.working.push(work);
        Ok(())
    }

    fn end_work(&mut self, work: Work) {
        if let Some(place) = self.working.iter().position(|other| *other == work) {
            self.working.swap_remove(place);
        }
    }

    /// No tick runs any more.
    pub(crate) fn drained(&mut self) {
        self.end_work(Work::Play);
    }

    /// Whether nobody may name the track any more.
    pub(crate) fn has_forgotten(&self, track: TrackId) -> bool {
        self.forgotten.contains(&track)
    }

    /// A rip that is done, or failed, is never begun again; one that ran out of memory is, once.
    fn rip_ended(&mut self, track: TrackId, outcome: Outcome) {
        let once_more = outcome == Outcome::Failed(Failure::OutOfMemory) && self.short.insert(track);
        if matches!(outcome, Outcome::Done | Outcome::Failed(_)) && !once_more {
            self.ripped.insert(track);
        }
    }

    /// A job ended.
    pub(crate) fn ended(&mut self, job: JobId, task: Task, outcome: Outcome) {
        self.engines.ended(job, task, outcome);
        let done = outcome == Outcome::Done;
        if let Some(work) = work_of(task) {
            self.end_work(work);
        }
        match task {
            Task::Restore { group } if done => self.resident[group as usize] = true,
            Task::Restore { group } => self.on_device[group as usize] = false,
            Task::Park { group } if done => {
                self.on_device[group as usize] = false;
                self.resident[group as usize] = false;
            }
            Task::OpenStream { .. } => self.stream_open |= done,
            Task::CloseStream { .. } => self.stream_open = false,
            Task::Rip { track } => self.rip_ended(track, outcome),
            _ => {}
        }
    }
}
