//! Jobs on the disk: a few at once, on a pool of their own. The order of those of one track is the director's.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use greenroom_director::{Failure, Outcome, TrackId};
use greenroom_library::TrackFacts as LibraryFacts;

use super::{
    job::{Job, JobError},
    outbox::Refusal,
    shared::Shared,
    shelf::sidecar_kind,
    tracks::{Condemned, Entry, Origin, StemsState},
};

/// Makes a draft a track.
pub(super) fn save(shared: &Arc<Shared>, job: Job, track: TrackId) {
    spawn(shared, job, track, move |shared| {
        let draft = shared.tracks.take_draft(track);
        let facts = shared.tracks.with(track, |entry| entry.facts.clone()).flatten();
        let (Some(draft), Some(facts)) = (draft, facts) else {
            return Err(JobError::new(
                Failure::Internal,
                "the upload's draft is no longer there: send it again",
            ));
        };
        let facts = LibraryFacts {
            // Ownership is the director's and ends with the process; what is kept beyond it is for whoever comes.
            owner: None,
            created_unix_s: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            bpm: facts.bpm,
            key: facts.key,
            time_signature: facts.time_signature,
        };
        let saved = shared.library().commit(draft, facts)?;
        if !shared.tracks.saved(track, saved.id) {
            // Forgotten in the meantime; the wipe comes after this.
            shared.tracks.condemn(track, saved.id);
        }
        Ok(Outcome::Done)
    });
}

/// Writes the stems of a track beside it, with what was kept of their encoding; those of a track that is only in memory stay there.
pub(super) fn save_stems(shared: &Arc<Shared>, job: Job, track: TrackId) {
    spawn(shared, job, track, move |shared| {
        let origin = shared.tracks.with(track, |entry| entry.origin);
        if let Some(Origin::Upload(id)) = origin {
            let stems = shared.stems_of(track)?;
            let sidecars = shared.tracks.take_sidecars(track);
            let sidecar_bytes = sidecars.iter().map(|(_, sidecar)| sidecar.len() as u64).sum();
            let mut draft = shared.library().begin_stems(id, sidecar_bytes)?;
            draft.write_stems(&stems.vocals, &stems.instruments)?;
            for (part, sidecar) in &sidecars {
                draft.write_sidecar(&sidecar_kind(*part)?, &shared.sidecar_generator(), sidecar)?;
            }
            shared.library().commit_stems(draft)?;
            shared.tracks.stems_saved(track);
        }
        shared.tracks.set_stems_state(track, StemsState::Ready);
        Ok(Outcome::Done)
    });
}

/// Removes all that is kept of a track. Nothing to do where nothing is.
pub(super) fn wipe(shared: &Arc<Shared>, job: Job, track: TrackId) {
    spawn(shared, job, track, move |shared| {
        let Condemned { library, draft } = shared.tracks.take_condemned(track).unwrap_or_default();
        drop(draft);
        if let Some(id) = library {
            let wiped = shared.library().wipe(&[id]);
            wiped.inspect_err(|_| shared.tracks.condemn(track, id))?;
        }
        Ok(Outcome::Done)
    });
}

/// Drops what a forgotten track held in memory.
pub(super) fn drop_entry(shared: &Shared, entry: Entry) {
    shared.disk.spawn_fifo(move || drop(entry));
}

fn spawn(
    shared: &Arc<Shared>,
    job: Job,
    track: TrackId,
    work: impl FnOnce(&Arc<Shared>) -> Result<Outcome, JobError> + Send + 'static,
) {
    let shared_there = Arc::clone(shared);
    shared.disk.spawn_fifo(move || {
        let shared = shared_there;
        job.run(
            &shared.events,
            || work(&shared),
            |refusal| explain(&shared, track, refusal),
        );
    });
}

/// Keeps the words for whoever hears of the failure: the uploader, or the stems' listener.
fn explain(shared: &Shared, track: TrackId, refusal: &Refusal) {
    shared.tracks.change(track, |entry| {
        if matches!(entry.stems_state, StemsState::Pending { .. }) {
            entry.stems_state = StemsState::Failed(refusal.clone());
        }
    });
    if let Some(asker) = shared.tracks.with(track, |entry| entry.asker).flatten() {
        shared.desks.explain(asker, refusal.clone());
    }
}
