//! What an onlooker who knows nothing of the director's state can hold it to: effects alone.

use std::collections::{BTreeMap, BTreeSet};

use greenroom_director::{Close, ConnectionId, Effect, Group, Outcome, Plan, Policy, StemsAtHand, Task, TrackId, Work};

/// What has been seen.
#[derive(Debug, Default)]
pub(crate) struct Shadow {
    on_device: BTreeSet<Group>,
    resident: BTreeSet<Group>,
    stream_open: bool,
    told_4001: BTreeSet<ConnectionId>,
    pending: BTreeMap<TrackId, u32>,
    forgotten: BTreeSet<TrackId>,
    ripped: BTreeSet<TrackId>,
}

impl Shadow {
    /// Looks at an effect; says what is wrong with it.
    pub(crate) fn effect(&mut self, plan: &Plan, effect: &Effect) -> Result<(), String> {
        match effect {
            Effect::Start { task, .. } => self.start(plan, *task),
            Effect::Close {
                connection,
                code: Close::Preempted,
            } => {
                if self.told_4001.insert(*connection) {
                    Ok(())
                } else {
                    Err(format!("{connection:?} is told 4001 twice"))
                }
            }
            Effect::UploadOk(ack) if ack.stems_pending() => {
                self.pending.insert(ack.track(), 0);
                Ok(())
            }
            Effect::PushStems { connection, track } | Effect::PushStemFailure { connection, track, .. } => {
                self.quiet(*connection)?;
                self.answer(*track)
            }
            Effect::SessionReady {
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
            } => {
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
            Effect::SwapFailed { connection, .. }
            | Effect::PromptApplied { connection }
            | Effect::PromptFailed { connection, .. }
            | Effect::PushStemProgress { connection, .. }
            | Effect::GateOpen { connection } => self.quiet(*connection),
            Effect::Forget { track } => {
                self.pending.remove(track);
                self.forgotten.insert(*track);
                Ok(())
            }
            _ => Ok(()),
        }
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
        let (work, track) = match task {
            Task::Encode { track, .. } => (Some(Work::EncodeSource), Some(track)),
            Task::Rip { track } => (Some(Work::Rip), Some(track)),
            Task::OpenStream { track, .. } | Task::SwapSource { track, .. } => (Some(Work::OpenStream), Some(track)),
            Task::EncodePrompt { .. } => (Some(Work::EncodePrompt), None),
            Task::Save { track } | Task::SaveStems { track } => (None, Some(track)),
            Task::Wipe { .. } | Task::CloseStream { .. } | Task::Park { .. } => (None, None),
            Task::Restore { group } => {
                self.on_device.insert(group);
                let eager = Group::EAGER.iter().any(|group| self.on_device.contains(group));
                if plan.policy == Policy::Always && eager && self.on_device.contains(&Group::Separator) {
                    return Err(format!("the separator and eager weights meet: {:?}", self.on_device));
                }
                (None, None)
            }
        };
        if let Some(track) = track.filter(|track| self.forgotten.contains(track)) {
            return Err(format!("{task:?} works on {track:?}, which was forgotten"));
        }
        if let Task::Rip { track } = task
            && self.ripped.contains(&track)
        {
            return Err(format!("{track:?} is ripped twice"));
        }
        if let Some(absent) = work.and_then(|work| {
            plan.need(work)
                .groups
                .iter()
                .find(|group| !self.resident.contains(group))
        }) {
            return Err(format!("{task:?} runs and {} is not resident", absent.name()));
        }
        if matches!(task, Task::OpenStream { .. }) && self.stream_open {
            return Err("a stream is opened while another stands".into());
        }
        Ok(())
    }

    /// A job ended.
    pub(crate) fn ended(&mut self, task: Task, outcome: Outcome) {
        let done = outcome == Outcome::Done;
        match task {
            Task::Restore { group } if done => {
                self.resident.insert(group);
            }
            Task::Restore { group } => {
                self.on_device.remove(&group);
            }
            Task::Park { group } if done => {
                self.on_device.remove(&group);
                self.resident.remove(&group);
            }
            Task::OpenStream { .. } => self.stream_open |= done,
            Task::CloseStream { .. } => self.stream_open = false,
            Task::Rip { track } if done => {
                self.ripped.insert(track);
            }
            _ => {}
        }
    }
}
