//! The work thread: phase 1 of tracks, and the turns of rips.

use std::{collections::BTreeMap, sync::Arc};

use greenroom_director::{ConnectionId, Event, Failure, Outcome, StemsPhase, TrackId, Work};
use greenroom_separator::{BatchOutcome, Rip, Stems};
use greenroom_sync::Mailbox;

use super::{
    encode::{encode, encode_stems},
    job::{Job, JobError},
    outbox::Refusal,
    shared::{PATIENCE, Shared},
    tracks::{Origin, StemPair, StemsState},
};

/// What the work thread is asked to do, in order.
#[derive(Debug)]
pub(super) enum WorkOrder {
    /// Phase 1.
    Encode {
        job: Job,
        track: TrackId,
        connection: ConnectionId,
        nameless: bool,
    },
    /// A turn of a rip.
    Rip { job: Job, track: TrackId },
    /// What is kept of stems that a rip has made.
    EncodeStems { job: Job, track: TrackId },
    /// The track is gone, and so is what its rip had done.
    Forget(TrackId),
}

/// Runs until the mailbox is closed.
pub(super) fn run(shared: &Arc<Shared>, orders: &Mailbox<WorkOrder>) {
    let mut rips = Rips::default();
    while let Some(order) = PATIENCE.next(orders) {
        match order {
            WorkOrder::Encode {
                job,
                track,
                connection,
                nameless,
            } => {
                let work = || encode(shared, track, connection, nameless, &job);
                job.run(&shared.events, work, |refusal| {
                    shared.desks.explain(connection, refusal.clone())
                });
            }
            WorkOrder::Rip { job, track } => {
                let turn = || rips.turn(shared, &job, track);
                job.run(&shared.events, turn, |refusal| rip_failed(shared, track, refusal));
            }
            // Nobody waits for it: the stems are written all the same.
            WorkOrder::EncodeStems { job, track } => {
                job.run(&shared.events, || encode_stems(shared, track, &job), |_| {})
            }
            WorkOrder::Forget(track) => rips.forget(track),
        }
    }
}

/// Rips that gave way and go on later. What they did stays in host memory.
#[derive(Default)]
struct Rips {
    waiting: BTreeMap<TrackId, Box<dyn Rip>>,
}

impl Rips {
    /// Goes on with a rip until it is done or gives way. A failure (or panic) drops it: the next turn begins anew.
    fn turn(&mut self, shared: &Arc<Shared>, job: &Job, track: TrackId) -> Result<Outcome, JobError> {
        let waiting = self.waiting.remove(&track);
        // Taken before the rip is, so given back after it: memory is trimmed when nothing of a failed try is left in it.
        let _room = shared.room_for(Work::Rip)?;
        let mut rip = waiting.map_or_else(|| begin(shared, track), Ok)?;
        let (mut done, total) = rip.progress();
        tell_progress(shared, job, track, done, total);
        while done < total {
            if job.cancel.is_raised() {
                self.waiting.insert(track, rip);
                return Ok(Outcome::Yielded { abandoned: false });
            }
            match rip.run_batch(&job.cancel)? {
                BatchOutcome::Done => {
                    done = rip.progress().0;
                    tell_progress(shared, job, track, done, total);
                    // Not before the first batch: every turn gets the rip on.
                    if job.after_batch.is_raised() && done < total {
                        self.waiting.insert(track, rip);
                        return Ok(Outcome::Yielded { abandoned: false });
                    }
                }
                BatchOutcome::Abandoned => {
                    self.waiting.insert(track, rip);
                    return Ok(Outcome::Yielded { abandoned: true });
                }
            }
        }
        let Stems { vocals, instruments } = rip.finish()?;
        let stems = StemPair {
            vocals: Arc::new(vocals),
            instruments: Arc::new(instruments),
        };
        shared.tracks.keep_stems(track, stems);
        let state = match shared.tracks.with(track, |entry| entry.origin) {
            Some(Origin::Upload(_)) => StemsState::Pending {
                phase: StemsPhase::Saving,
                done,
                total,
            },
            _ => StemsState::Ready,
        };
        shared.tracks.set_stems_state(track, state);
        Ok(Outcome::Done)
    }

    fn forget(&mut self, track: TrackId) {
        self.waiting.remove(&track);
    }
}

fn begin(shared: &Shared, track: TrackId) -> Result<Box<dyn Rip>, JobError> {
    let Some(separator) = &shared.separator else {
        return Err(JobError::new(
            Failure::StemExtractFailed,
            "this pod has no separator: play the full track",
        ));
    };
    Ok(separator.begin(shared.audio_of(track)?)?)
}

fn tell_progress(shared: &Shared, job: &Job, track: TrackId, done: u32, total: u32) {
    shared.tracks.set_stems_state(
        track,
        StemsState::Pending {
            phase: StemsPhase::Ripping,
            done,
            total,
        },
    );
    shared.events.tell_blocking(Event::RipProgress {
        job: job.id,
        done,
        total,
    });
}

/// Remembers why, until a next turn begins; also on disk, where it is final: the next boot must not try again.
fn rip_failed(shared: &Arc<Shared>, track: TrackId, refusal: &Refusal) {
    shared
        .tracks
        .set_stems_state(track, StemsState::Failed(refusal.clone()));
    // Memory may be there the next time.
    let is_final = refusal.failure == Failure::StemExtractFailed;
    if let Some(Origin::Upload(id)) = shared.tracks.with(track, |entry| entry.origin).filter(|_| is_final) {
        let (shared_there, reason) = (Arc::clone(shared), refusal.message.clone());
        shared.disk.spawn_fifo(move || {
            if let Err(error) = shared_there.library().mark_stems_failed(id, &reason) {
                tracing::warn!(%track, %error, "that the stems failed could not be written: the next boot tries again");
            }
        });
    }
}
