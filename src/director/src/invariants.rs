//! What must hold after every event. These assertions stay on in production: a pod that broke one must not go on.

use crate::{
    alarms::Alarm,
    connections::Standing,
    director::{Director, Life},
    effect::Task,
    engine::Component,
    gate::Gate,
    jobs::Lane,
    placement::Lease,
    plan::{Group, Policy, Work},
    seat::{Seat, Stream},
    slot::Call,
    track::{Doom, Owed},
};

/// An invariant that does not hold, in words.
pub type Broken = String;

impl Director {
    /// Checks every invariant of the house.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check(&self) -> Result<(), Broken> {
        self.check_placement()?;
        self.check_leases()?;
        self.check_calls()?;
        self.check_ledger()?;
        self.check_seat()?;
        self.check_jobs()?;
        self.check_tracks()
    }

    /// 1: the separator is in only while every eager group is parked.
    fn check_placement(&self) -> Result<(), Broken> {
        let separator = self.placement(Group::Separator);
        let shares = separator
            .grounds()
            .is_some_and(|grounds| grounds != crate::placement::Grounds::AllParked);
        if self.vacancy.is_some() != separator.is_parked() {
            return Err("the vacancy is home exactly while the separator is parked".into());
        }
        if separator.is_parked() || (shares && self.plan.policy != Policy::Always) {
            return Ok(());
        }
        match Group::EAGER
            .into_iter()
            .find(|group| !self.placement(*group).is_parked())
        {
            Some(group) => Err(format!(
                "{} is {} while the separator is {}",
                group.name(),
                self.placement(group).name(),
                separator.name()
            )),
            None => Ok(()),
        }
    }

    /// 3: work runs on resident groups only, and every lease that is out is known.
    fn check_leases(&self) -> Result<(), Broken> {
        let standing: &[Lease] = match &self.gate {
            Gate::Closed => &[],
            Gate::Open { leases, .. } | Gate::Closing { leases, .. } => leases,
        };
        for group in Group::ALL {
            let held = standing
                .iter()
                .chain(self.jobs.values().flat_map(|job| job.leases()))
                .filter(|lease| lease.group() == group)
                .count();
            if held != usize::from(self.placement(group).leases()) {
                return Err(format!(
                    "{} leases on {} are held and {} are counted",
                    held,
                    group.name(),
                    self.placement(group).leases()
                ));
            }
        }
        Ok(())
    }

    /// 3, of engines: every call that is out is counted in its slot and of the engine there; what moves is moved by a job; and ticks have every
    /// engine that they cannot do without.
    fn check_calls(&self) -> Result<(), Broken> {
        let calls: Vec<&Call> = self
            .gate
            .calls()
            .iter()
            .chain(self.jobs.values().flat_map(|job| job.calls()))
            .collect();
        for component in Component::ALL {
            let (slot, name) = (self.slot(component), component.name());
            let held = || calls.iter().filter(|call| call.component() == component);
            if held().count() != usize::from(slot.calls()) {
                return Err(format!(
                    "{} calls of {name} are held and {} are counted",
                    held().count(),
                    slot.calls()
                ));
            }
            if let Some(call) = held().find(|call| slot.called() != Some(call.engine())) {
                return Err(format!("{name} is called as {:?} and is {slot:?}", call.engine().id));
            }
            let moves = |task: Task| matches!(task, Task::LoadEngine { slot, .. } | Task::UnloadEngine { slot, .. } if slot == component);
            let known = |(id, job): (&crate::JobId, &crate::jobs::Job)| moves(job.task).then_some(*id);
            if slot.job() != self.jobs.iter().find_map(known) {
                return Err(format!("{name} is {slot:?}, and that is not what is under way"));
            }
        }
        let needed = Work::Play.components().and(self.plan.engines_only);
        let ticks = |component| self.gate.calls().iter().any(|call| call.component() == component);
        match needed.iter().find(|component| !ticks(*component)) {
            Some(component) if matches!(self.gate, Gate::Open { .. }) => {
                Err(format!("ticks run without an engine for {}", component.name()))
            }
            _ => Ok(()),
        }
    }

    /// 4: residents and workspaces fit, and the ledger is their sum.
    fn check_ledger(&self) -> Result<(), Broken> {
        let resident: u64 = Group::ALL
            .iter()
            .filter(|group| !self.placement(**group).is_parked())
            .map(|group| self.plan.weights(*group))
            .chain(self.slots.iter().map(|slot| slot.get().bytes()))
            .sum();
        let claimed: u64 = self.slots.iter().map(|slot| slot.get().claimed()).sum();
        let standing = if self.gate == Gate::Closed {
            0
        } else {
            self.plan.need(Work::Play).workspace_bytes
        };
        let workspace = standing + self.jobs.values().map(crate::jobs::Job::workspace).sum::<u64>();
        let ledger = (self.ledger.resident, self.ledger.workspace, self.ledger.claimed);
        if (resident, workspace, claimed) != ledger {
            return Err(format!(
                "the ledger says {:?}, and {resident} + {workspace} bytes are held and {claimed} claimed",
                self.ledger
            ));
        }
        if resident + workspace + claimed > self.plan.budget_bytes {
            return Err(format!(
                "{resident} + {workspace} + {claimed} claimed bytes are held of {}",
                self.plan.budget_bytes
            ));
        }
        Ok(())
    }

    /// 2, 6: one chair, one stream on it, and nobody waits for a chair that is free.
    fn check_seat(&self) -> Result<(), Broken> {
        if self.chair.is_some() == self.incumbent.is_some() {
            return Err("the chair is free exactly while nobody is on it".into());
        }
        if self.life == Life::Running && self.candidate.is_some() && self.incumbent.is_none() {
            return Err("a candidate waits for a free chair".into());
        }
        let Some(incumbent) = &self.incumbent else {
            return Ok(());
        };
        let standing = self.standing(incumbent.connection);
        let holds = match incumbent.seat.get() {
            Seat::Creating(_) | Seat::Live(_) => standing == Some(Standing::Seated),
            Seat::Draining(draining) => draining.leaving().socket_open == standing.is_some(),
            Seat::Candidate(_) | Seat::Released(_) => false,
        };
        if holds {
            Ok(())
        } else {
            Err(format!(
                "the session is {} and its connection {standing:?}",
                incumbent.seat.get().name()
            ))
        }
    }

    /// One job a lane, one disk job a track, a deadline on each; a stream's job belongs to the session on the chair.
    fn check_jobs(&self) -> Result<(), Broken> {
        for lane in [Lane::Live, Lane::Work, Lane::Stage] {
            if self.jobs.values().filter(|job| job.task.lane() == lane).count() > 1 {
                return Err(format!("two jobs on the lane {lane:?}"));
            }
        }
        if self.overtaken > self.plan.limits.overtakes {
            return Err(format!("a rip that waits was overtaken {} times", self.overtaken));
        }
        for (id, job) in &self.jobs {
            if self.life != Life::Ended && !self.alarms.is_set(Alarm::Job(*id)) {
                return Err(format!("{:?} has no deadline", job.task));
            }
            let opening = |stream: Stream| matches!(stream, Stream::Opening(job) | Stream::Closing(job) if job == *id);
            let known = match job.task {
                Task::OpenStream { .. } | Task::CloseStream { .. } => {
                    self.incumbent.as_ref().is_some_and(|incumbent| {
                        incumbent
                            .creating()
                            .is_some_and(|creating| creating.opening() == Some(*id))
                            || incumbent.leaving().is_some_and(|leaving| opening(leaving.stream))
                    })
                }
                Task::Reference { connection, .. } => self
                    .incumbent
                    .as_ref()
                    .is_some_and(|incumbent| incumbent.connection == connection),
                _ => true,
            };
            if !known {
                return Err(format!("{:?} runs and no session knows of it", job.task));
            }
        }
        Ok(())
    }

    /// 5, 8: what is owed can still come, and nothing of a doomed track can.
    fn check_tracks(&self) -> Result<(), Broken> {
        for (id, track) in &self.tracks {
            let stems = track.stems.get();
            if track.owed == Owed::Answer
                && matches!(
                    stems,
                    crate::stems::Stems::Absent(_) | crate::stems::Stems::Discarded(_)
                )
            {
                return Err(format!("stems of track {id} are owed and {}", stems.name()));
            }
            if track.doom != Doom::None
                && (track.owed == Owed::Answer || stems.is_pending() || track.intake.get().is_open())
            {
                return Err(format!(
                    "track {id} is doomed, its stems are {} and its phase 1 is {}",
                    stems.name(),
                    track.intake.get().name()
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
