//! What can be held against a director about engines by somebody who hears what it is told and what it asks for.

use std::collections::BTreeMap;

use crate::{
    effect::{Effect, Task},
    engine::{Caller, Component, EngineId, Engines},
    event::{Event, Outcome},
    ids::{JobId, TrackId},
    plan::{Plan, Work},
};

/// What has been seen of engines.
#[derive(Clone, Debug, Default)]
pub struct EngineWatch {
    measured: BTreeMap<TrackId, Engines>,
    /// Engines that work may be lent, the newest last: while two change, the old one may still be called.
    there: [Vec<EngineId>; 3],
    /// On the way in or out.
    moving: Option<EngineId>,
    calls: Vec<(Caller, [Option<EngineId>; 3])>,
    /// The gate's last closing.
    closing: Option<u64>,
    /// What the live session plays.
    playing: Option<TrackId>,
}

type Verdict = Result<(), String>;

impl EngineWatch {
    /// The director is about to be told this.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::SourceMeasured { track, engines } => {
                self.measured.insert(*track, *engines);
            }
            Event::GateDrained { closing } if self.closing == Some(*closing) => {
                self.calls.retain(|(caller, _)| !matches!(caller, Caller::Ticks(_)))
            }
            _ => {}
        }
    }

    /// A job is about to be said to have ended.
    pub fn ended(&mut self, job: JobId, task: Task, outcome: Outcome) {
        self.calls.retain(|(caller, _)| *caller != Caller::Job(job));
        match task {
            Task::LoadEngine { slot, engine } if outcome == Outcome::Done => self.there[slot as usize].push(engine),
            // It would not go: it is where it was.
            Task::UnloadEngine { slot, engine } if outcome != Outcome::Done => {
                self.there[slot as usize].insert(0, engine)
            }
            Task::LoadEngine { .. } | Task::UnloadEngine { .. } => {}
            _ => return,
        }
        self.moving = None;
    }

    /// The director asks for this.
    ///
    /// # Errors
    /// If an engine is lent that is not there or not for it, leaves while it is called, or work begins without one that it needs.
    pub fn effect(&mut self, plan: &Plan, effect: &Effect) -> Verdict {
        match effect {
            Effect::SessionReady { track, .. } | Effect::SwapReady { track, .. } => {
                self.playing = Some(*track);
                Ok(())
            }
            Effect::GateClose { closing, .. } => {
                self.closing = Some(*closing);
                Ok(())
            }
            Effect::Lend { to, engines } => self.lend(*to, *engines),
            Effect::GateOpen { connection } => self.begins(plan, Caller::Ticks(*connection), Work::Play, self.playing),
            Effect::Start { job, task } => self.starts(plan, *job, *task),
            _ => Ok(()),
        }
    }

    fn lend(&mut self, to: Caller, engines: [Option<EngineId>; 3]) -> Verdict {
        for slot in Component::ALL {
            let newest = self.there[slot as usize].last();
            if let Some(engine) = engines[slot as usize].filter(|engine| Some(engine) != newest) {
                return Err(format!(
                    "{to:?} may call {engine:?}, and {} has {newest:?}",
                    slot.name()
                ));
            }
        }
        self.calls.push((to, engines));
        Ok(())
    }

    fn starts(&mut self, plan: &Plan, job: JobId, task: Task) -> Verdict {
        let work = match task {
            Task::Encode { .. } | Task::EncodeStems { .. } => Work::EncodeSource,
            Task::OpenStream { .. } | Task::SwapSource { .. } => Work::OpenStream,
            Task::LoadEngine { slot, engine } => return self.loads(slot, engine),
            Task::UnloadEngine { slot, engine } => return self.unloads(slot, engine),
            _ => return Ok(()),
        };
        self.begins(plan, Caller::Job(job), work, task.track())
    }

    /// Work begins: what it was lent is for its track, and what it cannot do without was lent.
    fn begins(&self, plan: &Plan, caller: Caller, work: Work, track: Option<TrackId>) -> Verdict {
        let lent = self.calls.iter().find(|(to, _)| *to == caller);
        let lent = lent.map_or([None; 3], |(_, engines)| *engines);
        let measured = track.and_then(|track| self.measured.get(&track));
        for slot in Component::ALL {
            let fits = measured.and_then(|engines| engines.of(slot)).map(|engine| engine.id);
            let engine = lent[slot as usize];
            if engine.is_some() && (engine != fits || !work.components().has(slot)) {
                return Err(format!(
                    "{work:?} on {track:?} may call {engine:?}, and {fits:?} is for it"
                ));
            }
            let needs = plan.engines_only.and(work.components()).has(slot);
            let unknown = work == Work::EncodeSource && measured.is_none();
            if needs && engine.is_none() && !unknown {
                return Err(format!(
                    "{work:?} on {track:?} begins without an engine for {}",
                    slot.name()
                ));
            }
        }
        Ok(())
    }

    fn loads(&mut self, slot: Component, engine: EngineId) -> Verdict {
        if let Some(other) = self.moving.replace(engine) {
            return Err(format!("{engine:?} is loaded while {other:?} moves"));
        }
        match self.there[slot as usize].contains(&engine) {
            true => Err(format!("{engine:?} is loaded and is there")),
            false => Ok(()),
        }
    }

    fn unloads(&mut self, slot: Component, engine: EngineId) -> Verdict {
        if let Some(other) = self.moving.replace(engine) {
            return Err(format!("{engine:?} is freed while {other:?} moves"));
        }
        let calls = |(_, engines): &&(Caller, [Option<EngineId>; 3])| engines[slot as usize] == Some(engine);
        if let Some((caller, _)) = self.calls.iter().find(calls) {
            return Err(format!("{engine:?} leaves while {caller:?} calls it"));
        }
        let there = &mut self.there[slot as usize];
        match there.iter().position(|other| *other == engine) {
            Some(place) => {
                there.remove(place);
                Ok(())
            }
            None => Err(format!("{engine:?} is freed and is not there")),
        }
    }

    /// The engine that serves in each slot.
    #[must_use]
    pub fn serving(&self) -> [Option<EngineId>; 3] {
        [0, 1, 2].map(|slot: usize| self.there[slot].last().copied())
    }
}
