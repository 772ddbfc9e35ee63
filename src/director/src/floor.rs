//! Who is on the device: who wants it, and the moves of groups.

use crate::{
    canary::Bug,
    director::Director,
    effect::{Effect, Effects, Phase, Task},
    event::{Failure, Outcome},
    gate::Turn,
    jobs::Lane,
    placement::{self, Grounds, Placement},
    plan::{Group, Groups, Need, Policy, Work},
    room::Room,
    seat::{Cause, Prompt, Seat, Session, Swap},
};

/// Failed moves of a group before whoever needs it is told.
const STRIKES_MAX: u8 = 2;

impl Director {
    /// Whether the separator and eager groups keep away from each other.
    pub(crate) fn keeps_apart(&self) -> bool {
        let eager: u64 = Group::EAGER.iter().map(|group| self.plan.weights(*group)).sum();
        let any = Group::EAGER.iter().any(|group| self.plan.has(*group));
        // Let in because everybody else was out, it must leave before anybody returns, whatever memory there is by now.
        let alone = self.placement(Group::Separator).grounds() == Some(Grounds::AllParked);
        any && match self.plan.policy {
            _ if alone => true,
            Policy::Always => true,
            Policy::Never => false,
            Policy::Auto { reserve_bytes } => {
                let there = self.ledger.foreign + eager + self.bytes_of_needed_engines();
                self.plan.budget_bytes.saturating_sub(there) < reserve_bytes
            }
        }
    }

    /// Whether the separator should be on the device rather than the eager groups.
    pub(crate) fn wants_separator(&self) -> bool {
        if self.next_rip().is_none() || self.stems_to_encode().is_some() || self.misses_engine() {
            return false;
        }
        let ticks = || self.turn == Turn::Live && self.is_contested();
        !self.keeps_apart() || self.is_due() || (self.interactive_groups().is_empty() && !ticks())
    }

    /// What somebody waits for who does not wait for a rip: the next job of the live lane and the next source to encode.
    pub(crate) fn interactive_needs(&self) -> impl Iterator<Item = Need> {
        let live = self.next_live_work().map(|work| self.plan.need(work));
        let encode = self.next_encode().map(|_| self.plan.need(Work::EncodeSource));
        live.into_iter().chain(encode)
    }

    pub(crate) fn interactive_groups(&self) -> Groups {
        self.interactive_needs()
            .fold(Groups::NONE, |groups, need| groups.union(need.groups))
    }

    /// The work that the session waits to start on the live lane, if nothing but the device keeps it.
    fn next_live_work(&self) -> Option<Work> {
        let incumbent = self.incumbent.as_ref()?;
        match incumbent.seat.get() {
            Seat::Creating(creating) if creating.opening().is_none() => {
                let track = self.tracks.get(&creating.ask().track())?;
                track.is_playable(creating.ask().mode).then_some(Work::OpenStream)
            }
            Seat::Live(live) if live.session().prompt == Prompt::Asked => Some(Work::EncodePrompt),
            Seat::Live(live) => {
                let swap = self.next_swap(live.session()).map(|_| Work::OpenStream);
                swap.or_else(|| self.next_reference_work(live.session()))
            }
            _ => None,
        }
    }

    /// The swap that nothing but the device keeps.
    fn next_swap(&self, session: &Session) -> Option<Swap> {
        let swap = session.swap.filter(|swap| swap.job.is_none())?;
        self.tracks.get(&swap.track)?.is_playable(swap.mode).then_some(swap)
    }

    /// A group that failed for somebody who has left meanwhile: whoever needs it next gets a try of their own.
    fn forgive(&mut self) {
        if self.strikes.iter().all(|strikes| *strikes < STRIKES_MAX) {
            return;
        }
        let play = self.live_session().map(|_| self.plan.need(Work::Play).groups);
        let kept = self.stems_need().map(|need| need.groups);
        let needed = [play, kept].into_iter().flatten();
        let needed = needed.fold(self.interactive_groups(), Groups::union);
        for group in Group::EAGER.into_iter().filter(|group| !needed.has(*group)) {
            // One strike stays, so that nobody restores it for the house alone.
            self.strikes[group as usize] = self.strikes[group as usize].min(1);
        }
        if self.next_rip().is_none() {
            self.strikes[Group::Separator as usize] = 0;
        }
    }

    /// One move of one group, if the stage thread is free.
    pub(crate) fn step_stage(&mut self, effects: &mut Effects) -> bool {
        if !self.is_lane_free(Lane::Stage) || !self.is_running() {
            return false;
        }
        self.forgive();
        let separator = self.placement(Group::Separator);
        let rip = self.wants_separator();
        let separator_parked = separator.is_parked();
        if separator.is_resident() && separator.leases() == 0 && !rip {
            return self.park(Group::Separator, effects);
        }
        if rip && self.keeps_apart() {
            return self.make_room(effects);
        }
        if rip && separator_parked && self.attach_separator(effects) {
            return true;
        }
        if rip && self.running_rip().is_none() && self.room_for_rip(effects) {
            return true;
        }
        if self.keeps_apart() && !separator_parked {
            return false;
        }
        self.bring_eager_back(effects) || self.step_helpful_engines(effects)
    }

    /// Parks the eager groups, then lets the separator in.
    fn make_room(&mut self, effects: &mut Effects) -> bool {
        let idle = Group::EAGER.into_iter().find(|group| {
            let leased = self.placement(*group).leases() > 0 && !Bug::LeaseIgnored.is_active();
            self.placement(*group).is_resident() && !leased
        });
        if let Some(group) = idle {
            return self.park(group, effects);
        }
        let clear = Group::EAGER.into_iter().all(|group| self.placement(group).is_parked());
        let clear = clear || Bug::OverlapAdmitted.is_active();
        clear && self.placement(Group::Separator).is_parked() && self.attach_separator(effects)
    }

    /// The separator is there, and what came beside it leaves no room to work in.
    fn room_for_rip(&mut self, effects: &mut Effects) -> bool {
        let need = self.plan.need(Work::Rip);
        if !self.placement(Group::Separator).is_resident() || self.is_met(need) {
            return false;
        }
        match self.room(need) {
            Room::After(group) => self.park(group, effects),
            Room::AfterEngine(slot) => self.unload_engine(slot, 0, effects),
            Room::Never => self.fail_rip(),
            Room::Fits | Room::Later | Room::AfterCalls => false,
        }
    }

    fn fail_rip(&mut self) -> bool {
        let Some(track) = self.next_rip() else { return false };
        self.step_stems(track, |stems| stems.failed(Failure::OutOfMemory));
        true
    }

    fn attach_separator(&mut self, effects: &mut Effects) -> bool {
        let need = self.plan.need(Work::Rip);
        let refused = match self.room(need) {
            Room::Fits => false,
            Room::Later | Room::AfterCalls => return false,
            Room::After(group) => return self.park(group, effects),
            Room::AfterEngine(slot) => return self.unload_engine(slot, 0, effects),
            Room::Never => true,
        };
        if refused || self.strikes[Group::Separator as usize] >= STRIKES_MAX {
            self.strikes[Group::Separator as usize] = 0;
            return self.fail_rip();
        }
        let grounds = match self.plan.policy {
            _ if self.vacancy.as_ref().is_some_and(placement::Vacancy::is_clear) => Grounds::AllParked,
            Policy::Always => return false,
            Policy::Auto { .. } => Grounds::RoomEnough,
            Policy::Never => Grounds::ToldNotToCare,
        };
        // Where they need not keep apart, eager groups may come in beside it.
        let grounds = match (self.keeps_apart(), self.plan.policy) {
            (false, Policy::Never) => Grounds::ToldNotToCare,
            (false, Policy::Auto { .. }) => Grounds::RoomEnough,
            _ => grounds,
        };
        let Some(vacancy) = self.vacancy.take() else {
            return false;
        };
        match vacancy.attach(grounds) {
            Err(vacancy) => {
                self.vacancy = Some(vacancy);
                false
            }
            Ok(pass) => {
                self.restore(Group::Separator, pass, effects);
                true
            }
        }
    }

    /// What stems need that wait to be encoded.
    pub(crate) fn stems_need(&self) -> Option<Need> {
        self.awaits_stems_encode().then(|| self.plan.need(Work::EncodeSource))
    }

    /// Restores what is needed first, then what plays, then what is kept of stems, then the rest of the house.
    fn bring_eager_back(&mut self, effects: &mut Effects) -> bool {
        let play = (self.gate_is_closed() && self.live_session().is_some()).then(|| self.plan.need(Work::Play));
        let needs: Vec<Need> = self.interactive_needs().chain(play).chain(self.stems_need()).collect();
        for need in needs {
            if self.is_met(need) {
                continue;
            }
            match self.room(need) {
                Room::Fits => {}
                Room::After(group) => return self.park(group, effects),
                Room::AfterEngine(slot) => return self.unload_engine(slot, 0, effects),
                Room::Later | Room::AfterCalls => return false,
                Room::Never => return self.fail_needing(need, effects),
            }
            let Some(group) = need.groups.iter().find(|group| self.placement(*group).is_parked()) else {
                continue;
            };
            if self.strikes[group as usize] >= STRIKES_MAX {
                return self.fail_needing(
                    Need {
                        groups: Groups::of(&[group]),
                        ..need
                    },
                    effects,
                );
            }
            return self.restore_eager(group, effects);
        }
        self.bring_home(effects)
    }

    /// What nobody needs yet comes back too, where it fits and did not just fail, so that its next use is quick.
    fn bring_home(&mut self, effects: &mut Effects) -> bool {
        if self.keeps_apart() && self.next_rip().is_some() {
            return false;
        }
        let workspace = Work::ALL
            .iter()
            .map(|work| self.plan.need(*work).workspace_bytes)
            .max()
            .unwrap_or(0);
        let home = Group::EAGER.into_iter().find(|group| {
            let fits = self.ledger.used() + self.plan.weights(*group) + workspace <= self.plan.budget_bytes;
            self.plan.has(*group) && self.placement(*group).is_parked() && self.strikes[*group as usize] == 0 && fits
        });
        home.is_some_and(|group| self.restore_eager(group, effects))
    }

    fn restore_eager(&mut self, group: Group, effects: &mut Effects) -> bool {
        let shared = self.placements[Group::Separator as usize].get_mut().shared_vacancy();
        let Some(vacancy) = self.vacancy.as_mut().or(shared) else {
            return false;
        };
        let pass = vacancy.pass();
        self.restore(group, pass, effects);
        true
    }

    fn restore(&mut self, group: Group, pass: placement::Pass, effects: &mut Effects) {
        let job = self.start(Task::Restore { group }, None, effects);
        self.ledger.resident += self.plan.weights(group);
        self.placements[group as usize].step(|placement| match placement {
            Placement::Parked(parked) => (parked.restore(pass, job).into(), ()),
            other => unreachable!(
                "only a parked group is restored, and {} is {}",
                group.name(),
                other.name()
            ),
        });
        effects.push(Effect::PlacementChanged {
            group,
            phase: Phase::Restoring,
        });
    }

    pub(crate) fn park(&mut self, group: Group, effects: &mut Effects) -> bool {
        let job = self.start(Task::Park { group }, None, effects);
        self.placements[group as usize].step(|placement| match placement {
            Placement::Resident(resident) => (resident.park(job).into(), ()),
            other => unreachable!(
                "only a resident group is parked, and {} is {}",
                group.name(),
                other.name()
            ),
        });
        effects.push(Effect::PlacementChanged {
            group,
            phase: Phase::Parking,
        });
        true
    }

    pub(crate) fn restore_ended(&mut self, group: Group, outcome: Outcome, effects: &mut Effects) {
        let index = group as usize;
        let done = outcome == Outcome::Done;
        let pass = self.placements[index].step(|placement| match placement {
            Placement::Restoring(restoring) if done => (restoring.restored().into(), None),
            Placement::Restoring(restoring) => {
                let (parked, pass) = restoring.restore_failed();
                (parked.into(), Some(pass))
            }
            other => (other, None),
        });
        self.strikes[index] = if done { 0 } else { self.strikes[index].saturating_add(1) };
        let phase = if done { Phase::Resident } else { Phase::Parked };
        if pass.is_some() && Bug::LedgerLeak.is_active() {
            self.ledger.resident += self.plan.weights(group);
        }
        self.leave_device(group, pass);
        effects.push(Effect::PlacementChanged { group, phase });
    }

    pub(crate) fn park_ended(&mut self, group: Group, outcome: Outcome, effects: &mut Effects) {
        let index = group as usize;
        let done = outcome == Outcome::Done;
        let pass = self.placements[index].step(|placement| match placement {
            Placement::Parking(parking) if done => {
                let (parked, pass) = parking.parked();
                (parked.into(), Some(pass))
            }
            Placement::Parking(parking) => (parking.park_failed().into(), None),
            other => (other, None),
        });
        self.strikes[index] = if done { 0 } else { self.strikes[index].saturating_add(1) };
        let phase = if done { Phase::Parked } else { Phase::Resident };
        self.leave_device(group, pass);
        effects.push(Effect::PlacementChanged { group, phase });
        if self.strikes[index] >= STRIKES_MAX && !done {
            // Memory that cannot be given back: the device's state is not ours any more.
            self.device_lost(effects);
        }
    }

    fn leave_device(&mut self, group: Group, pass: Option<placement::Pass>) {
        let Some(pass) = pass else { return };
        self.ledger.resident -= self.plan.weights(group);
        let shared = self.placements[Group::Separator as usize].get_mut().shared_vacancy();
        placement::give_back(pass, &mut self.vacancy, shared);
    }

    /// Whoever cannot be served without `groups` is told that memory ran out.
    fn fail_needing(&mut self, failed: Need, effects: &mut Effects) -> bool {
        for group in failed.groups.iter() {
            // One strike stays, so that nobody restores it for the house alone.
            self.strikes[group as usize] = 1;
        }
        let touches = |need: Need| need == failed || failed.groups.iter().any(|group| need.groups.has(group));
        if let Some(work) = self.next_live_work().filter(|work| touches(self.plan.need(*work))) {
            return self.fail_live_work(work, Failure::OutOfMemory, effects);
        }
        if let Some(track) = self
            .next_encode()
            .filter(|_| touches(self.plan.need(Work::EncodeSource)))
        {
            self.fail_track(track, Failure::OutOfMemory, effects);
            return true;
        }
        if let Some((track, _)) = self
            .stems_to_encode()
            .filter(|_| self.stems_need().is_some_and(touches))
        {
            // Nobody waits for it: a later swap encodes.
            self.stems_encoded(track, Outcome::Failed(Failure::OutOfMemory));
            return true;
        }
        if let Some((connection, _)) = self.live_session() {
            self.leave(connection, Cause::Failed(Failure::OutOfMemory), effects);
            return true;
        }
        false
    }

    /// Tells whoever waits for this work, which [`next_live_work`](Self::next_live_work) gave or an engine keeps.
    pub(crate) fn fail_live_work(&mut self, work: Work, failure: Failure, effects: &mut Effects) -> bool {
        let swap = self.live_session().and_then(|(_, session)| self.next_swap(session));
        let Some(incumbent) = &mut self.incumbent else {
            return false;
        };
        let connection = incumbent.connection;
        let Some(session) = incumbent.live_mut() else {
            self.leave(connection, Cause::Failed(failure), effects);
            return true;
        };
        if work == Work::EncodePrompt && session.prompt == Prompt::Asked {
            session.prompt = Prompt::Settled;
            effects.push(Effect::PromptFailed { connection, failure });
        } else if let Some(swap) = swap.filter(|_| work == Work::OpenStream) {
            session.swap = None;
            effects.push(Effect::SwapFailed { connection, failure });
            self.drop_nameless(swap.track, effects);
        } else {
            self.fail_next_reference(failure, effects);
        }
        true
    }

    pub(crate) fn placement(&self, group: Group) -> &Placement {
        self.placements[group as usize].get()
    }

    /// Where every group is, for telemetry.
    #[must_use]
    pub fn phase(&self, group: Group) -> Phase {
        match self.placement(group) {
            Placement::Parked(_) => Phase::Parked,
            Placement::Restoring(_) => Phase::Restoring,
            Placement::Resident(_) => Phase::Resident,
            Placement::Parking(_) => Phase::Parking,
        }
    }
}
