//! Which engines are loaded. What is due follows from who is on the chair, what waits for its phase 1, and what the slots hold; nobody keeps a
//! list of wishes. An engine without which work cannot begin comes first and may send others away; one that only helps comes when nothing
//! else is to be done and there is room for everything beside it.

use crate::{
    canary::Bug,
    director::Director,
    effect::{Effects, Task},
    engine::{Component, Components, Engine, EngineId, Engines},
    event::{Failure, Outcome},
    gate::Gate,
    ids::{JobId, TrackId},
    jobs::Lane,
    plan::{Group, Groups, Need, Work},
    room::Room,
    seat::{Cause, Seat},
    sessions::failure_of,
    slot::{Call, Slot},
};

/// Failed moves of an engine before whoever needs it is told.
const TRIES_MAX: u8 = 2;

/// An engine that did not load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Missed {
    engine: EngineId,
    tries: u8,
    why: Failure,
}

/// Work that cannot begin without its engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Want {
    by: By,
    track: TrackId,
    work: Work,
}

/// Whose work it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The session's, which opens its stream or another source.
    Session,
    /// Phase 1 of the track.
    Intake,
    /// Ticks.
    Ticks,
    /// What is kept of the track's stems: nobody waits for it.
    Stems,
}

/// What came of a step towards an engine.
enum Step {
    /// It is there.
    Ready,
    /// Something was begun, or somebody told.
    Taken,
    /// Others must end first.
    Waits,
}

impl Director {
    pub(crate) fn source_measured(&mut self, track: TrackId, engines: Engines) {
        match self.tracks.get_mut(&track) {
            Some(track) => track.engines = Some(engines),
            None => self.stale(),
        }
    }

    /// Somebody asks anew: what did not load before is tried again.
    pub(crate) fn forgive_engines(&mut self) {
        self.missed = [None; 3];
    }

    pub(crate) fn slot(&self, slot: Component) -> &Slot {
        self.slots[slot as usize].get()
    }

    /// The engine that serves `slot` for this track.
    fn engine_for(&self, track: TrackId, slot: Component) -> Option<Engine> {
        self.tracks.get(&track)?.engines?.of(slot)
    }

    /// The source that the session on the chair waits to have opened, if nothing but the device keeps it.
    fn opening(&self) -> Option<TrackId> {
        let incumbent = self.incumbent.as_ref()?;
        let (track, mode) = match incumbent.seat.get() {
            Seat::Creating(creating) if creating.opening().is_none() => (creating.ask().track(), creating.ask().mode),
            Seat::Live(live) => {
                let swap = live.session().swap.filter(|swap| swap.job.is_none())?;
                (swap.track, swap.mode)
            }
            _ => return None,
        };
        self.tracks.get(&track)?.is_playable(mode).then_some(track)
    }

    /// The same, unless a rip is let by first.
    fn first_opening(&self) -> Option<TrackId> {
        self.opening().filter(|_| !self.must_let_by(Work::OpenStream))
    }

    /// The source that the live session is about to have in place of its own.
    fn next_source(&self) -> Option<TrackId> {
        let (_, session) = self.live_session()?;
        let under_way = session.swap.filter(|swap| swap.job.is_some());
        under_way.map_or_else(|| self.opening(), |swap| Some(swap.track))
    }

    /// The source that the session on the chair plays, or will next.
    fn source(&self) -> Option<TrackId> {
        let creating = || {
            self.incumbent
                .as_ref()?
                .creating()
                .map(|creating| creating.ask().track())
        };
        let playing = || self.live_session().map(|(_, session)| session.track);
        self.next_source().or_else(playing).or_else(creating)
    }

    /// What waits for engines that it cannot do without; who comes first has the slot.
    fn wants(&self) -> Vec<Want> {
        let mut wants = Vec::new();
        if self.plan.engines_only.is_empty() {
            return wants;
        }
        let mut want = |by, track, work| wants.push(Want { by, track, work });
        if let Some(track) = self.first_opening() {
            want(By::Session, track, Work::OpenStream);
        }
        // Before it is measured nobody knows what it needs: its job finds out.
        let is_measured = |track: &TrackId| self.tracks.get(track).is_some_and(|track| track.engines.is_some());
        // Nor does it get in the way of a rip, or of what is kept of one, that is owed its turn.
        let encode = self.next_encode().filter(|_| !self.must_let_by(Work::EncodeSource));
        if let Some(track) = encode.filter(is_measured) {
            want(By::Intake, track, Work::EncodeSource);
        }
        if let Some((_, session)) = self.live_session()
            && self.next_source().is_none()
            && !matches!(self.gate, Gate::Open { .. })
        {
            want(By::Ticks, session.track, Work::Play);
        }
        if let Some((track, _)) = self.stems_to_encode().filter(|_| self.awaits_stems_encode()) {
            want(By::Stems, track, Work::EncodeSource);
        }
        wants
    }

    fn needed(&self, work: Work) -> Components {
        work.components().and(self.plan.engines_only)
    }

    /// Whether somebody waits for an engine that is not loaded.
    pub(crate) fn misses_engine(&self) -> bool {
        self.wants()
            .into_iter()
            .filter(|want| want.by != By::Stems)
            .any(|want| !self.are_loaded(want.work, want.track))
    }

    fn are_loaded(&self, work: Work, track: TrackId) -> bool {
        self.needed(work).iter().all(|slot| {
            self.engine_for(track, slot).is_some() && self.slot(slot).loaded() == self.engine_for(track, slot)
        })
    }

    /// Whether work on `track` has the engines that it cannot do without, and no tick calls one that is not for it.
    pub(crate) fn has_engines(&self, work: Work, track: Option<TrackId>) -> bool {
        let Some(track) = track else { return true };
        let is_measured = self.tracks.get(&track).is_some_and(|track| track.engines.is_some());
        match work {
            Work::EncodeSource if !is_measured => true,
            Work::OpenStream => {
                let mut calls = self.gate.calls().iter();
                self.are_loaded(work, track)
                    && calls.all(|call| self.engine_for(track, call.component()) == Some(call.engine()))
            }
            // Ticks do not begin with an engine that the source to come is not for.
            _ => self
                .needed(work)
                .iter()
                .all(|slot| self.callable(work, track, slot).is_some()),
        }
    }

    /// Whether phase 1 cannot do without an engine.
    pub(crate) fn encodes_by_engine(&self) -> bool {
        !self.needed(Work::EncodeSource).is_empty()
    }

    /// The engine that work on `track` may call in `slot` if it begins now.
    fn callable(&self, work: Work, track: TrackId, slot: Component) -> Option<Engine> {
        let engine = self.slot(slot).loaded()?;
        let covers = |track: TrackId| self.engine_for(track, slot) == Some(engine);
        let stays = work != Work::Play || self.next_source().is_none_or(covers);
        let helps = || self.plan.engines_only.has(slot) || !self.is_short();
        (covers(track) && stays && helps()).then_some(engine)
    }

    /// The calls of work that begins now.
    pub(crate) fn call_engines(&mut self, work: Work, track: Option<TrackId>) -> Vec<Call> {
        let Some(track) = track else { return Vec::new() };
        let slots: Vec<Component> = work
            .components()
            .iter()
            .filter(|slot| self.callable(work, track, *slot).is_some())
            .collect();
        let call = |slot: Component| match self.slots[slot as usize].get_mut() {
            Slot::Loaded(loaded) => Some(loaded.call(slot)),
            _ => None,
        };
        slots.into_iter().filter_map(call).collect()
    }

    pub(crate) fn give_calls_back(&mut self, calls: Vec<Call>) {
        for call in calls {
            self.slots[call.component() as usize].get_mut().give_back(call);
        }
    }

    /// Whether ticks call an engine that they should not any more, or could call one more: the gate closes, and opens anew.
    pub(crate) fn must_change_engines(&self) -> bool {
        let Some((_, session)) = self.live_session() else {
            return false;
        };
        let calls = self.gate.calls();
        let lets_go = |call: &Call| self.must_let_go(session.track, call.component(), call.engine());
        let holds = |slot: Component| calls.iter().any(|call| call.component() == slot);
        calls.iter().any(lets_go)
            || Work::Play
                .components()
                .iter()
                .any(|slot| !holds(slot) && self.callable(Work::Play, session.track, slot).is_some())
    }

    /// Whether ticks for `track` should call this engine no more.
    fn must_let_go(&self, track: TrackId, slot: Component, engine: Engine) -> bool {
        let serves = |track: TrackId| self.engine_for(track, slot) == Some(engine);
        if self.slot(slot).serving() != Some(engine) || !serves(track) {
            return true;
        }
        let next = self.next_source().filter(|next| !serves(*next));
        if !self.plan.engines_only.has(slot) {
            return next.is_some() || self.is_short();
        }
        // Ticks go on while the next engine comes beside this one, if it can.
        let next = next.and_then(|next| self.engine_for(next, slot));
        let beside = |next: Engine| self.room_beside(next.bytes(), self.plan.need(Work::OpenStream).groups);
        self.slot(slot).loaded().is_some() && next.is_some_and(|next| beside(next) != Room::Fits)
    }

    /// Whether the engine in `slot` can leave now for the sake of others.
    pub(crate) fn may_evict(&self, slot: Component) -> bool {
        let idle = self.slot(slot).calls() == 0 || Bug::EngineLeavesUnderCalls.is_active();
        let Some(engine) = self.slot(slot).loaded().filter(|_| idle) else {
            return false;
        };
        let needed = || {
            let session = self.live_session().map(|(_, session)| session.track);
            let tracks = [session, self.source(), self.next_encode()];
            tracks
                .into_iter()
                .flatten()
                .any(|track| self.engine_for(track, slot) == Some(engine))
        };
        !(self.plan.engines_only.has(slot) && needed())
    }

    /// Bytes of engines that ticks call and could do without.
    pub(crate) fn bytes_of_helping_ticks(&self) -> u64 {
        let calls = self.gate.calls().iter();
        let helping = calls.filter(|call| !self.plan.engines_only.has(call.component()));
        helping
            .filter(|call| self.slot(call.component()).loaded().is_some())
            .map(|call| call.engine().bytes())
            .sum()
    }

    /// Bytes of engines that work cannot do without: they are as much in the way of a rip as eager weights are. One that only helps is not, since
    /// it leaves where somebody finds no room.
    pub(crate) fn bytes_of_needed_engines(&self) -> u64 {
        let needed = self.plan.engines_only.iter();
        needed.map(|slot| self.slot(slot).bytes()).sum()
    }

    /// Whether somebody waits for memory while engines hold some that only help. Ticks count as running whether or not the gate is open, so that
    /// its opening changes nothing about the answer.
    fn is_short(&self) -> bool {
        let closed = self.gate_is_closed() && self.live_session().is_some();
        let play = self.plan.need(Work::Play).workspace_bytes;
        let ticks = if closed { play } else { 0 };
        let waits = |bytes: u64, groups: Groups| self.room_beside(bytes + ticks, groups) != Room::Fits;
        let rip = (self.wants_separator() && self.running_rip().is_none()).then(|| self.plan.need(Work::Rip));
        let mut needs = self.interactive_needs().chain(self.stems_need()).chain(rip);
        needs.any(|need| waits(self.bytes_for(need), need.groups))
            || self.wants().into_iter().any(|want| {
                let missing = self.missing(want);
                missing.is_some_and(|engine| waits(engine.bytes(), self.plan.need(want.work).groups))
            })
    }

    /// What groups are needed for and cannot begin yet.
    fn unmet_needs(&self) -> impl Iterator<Item = Need> {
        let play = self.live_session().map(|_| self.plan.need(Work::Play));
        let needs = self.interactive_needs().chain(play).chain(self.stems_need());
        needs.filter(|need| !self.is_met(*need))
    }

    /// The first engine that `want` still lacks.
    fn missing(&self, want: Want) -> Option<Engine> {
        let lacks = |slot: &Component| self.slot(*slot).loaded() != self.engine_for(want.track, *slot);
        let slot = self.needed(want.work).iter().find(lacks)?;
        self.engine_for(want.track, slot)
    }

    /// One step towards the engines that somebody cannot do without, if the stage thread is free.
    pub(crate) fn step_needed_engines(&mut self, effects: &mut Effects) -> bool {
        if !self.is_lane_free(Lane::Stage) || !self.is_running() {
            return false;
        }
        let leaves = |slot: &Component| self.slot(*slot).awaits_last_call() && self.slot(*slot).calls() == 0;
        if let Some(slot) = Component::ALL.into_iter().find(leaves) {
            return self.begin_unloading(slot, effects);
        }
        let mut taken = [false; 3];
        for want in self.wants() {
            for slot in self.needed(want.work).iter() {
                if std::mem::replace(&mut taken[slot as usize], true) {
                    continue;
                }
                if let Step::Taken = self.step_towards(want, slot, effects) {
                    return true;
                }
            }
        }
        false
    }

    fn step_towards(&mut self, want: Want, slot: Component, effects: &mut Effects) -> Step {
        let Some(engine) = self.engine_for(want.track, slot) else {
            return self.go_without(want, Failure::EngineNotBuilt, effects);
        };
        let before = match self.slot(slot) {
            Slot::Empty(_) => None,
            Slot::Loaded(_) => self.slot(slot).loaded(),
            Slot::Loading(_) | Slot::Unloading(_) => return Step::Waits,
        };
        if before == Some(engine) {
            return Step::Ready;
        }
        if let Some(missed) = self.missed[slot as usize].filter(|missed| missed.gives_up(engine)) {
            return self.go_without(want, missed.why, effects);
        }
        let groups = self.plan.need(want.work).groups;
        let is_called = self.slot(slot).calls() > 0 && !Bug::EngineLeavesUnderCalls.is_active();
        let claim = before.map_or_else(|| self.claim_of_old(slot, engine), |old| beyond(engine, old));
        let room = match before {
            Some(_) if self.room_beside(engine.bytes(), groups) == Room::Fits => {
                self.load_beside(slot, engine, effects);
                return Step::Taken;
            }
            Some(_) if is_called => return Step::Waits,
            Some(_) => self.room_beside(claim, groups),
            None => self.room_beside(engine.bytes(), groups),
        };
        match room {
            Room::Fits if before.is_some() => drop(self.unload_engine(slot, claim, effects)),
            Room::Fits => self.load(slot, engine, claim, effects),
            Room::After(group) => drop(self.park(group, effects)),
            Room::AfterEngine(other) => drop(self.unload_engine(other, 0, effects)),
            Room::AfterCalls | Room::Later => return Step::Waits,
            // A separator that is on the device is on its way out: it gives way to who waits for an engine.
            Room::Never if !self.placement(Group::Separator).is_parked() => return Step::Waits,
            Room::Never => return self.go_without(want, Failure::OutOfMemory, effects),
        }
        Step::Taken
    }

    /// What the engine of the source that plays needs beyond `engine` to come back in its place, if that much is free.
    fn claim_of_old(&self, slot: Component, engine: Engine) -> u64 {
        let playing = self.live_session().map(|(_, session)| session.track);
        let old = playing.and_then(|track| self.engine_for(track, slot));
        let claim = old.map_or(0, |old| beyond(old, engine));
        let fits = self.ledger.used() + engine.bytes() + claim <= self.plan.budget_bytes;
        if fits { claim } else { 0 }
    }

    /// Whoever needs it is told; whoever asks next has a try of their own.
    fn go_without(&mut self, want: Want, failure: Failure, effects: &mut Effects) -> Step {
        self.forgive_engines();
        match want.by {
            By::Session => drop(self.fail_live_work(Work::OpenStream, failure, effects)),
            By::Intake => self.fail_track(want.track, failure, effects),
            By::Ticks => {
                if let Some((connection, _)) = self.live_session() {
                    self.leave(connection, Cause::Failed(failure), effects);
                }
            }
            By::Stems => self.stems_encoded(want.track, Outcome::Failed(failure)),
        }
        Step::Taken
    }

    /// One step towards engines that help the session on the chair: nothing else is to be done on the stage, and what they take leaves room for
    /// every kind of work at once, so that none of it sends them away again.
    pub(crate) fn step_helpful_engines(&mut self, effects: &mut Effects) -> bool {
        let Some(track) = self.source().filter(|_| self.next_rip().is_none()) else {
            return false;
        };
        if self.unmet_needs().next().is_some() {
            return false;
        }
        let needed = self.plan.engines_only;
        for slot in Component::ALL.into_iter().filter(|slot| !needed.has(*slot)) {
            let missed = |engine: &Engine| self.missed[slot as usize].is_some_and(|missed| missed.gives_up(*engine));
            let Some(engine) = self.engine_for(track, slot).filter(|engine| !missed(engine)) else {
                continue;
            };
            if matches!(self.slot(slot), Slot::Empty(_)) && self.fits_beside_all(engine.bytes()) {
                self.load(slot, engine, 0, effects);
                return true;
            }
            if self.step_helpful_swap(slot, engine, effects) {
                return true;
            }
        }
        false
    }

    fn step_helpful_swap(&mut self, slot: Component, engine: Engine, effects: &mut Effects) -> bool {
        let Some(old) = self.slot(slot).loaded().filter(|old| *old != engine) else {
            return false;
        };
        if self.fits_beside_all(engine.bytes()) {
            self.load_beside(slot, engine, effects);
            return true;
        }
        let instead = self.slot(slot).calls() == 0 && self.fits_beside_all(beyond(engine, old));
        instead && self.unload_engine(slot, beyond(engine, old), effects)
    }

    /// Whether so many bytes fit beside everything there is and every kind of work at once.
    fn fits_beside_all(&self, bytes: u64) -> bool {
        let work: u64 = Work::ALL.iter().map(|work| self.plan.need(*work).workspace_bytes).sum();
        // Nothing is claimed while nothing moves.
        self.ledger.resident + self.ledger.foreign + work + bytes <= self.plan.budget_bytes
    }

    fn start_load(&mut self, slot: Component, engine: Engine, effects: &mut Effects) -> JobId {
        let engine = engine.id;
        self.start(Task::LoadEngine { slot, engine }, None, effects)
    }

    fn start_unload(&mut self, slot: Component, engine: Engine, effects: &mut Effects) -> JobId {
        let engine = engine.id;
        self.start(Task::UnloadEngine { slot, engine }, None, effects)
    }

    fn load(&mut self, slot: Component, engine: Engine, claimed: u64, effects: &mut Effects) {
        let job = self.start_load(slot, engine, effects);
        self.step_slot(slot, |state| match state {
            Slot::Empty(empty) => empty.load(engine, claimed, job).into(),
            other => other,
        });
    }

    fn load_beside(&mut self, slot: Component, engine: Engine, effects: &mut Effects) {
        let job = self.start_load(slot, engine, effects);
        self.step_slot(slot, |state| match state {
            Slot::Loaded(loaded) => loaded.load_beside(engine, job).into(),
            other => other,
        });
    }

    /// Begins to free the engine in `slot`; so much beyond it is claimed for the next one.
    pub(crate) fn unload_engine(&mut self, slot: Component, claimed: u64, effects: &mut Effects) -> bool {
        let Some(engine) = self.slot(slot).loaded() else {
            return false;
        };
        let job = self.start_unload(slot, engine, effects);
        self.step_slot(slot, |state| match state {
            Slot::Loaded(loaded) => loaded.unload(claimed, job).into(),
            other => other,
        });
        true
    }

    fn begin_unloading(&mut self, slot: Component, effects: &mut Effects) -> bool {
        let Some(engine) = self.slot(slot).called() else {
            return false;
        };
        let job = self.start_unload(slot, engine, effects);
        self.step_slot(slot, |state| match state {
            Slot::Unloading(unloading) => unloading.begin(job).into(),
            other => other,
        });
        true
    }

    pub(crate) fn load_ended(&mut self, slot: Component, engine: EngineId, outcome: Outcome) {
        let Some(why) = failure_of(outcome) else {
            self.missed[slot as usize] = None;
            return self.step_slot(slot, Slot::arrived);
        };
        let before = self.missed[slot as usize].filter(|missed| missed.engine == engine);
        // What is not there will not be there the next time.
        let tries = match why {
            Failure::EngineNotBuilt => TRIES_MAX,
            _ => before.map_or(1, |missed| missed.tries + 1),
        };
        self.missed[slot as usize] = Some(Missed { engine, tries, why });
        self.step_slot(slot, Slot::missed);
    }

    pub(crate) fn unload_ended(&mut self, slot: Component, outcome: Outcome, effects: &mut Effects) {
        if outcome == Outcome::Done {
            return self.step_slot(slot, Slot::left);
        }
        let tries = self.slots[slot as usize].step(Slot::stayed);
        if tries >= TRIES_MAX {
            // Memory that cannot be given back: the device's state is not ours any more.
            self.device_lost(effects);
        }
    }

    /// Steps a slot, and the ledger with it.
    fn step_slot(&mut self, slot: Component, step: impl FnOnce(Slot) -> Slot) {
        let held = |slot: &Slot| (slot.bytes(), slot.claimed());
        let before = held(self.slot(slot));
        self.slots[slot as usize].step(|state| (step(state), ()));
        let after = held(self.slot(slot));
        self.ledger.resident = self.ledger.resident - before.0 + after.0;
        self.ledger.claimed = self.ledger.claimed - before.1 + after.1;
    }
}

impl Missed {
    fn gives_up(self, engine: Engine) -> bool {
        self.engine == engine.id && self.tries >= TRIES_MAX
    }
}

/// What `one` takes beyond `other`.
fn beyond(one: Engine, other: Engine) -> u64 {
    one.bytes().saturating_sub(other.bytes())
}
