//! Rare situations of engines.

use greenroom_director::{
    Caller, Component, Effect, EngineId, Engines as Measured, Failure, Group, Outcome, Task, TrackId,
};

use crate::marks::{Mark, Marks};

/// What happened in one slot.
#[derive(Clone, Debug, Default)]
struct Slot {
    there: Vec<EngineId>,
    /// The engine that left for the one that came right after it, and whether that one failed since.
    replaced: Option<(EngineId, bool)>,
    /// The last one would not go.
    stays: bool,
}

/// The engines of one process as their moves tell them.
#[derive(Clone, Debug, Default)]
pub(super) struct Engines {
    slots: [Slot; 3],
    /// The slot and the engine that left last, if nothing has moved since.
    left_last: Option<(usize, EngineId)>,
    /// A swap came to nothing because its engine did not load.
    fell_back: bool,
    /// What is played.
    played: Option<TrackId>,
    /// What its ticks were last lent.
    ticked: [Option<EngineId>; 3],
    /// It was measured anew since, and other engines serve it now.
    measured_anew: bool,
}

impl Engines {
    /// A job starts.
    pub(super) fn start(&mut self, task: Task, ticks: bool, marks: &mut Marks) {
        let left_last = self.left_last;
        match task {
            Task::LoadEngine { slot, engine } => {
                let place = slot as usize;
                let slot = &mut self.slots[place];
                if ticks && !slot.there.is_empty() {
                    marks.hit(Mark::SwapBesideTicks);
                }
                match left_last {
                    Some((left, old)) if left == place && old != engine => {
                        marks.hit(Mark::OldEngineFirst);
                        slot.replaced = Some((old, false));
                    }
                    _ => {}
                }
            }
            // Others may have to leave as well.
            Task::UnloadEngine { .. } => return,
            Task::Restore {
                group: Group::Separator,
            } if left_last.is_some() => marks.hit(Mark::RipEvictsEngine),
            Task::Restore { .. } | Task::Park { .. } => {}
            _ => return,
        }
        self.left_last = None;
    }

    /// A job ended.
    pub(super) fn ended(&mut self, task: Task, outcome: Outcome, marks: &mut Marks) {
        let done = outcome == Outcome::Done;
        match task {
            Task::LoadEngine { slot, engine } => {
                let slot = &mut self.slots[slot as usize];
                match slot.replaced {
                    Some((old, true)) if done && old == engine => marks.hit(Mark::OldEngineBack),
                    Some((old, _)) if !done && old != engine => slot.replaced = Some((old, true)),
                    _ => {}
                }
                if done {
                    slot.replaced = None;
                    slot.there.push(engine);
                }
            }
            Task::UnloadEngine { slot, engine } => {
                let place = slot as usize;
                let slot = &mut self.slots[place];
                if done && std::mem::take(&mut slot.stays) {
                    marks.hit(Mark::UnloadRetried);
                }
                if done {
                    slot.there.retain(|other| *other != engine);
                    self.left_last = Some((place, engine));
                } else {
                    slot.stays = true;
                }
            }
            _ => {}
        }
    }

    /// A source was measured.
    pub(super) fn measured(&mut self, track: TrackId, measured: &Measured) {
        if self.played == Some(track) {
            let differs = |(ticked, component): (&Option<EngineId>, Component)| {
                ticked.is_some() && measured.of(component).map(|engine| engine.id) != *ticked
            };
            self.measured_anew = self.ticked.iter().zip(Component::ALL).any(differs);
        }
    }

    /// An effect was asked for.
    pub(super) fn effect(&mut self, effect: &Effect, marks: &mut Marks) {
        match effect {
            Effect::SwapFailed {
                failure: Failure::NullContext | Failure::OutOfMemory,
                ..
            } => self.fell_back = true,
            Effect::SwapReady { track, .. } | Effect::SessionReady { track, .. } => {
                self.fell_back = false;
                self.played = Some(*track);
                self.ticked = [None; 3];
                self.measured_anew = false;
            }
            Effect::Lend {
                to: Caller::Ticks(_),
                engines,
            } => {
                if std::mem::take(&mut self.fell_back) {
                    marks.hit(Mark::SwapFellBack);
                }
                if std::mem::take(&mut self.measured_anew) && *engines != self.ticked {
                    marks.hit(Mark::MeasuredAnew);
                }
                self.ticked = *engines;
            }
            _ => {}
        }
    }
}
