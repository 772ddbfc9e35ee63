//! Phase 1 of tracks, their saving, and their end.

use crate::{
    alarms::Alarm,
    canary::Bug,
    director::Director,
    effect::{Effect, Effects, StemsPhase, Task},
    event::{Failure, Found, Outcome},
    ids::TrackId,
    intake::Intake,
    jobs::Lane,
    plan::{Group, Work},
    sessions::failure_of,
    stems::Stems,
    track::{Doom, Kind, Owed, Owner, Track},
};

impl Director {
    /// A track that the disk had at boot.
    pub(crate) fn track_found(&mut self, id: TrackId, found: Found) {
        if self.tracks.contains_key(&id) {
            return self.stale();
        }
        let kind = match found {
            Found::Fixture | Found::FixtureWithStems => Kind::Fixture,
            Found::UploadWithStems | Found::UploadOwingStems | Found::UploadWithoutStems => Kind::Upload,
        };
        let mut track = Track::new(kind, Owner::Everybody, Intake::found());
        let rips = self.plan.has(Group::Separator);
        track.stems.step(|stems| match (stems, found) {
            (Stems::Absent(state), Found::FixtureWithStems | Found::UploadWithStems) => (state.find().into(), ()),
            (Stems::Absent(state), Found::UploadWithoutStems) => (state.find_failed().into(), ()),
            (Stems::Absent(state), Found::UploadOwingStems) if rips => (state.owe().into(), ()),
            (other, _) => (other, ()),
        });
        self.tracks.insert(id, track);
    }

    /// One step of what happens to tracks beside the device: phase 1, the disk, telling the owner.
    pub(crate) fn step_tracks(&mut self, effects: &mut Effects) -> bool {
        self.step_encode(effects) || self.step_disk(effects) || self.step_owed(effects)
    }

    /// The track whose phase 1 goes next: what the session brought first, then in order of arrival.
    pub(crate) fn next_encode(&self) -> Option<TrackId> {
        let waiting = self
            .tracks
            .iter()
            .filter(|(_, track)| track.is_usable() && track.intake.get().is_waiting());
        waiting
            .min_by_key(|(id, track)| (!matches!(track.kind, Kind::Nameless(_)), **id))
            .map(|(id, _)| *id)
    }

    fn step_encode(&mut self, effects: &mut Effects) -> bool {
        if !self.is_lane_free(Lane::Work) || !self.is_running() {
            return false;
        }
        let Some(track) = self.next_encode() else { return false };
        if !self.may_start(Work::EncodeSource)
            || self.must_let_by(Work::EncodeSource)
            || !self.has_engines(Work::EncodeSource, Some(track))
        {
            return false;
        }
        let Some(state) = self.tracks.get(&track) else {
            return false;
        };
        let (nameless, connection) = match (state.kind, state.intake.get().asker()) {
            (Kind::Nameless(connection), _) => (true, connection),
            (_, Some(connection)) => (false, connection),
            (_, None) => return false,
        };
        self.overtake(Work::EncodeSource);
        let job = self.start(
            Task::Encode {
                track,
                connection,
                nameless,
            },
            Some(Work::EncodeSource),
            effects,
        );
        if let Some(state) = self.tracks.get_mut(&track) {
            state.intake.step(|intake| match intake {
                Intake::Waiting(waiting) => (waiting.encode(job).into(), ()),
                other => (other, ()),
            });
        }
        true
    }

    fn step_disk(&mut self, effects: &mut Effects) -> bool {
        let busy: Vec<TrackId> = self.jobs.values().filter_map(|job| job.task.track()).collect();
        let next = self.tracks.iter().find(|(id, track)| {
            let idle = !busy.contains(id);
            idle && (track.doom == Doom::Sealed || track.intake.get().is_unsaved() || track.stems.get().is_unsaved())
        });
        let Some((track, state)) = next.map(|(id, state)| (*id, state)) else {
            return false;
        };
        if state.doom == Doom::Sealed {
            self.wipe(track, effects);
        } else if state.intake.get().is_unsaved() {
            let job = self.start(Task::Save { track }, None, effects);
            self.step_intake(track, |intake| match intake {
                Intake::Saving(saving) => saving.save(job).into(),
                other => other,
            });
        } else {
            let job = self.start(Task::SaveStems { track }, None, effects);
            self.step_stems(track, |stems| match stems {
                Stems::Saving(saving) => saving.save(job).into(),
                other => other,
            });
            self.push_progress(track, effects);
        }
        true
    }

    /// Tells the owner's live session how the stems ended: exactly once.
    fn step_owed(&mut self, effects: &mut Effects) -> bool {
        let Some((connection, session)) = self.live_session() else {
            return false;
        };
        // A swap that waits for these stems brings them itself.
        let brought = session
            .swap
            .filter(|swap| swap.mode.waits_for_stems())
            .map(|swap| swap.track);
        let lineage = self.lineage.map(|lineage| Owner::Lineage(lineage.id));
        let owed = self.tracks.iter().find(|(id, track)| {
            // What belongs to everybody is owed only to the session that asked, and only as long as it lasts.
            let mine = Some(track.owner) == lineage || track.owner == Owner::Everybody;
            let ended = track.stems.get().is_ready() || track.stems.get().failure().is_some();
            mine && ended && brought != Some(**id) && track.is_usable() && track.owed == Owed::Answer
        });
        let Some(track) = owed.map(|(id, _)| *id) else {
            return false;
        };
        let Some(state) = self.tracks.get_mut(&track) else {
            return false;
        };
        state.owed = Owed::Nothing;
        if Bug::PendingStemLost.is_active() {
            return true;
        }
        effects.push(match state.stems.get().failure() {
            None => Effect::PushStems { connection, track },
            Some(failure) => Effect::PushStemFailure {
                connection,
                track,
                failure,
            },
        });
        true
    }

    pub(crate) fn push_progress(&mut self, track: TrackId, effects: &mut Effects) {
        let Some((connection, session)) = self.live_session() else {
            return;
        };
        let lineage = self.lineage.map(|lineage| Owner::Lineage(lineage.id));
        let Some(state) = self.tracks.get(&track) else { return };
        if Some(state.owner) != lineage && session.track != track {
            return;
        }
        let (done, total, phase) = match state.stems.get() {
            Stems::Ripping(ripping) => (ripping.rip().done, ripping.rip().total, StemsPhase::Ripping),
            Stems::Encoding(_) | Stems::Saving(_) => (0, 0, StemsPhase::Saving),
            _ => return,
        };
        effects.push(Effect::PushStemProgress {
            connection,
            track,
            done,
            total,
            state: phase,
        });
    }

    pub(crate) fn encoded(&mut self, track: TrackId, outcome: Outcome, effects: &mut Effects) {
        let Some(state) = self.tracks.get_mut(&track).filter(|track| track.intake.get().is_open()) else {
            return;
        };
        let on_disk = state.is_on_disk();
        let may_retry = state.intake.get().may_retry();
        // It was measured only on the way: with its engine, if there is one, once more.
        let measured = outcome == Outcome::Failed(Failure::EngineNotBuilt) && self.encodes_by_engine();
        if may_retry && (outcome == Outcome::Failed(Failure::OutOfMemory) || measured) {
            return self.step_intake(track, |intake| match intake {
                Intake::Encoding(encoding) => encoding.retry().into(),
                other => other,
            });
        }
        if let Some(failure) = failure_of(outcome) {
            return self.fail_track(track, failure, effects);
        }
        self.step_intake(track, |intake| match intake {
            Intake::Encoding(encoding) if on_disk => encoding.encoded().into(),
            Intake::Encoding(encoding) => encoding.encoded_in_memory().into(),
            other => other,
        });
    }

    pub(crate) fn saved(&mut self, track: TrackId, outcome: Outcome, effects: &mut Effects) {
        if self
            .tracks
            .get(&track)
            .is_none_or(|track| !track.intake.get().is_open())
        {
            return;
        }
        if let Some(failure) = failure_of(outcome) {
            return self.fail_track(track, failure, effects);
        }
        self.step_intake(track, |intake| match intake {
            Intake::Saving(saving) => saving.saved().into(),
            other => other,
        });
        let rips = self.plan.has(Group::Separator);
        let Some(state) = self.tracks.get_mut(&track) else {
            return;
        };
        let Intake::Saved(saved) = state.intake.get_mut() else {
            return;
        };
        let ack = saved.ack(track, rips);
        if rips {
            state.owe_stems();
            // A kept track whose session is over has nobody to tell.
            state.owed = if state.owner == Owner::Everybody {
                Owed::Nothing
            } else {
                Owed::Answer
            };
        }
        if let Some(ack) = ack {
            self.answer_upload(ack.connection(), Effect::UploadOk(ack), effects);
        }
    }

    pub(crate) fn stems_saved(&mut self, track: TrackId, outcome: Outcome) {
        self.step_stems(track, |stems| match (stems, failure_of(outcome)) {
            (Stems::Saving(saving), None) => saving.saved().into(),
            (Stems::Saving(saving), Some(why)) => saving.fail(why).into(),
            (other, _) => other,
        });
    }

    /// Phase 1 came to nothing: whoever waits is told, and nothing of it stays.
    pub(crate) fn fail_track(&mut self, track: TrackId, failure: Failure, effects: &mut Effects) {
        let Some(state) = self.tracks.get_mut(&track) else {
            return;
        };
        if let Some(asker) = state.intake.step(|intake| intake.failed(failure)) {
            let connection = asker.0;
            self.answer_upload(connection, Effect::UploadFailed { connection, failure }, effects);
        }
        self.doom(track, failure, effects);
    }

    /// The track goes: from now on nothing of it can be listed, read or written again.
    pub(crate) fn doom(&mut self, track: TrackId, failure: Failure, effects: &mut Effects) {
        let Some(state) = self.tracks.get_mut(&track).filter(|track| track.is_usable()) else {
            return;
        };
        state.doom = Doom::Sealed;
        state.owed = Owed::Nothing;
        if !Bug::WipeNotFinal.is_active() {
            state.stems.step(|stems| (stems.discarded(), ()));
        }
        let asker = state.intake.step(|intake| intake.failed(failure));
        self.alarms.clear(Alarm::Unclaimed(track));
        if let Some(asker) = asker {
            let connection = asker.0;
            self.answer_upload(connection, Effect::UploadFailed { connection, failure }, effects);
        }
        effects.push(Effect::Forget { track });
        self.cancel_jobs_of(track, effects);
    }

    /// What is not playable yet when the pod ends never will be.
    pub(crate) fn drop_unfinished(&mut self, failure: Failure, effects: &mut Effects) {
        let open: Vec<TrackId> = self
            .tracks
            .iter()
            .filter(|(_, track)| track.intake.get().is_open())
            .map(|(id, _)| *id)
            .collect();
        for track in open {
            self.fail_track(track, failure, effects);
        }
        self.cancel_work(effects);
    }

    fn wipe(&mut self, track: TrackId, effects: &mut Effects) {
        if self.tracks.get(&track).is_some_and(Track::is_on_disk) {
            let job = self.start(Task::Wipe { track }, None, effects);
            self.set_doom(track, Doom::Wiping(job));
        } else {
            self.tracks.remove(&track);
        }
    }

    pub(crate) fn wiped(&mut self, track: TrackId, outcome: Outcome) {
        if outcome == Outcome::Done {
            self.tracks.remove(&track);
        } else {
            self.set_doom(track, Doom::Stuck);
            self.alarms
                .set(Alarm::WipeRetry(track), self.now + self.plan.times.wipe_retry);
        }
    }

    pub(crate) fn retry_wipe(&mut self, track: TrackId) {
        self.set_doom(track, Doom::Sealed);
    }

    /// Whether files of an ended lineage may still be there untried: no session is ready before they have been wiped.
    pub(crate) fn is_wiping(&self) -> bool {
        self.tracks
            .values()
            .any(|track| track.is_on_disk() && matches!(track.doom, Doom::Sealed | Doom::Wiping(_)))
    }

    fn set_doom(&mut self, track: TrackId, doom: Doom) {
        if let Some(track) = self.tracks.get_mut(&track) {
            track.doom = doom;
        }
    }

    fn step_intake(&mut self, track: TrackId, step: impl FnOnce(Intake) -> Intake) {
        if let Some(track) = self.tracks.get_mut(&track) {
            track.intake.step(|intake| (step(intake), ()));
        }
    }

    pub(crate) fn step_stems(&mut self, track: TrackId, step: impl FnOnce(Stems) -> Stems) {
        if let Some(track) = self.tracks.get_mut(&track) {
            track.stems.step(|stems| (step(stems), ()));
        }
    }
}
