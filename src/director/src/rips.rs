//! Rips: whose turn it is, when one gives way and when no more, how it ends, and what is encoded of its stems.

use crate::{
    canary::Bug,
    director::Director,
    effect::{Effects, Task, Urgency},
    event::{Failure, Outcome},
    ids::{JobId, TrackId},
    jobs::Lane,
    plan::Work,
    sessions::failure_of,
    stems::{GIVEN_UP_MAX, Stems, Tries},
    track::Kind,
};

/// Rips begun and not ended: each holds its track's accumulators in host memory.
const RIPS_OPEN_MAX: usize = 2;

/// A batch that was abandoned so often runs to its end: every rip gets done.
const ABANDONED_MAX: u8 = 3;

impl Director {
    /// The track whose stems are made next: waited for, then playing, then newest; one in mid-rip is only put off for one that is waited for.
    pub(crate) fn next_rip(&self) -> Option<TrackId> {
        if !self.is_running() {
            return None;
        }
        let wanting = || {
            self.tracks.iter().filter(|(_, track)| {
                track.is_usable() && track.intake.get().is_saved() && track.stems.get().wants_rip()
            })
        };
        let open = || wanting().filter(|(_, track)| track.stems.get().rip().is_some());
        let key = |id: TrackId, begun: bool| (self.is_waited_for(id), begun, self.is_playing(id), id);
        let best = wanting()
            .map(|(id, track)| key(*id, track.stems.get().rip().is_some()))
            .max();
        if open().count() >= RIPS_OPEN_MAX {
            return open().map(|(id, _)| key(*id, true)).max().map(|(.., id)| id);
        }
        best.map(|(.., id)| id)
    }

    fn is_waited_for(&self, track: TrackId) -> bool {
        let Some(incumbent) = &self.incumbent else { return false };
        let creating = incumbent
            .creating()
            .is_some_and(|creating| creating.ask().track() == track && creating.ask().mode.waits_for_stems());
        let swapping = incumbent.live().is_some_and(|session| {
            session
                .swap
                .is_some_and(|swap| swap.track == track && swap.mode.waits_for_stems())
        });
        creating || swapping
    }

    fn is_playing(&self, track: TrackId) -> bool {
        self.live_session().is_some_and(|(_, session)| session.track == track)
    }

    /// The rip that has the work thread.
    pub(crate) fn running_rip(&self) -> Option<(JobId, TrackId)> {
        self.jobs.iter().find_map(|(id, job)| match job.task {
            Task::Rip { track } => Some((*id, track)),
            _ => None,
        })
    }

    /// One step of the rips: the running one gives way, or the next one goes on.
    pub(crate) fn step_rips(&mut self, effects: &mut Effects) -> bool {
        if self.overtaken > 0 && !self.is_kept_waiting() {
            self.overtaken = 0;
        }
        if let Some((job, track)) = self.running_rip() {
            if !self.must_give_way(track) {
                return false;
            }
            let abandoned = self
                .tracks
                .get(&track)
                .and_then(|track| track.stems.get().rip())
                .map_or(0, |rip| rip.abandoned);
            // The end of a turn can wait for a batch; whoever asked for something should not.
            let urgency = if abandoned >= ABANDONED_MAX || !self.is_somebody_waiting(track) {
                Urgency::AfterBatch
            } else {
                Urgency::Now
            };
            let told = self.jobs.get(&job).and_then(|job| job.cancelled);
            if told.is_none_or(|told| urgency < told) {
                self.cancel(job, urgency, effects);
                return true;
            }
            return false;
        }
        if !self.is_lane_free(Lane::Work)
            || (self.next_encode().is_some() && !self.is_due())
            || !self.wants_separator()
            || !self.may_start(Work::Rip)
        {
            return false;
        }
        let Some(track) = self.next_rip() else { return false };
        let job = self.start(Task::Rip { track }, Some(Work::Rip), effects);
        self.step_stems(track, |stems| match stems {
            Stems::Queued(queued) => queued.begin(job).into(),
            Stems::Ripping(ripping) => ripping.resume(job).into(),
            other => other,
        });
        self.push_progress(track, effects);
        true
    }

    /// The track whose stems are made and are to be encoded before they are written; no other is ripped before they have been.
    pub(crate) fn stems_to_encode(&self) -> Option<(TrackId, Tries)> {
        if !self.plan.keeps_stems || !self.is_running() {
            return None;
        }
        let mut usable = self.tracks.iter().filter(|(_, track)| track.is_usable());
        usable.find_map(|(id, track)| track.stems.get().tries().map(|tries| (*id, tries)))
    }

    /// Whether stems wait for the groups or the thread to be encoded with.
    pub(crate) fn awaits_stems_encode(&self) -> bool {
        self.stems_to_encode().is_some_and(|(_, tries)| tries.job.is_none())
    }

    /// One step of what is kept of stems: its encoding gives way to that of a source, which somebody waits for, or starts.
    pub(crate) fn step_stems_encode(&mut self, effects: &mut Effects) -> bool {
        let Some((track, tries)) = self.stems_to_encode() else {
            return false;
        };
        let gives_way = self.next_encode().is_some() && !self.must_let_by(Work::EncodeSource);
        if let Some(job) = tries.job {
            let told = self.jobs.get(&job).is_some_and(|job| job.cancelled.is_some());
            if !gives_way || told || tries.given_up >= GIVEN_UP_MAX {
                return false;
            }
            self.cancel(job, Urgency::Now, effects);
            return true;
        }
        if gives_way
            || !self.is_lane_free(Lane::Work)
            || !self.may_start(Work::EncodeSource)
            || !self.has_engines(Work::EncodeSource, Some(track))
        {
            return false;
        }
        let job = self.start(Task::EncodeStems { track }, Some(Work::EncodeSource), effects);
        self.step_stems(track, |stems| match stems {
            Stems::Encoding(encoding) => encoding.encode(job).into(),
            other => other,
        });
        self.push_progress(track, effects);
        true
    }

    /// Encoded or not, the stems are there: they are only encoded again where that gave way.
    pub(crate) fn stems_encoded(&mut self, track: TrackId, outcome: Outcome) {
        let gave_way = outcome == Outcome::Cancelled;
        if !gave_way {
            self.overtaken = 0;
        }
        self.step_stems(track, |stems| match stems {
            Stems::Encoding(encoding) if gave_way && encoding.tries().given_up < GIVEN_UP_MAX => {
                encoding.give_way().into()
            }
            Stems::Encoding(encoding) => encoding.encoded().into(),
            other => other,
        });
    }

    /// Counts work that is begun for somebody who waits while a rip, or what is kept of one, would need its place.
    pub(crate) fn overtake(&mut self, work: Work) {
        if self.is_in_the_way(work) && self.is_kept_waiting() {
            self.overtaken = self.overtaken.saturating_add(1);
        }
    }

    /// Whether work for somebody who waits must let a rip by first: it has been overtaken as often as may be, and is owed a batch.
    pub(crate) fn must_let_by(&self, work: Work) -> bool {
        self.is_due() && self.is_in_the_way(work)
    }

    /// Whether the next rip, or what is kept of the last one, is owed its turn.
    pub(crate) fn is_due(&self) -> bool {
        self.overtaken >= self.plan.limits.overtakes && self.is_kept_waiting() && !Bug::RipOvertakenForEver.is_active()
    }

    fn is_kept_waiting(&self) -> bool {
        self.next_rip().is_some() || self.stems_to_encode().is_some()
    }

    /// Whether work takes the place that the next rip needs (there is one work thread, and groups may have to leave), or its stems' encoding
    /// (which can share the groups).
    fn is_in_the_way(&self, work: Work) -> bool {
        let apart = || self.keeps_apart() && !self.plan.need(work).groups.is_empty();
        work == Work::EncodeSource || (self.stems_to_encode().is_none() && apart())
    }

    /// Whether the running rip of `track` must let others by: a source to encode, the generator's groups, a rip that is waited for.
    fn must_give_way(&self, track: TrackId) -> bool {
        !self.wants_separator() || self.is_somebody_waiting(track)
    }

    /// Whether somebody who asked for something waits until the rip of `track` gives way: not just ticks for their turn.
    fn is_somebody_waiting(&self, track: TrackId) -> bool {
        let contends = || self.keeps_apart() && !self.interactive_groups().is_empty();
        let asked = || self.next_encode().is_some() || contends() || self.misses_engine();
        (!self.is_due() && asked())
            || self
                .next_rip()
                .is_some_and(|next| next != track && self.is_waited_for(next))
    }

    pub(crate) fn rip_progress(&mut self, job: JobId, done: u32, total: u32, effects: &mut Effects) {
        let Some((_, track)) = self.running_rip().filter(|(running, _)| *running == job) else {
            return self.stale();
        };
        let before = self.tracks.get(&track).and_then(|track| track.stems.get().rip());
        if before.is_some_and(|rip| done > rip.done) {
            self.overtaken = 0;
        }
        self.step_stems(track, |stems| match stems {
            Stems::Ripping(ripping) => ripping.progress(done, total).into(),
            other => other,
        });
        self.push_progress(track, effects);
    }

    /// Whether memory has not run out before in the rip of `track`.
    fn may_rip_again(&self, track: TrackId) -> bool {
        let rip = self.tracks.get(&track).and_then(|track| track.stems.get().rip());
        rip.is_some_and(|rip| !rip.short)
    }

    pub(crate) fn rip_ended(&mut self, track: TrackId, job: JobId, outcome: Outcome, effects: &mut Effects) {
        let kind = self.tracks.get(&track).map(|track| track.kind);
        let in_memory = matches!(kind, Some(Kind::Nameless(_)));
        // What is encoded of the stems is only worth its time where it is written beside them.
        let keeps = self.plan.keeps_stems && kind == Some(Kind::Upload);
        let again = outcome == Outcome::Failed(Failure::OutOfMemory) && self.may_rip_again(track);
        // A rip that is tried again is still owed its batch.
        if matches!(outcome, Outcome::Done | Outcome::Failed(_)) && !again {
            self.overtaken = 0;
        }
        self.step_stems(track, |stems| match (stems, outcome) {
            (Stems::Ripping(ripping), _) if ripping.rip().job != Some(job) => ripping.into(),
            (Stems::Ripping(ripping), Outcome::Done) if in_memory => ripping.ripped_in_memory().into(),
            (Stems::Ripping(ripping), Outcome::Done) if keeps => ripping.ripped_to_keep().into(),
            (Stems::Ripping(ripping), Outcome::Done) => ripping.ripped().into(),
            (Stems::Ripping(ripping), Outcome::Yielded { abandoned }) => ripping.give_way(abandoned).into(),
            (Stems::Ripping(ripping), Outcome::Cancelled) => ripping.give_way(true).into(),
            (Stems::Ripping(ripping), Outcome::Failed(_)) if again => ripping.run_short().into(),
            (Stems::Ripping(ripping), Outcome::Failed(why)) => ripping.fail(why).into(),
            (other, _) => other,
        });
        if failure_of(outcome).is_some() {
            self.push_progress(track, effects);
        }
    }
}
