//! Phase 1 of a track: decode and trim, then analysis, encoding and writing at the same time.

use std::sync::{Arc, mpsc};

use greenroom_audio::{Analysis, Pcm, analyze, prepare_upload};
use greenroom_director::{ConnectionId, Failure, Outcome, TrackId, Work};
use greenroom_generator::PreparedSource;
use greenroom_library::{Draft, Library, LibraryError};

use super::{
    deposit::UploadBody,
    job::{Job, JobError, guarded},
    shared::Shared,
    shelf::{DEFAULT_TIME_SIGNATURE, sidecar_kind},
    tracks::{Part, TrackFacts},
};

/// Room reserved on disk for a generator's sidecar: 240 s of 64 channels of 25 Hz latents as f32 take 1.5 MB, with their context a few times that.
const SIDECAR_BYTES_MAX: u64 = 8 << 20;

/// Runs phase 1; what it finds is in the track table when it returns.
pub(super) fn encode(
    shared: &Arc<Shared>,
    track: TrackId,
    asker: ConnectionId,
    nameless: bool,
    job: &Job,
) -> Result<Outcome, JobError> {
    let cancel = &job.cancel;
    shared.tracks.change(track, |entry| entry.asker = Some(asker));
    let audio = source_audio(shared, track)?;
    shared.tell_measure(track, shared.desks.walk(asker));
    if cancel.is_raised() {
        return Err(JobError::Cancelled);
    }
    // Each of these is waited for below, whatever becomes of the others: nothing may go on behind the job's end.
    let writing = (!nameless).then(|| write_draft(shared, track, &audio));
    let analysing = analyse(shared, &audio);
    let prepared = guarded(|| {
        let _room = shared.room_for(Work::EncodeSource)?;
        shared.encoded_anew(Arc::clone(&audio), job.lent, cancel)
    });
    let analysis = wait_for(&analysing);
    let draft = writing.map(|writing| wait_for(&writing)).transpose();
    let (prepared, analysis, mut draft) = (prepared?, analysis?, draft?);
    if let Some(draft) = &mut draft {
        write_sidecar(shared, draft, &prepared)?;
    }
    if cancel.is_raised() {
        return Err(JobError::Cancelled);
    }
    let facts = facts(shared, track, &audio, &analysis);
    shared.tracks.encoded(track, prepared, facts, draft);
    Ok(Outcome::Done)
}

/// Encodes both stems of a track and keeps what a later swap to one of them needs, to be written with them.
pub(super) fn encode_stems(shared: &Shared, track: TrackId, job: &Job) -> Result<Outcome, JobError> {
    let _room = shared.room_for(Work::EncodeSource)?;
    let stems = shared.stems_of(track)?;
    for (part, stem) in [(Part::Vocals, stems.vocals), (Part::Instruments, stems.instruments)] {
        // A try that gave way may have made one of them.
        if shared.tracks.prepared(track, part).is_none() {
            let prepared = shared.encoded_anew(stem, job.lent, &job.cancel)?;
            shared.tracks.keep_sidecar(track, part, Arc::clone(&prepared.sidecar));
            shared.tracks.keep_prepared(track, part, prepared);
        }
    }
    Ok(Outcome::Done)
}

/// The upload's audio as a source; kept at once, since the encoding may be tried again.
fn source_audio(shared: &Shared, track: TrackId) -> Result<Arc<Pcm>, JobError> {
    if let Some(audio) = shared.tracks.audio(track) {
        return Ok(audio);
    }
    let audio = match shared.tracks.take_body(track) {
        Some(UploadBody::Pcm(pcm)) => prepare_upload(pcm, shared.seconds_max())?,
        Some(UploadBody::File(file)) => shared.decoded(&file)?,
        None => {
            return Err(JobError::new(
                Failure::Internal,
                "the upload's audio is no longer there: send it again",
            ));
        }
    };
    let audio = Arc::new(audio);
    shared.tracks.keep_audio(track, Arc::clone(&audio));
    Ok(audio)
}

type Waiting<T> = mpsc::Receiver<Result<T, JobError>>;

fn analyse(shared: &Shared, audio: &Arc<Pcm>) -> Waiting<Analysis> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let audio = Arc::clone(audio);
    shared.signal.spawn_fifo(move || {
        let _ = sender.send(guarded(|| Ok(analyze(&audio))));
    });
    receiver
}

fn write_draft(shared: &Arc<Shared>, track: TrackId, audio: &Arc<Pcm>) -> Waiting<Draft> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let (shared_there, audio) = (Arc::clone(shared), Arc::clone(audio));
    shared.disk.spawn_fifo(move || {
        let _ = sender.send(guarded(|| {
            let name = shared_there
                .tracks
                .with(track, |entry| entry.name_hint.clone())
                .unwrap_or_default();
            let bytes = Library::source_bytes(&audio) + SIDECAR_BYTES_MAX;
            let mut draft = shared_there.library().begin_draft(&name, bytes)?;
            draft.write_source(&audio)?;
            Ok(draft)
        }));
    });
    receiver
}

/// The other side always answers, unless its pool is being taken down with the pod.
fn wait_for<T>(waiting: &Waiting<T>) -> Result<T, JobError> {
    waiting.recv().unwrap_or_else(|_| {
        Err(JobError::new(
            Failure::Internal,
            "the pod is going down: try again in a few seconds",
        ))
    })
}

fn write_sidecar(shared: &Shared, draft: &mut Draft, prepared: &PreparedSource) -> Result<(), JobError> {
    if prepared.sidecar.is_empty() {
        return Ok(());
    }
    match draft.write_sidecar(
        &sidecar_kind(Part::Whole)?,
        &shared.sidecar_generator(),
        &prepared.sidecar,
    ) {
        Ok(()) => Ok(()),
        Err(LibraryError::LimitReached { .. }) => {
            tracing::warn!(
                bytes = prepared.sidecar.len(),
                "a sidecar is larger than the room reserved for it: a later swap encodes again"
            );
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// What the client knows of its own audio wins over the analysis.
fn facts(shared: &Shared, track: TrackId, audio: &Pcm, analysis: &Analysis) -> TrackFacts {
    let told = shared
        .tracks
        .with(track, |entry| entry.told.clone())
        .unwrap_or_default();
    TrackFacts {
        bpm: analysis.bpm,
        key: told.key.unwrap_or_else(|| analysis.key.to_owned()),
        time_signature: told.time_signature.unwrap_or_else(|| DEFAULT_TIME_SIGNATURE.to_owned()),
        frames: audio.frames(),
        channels: audio.channels(),
    }
}
