//! Tracks fetched into memory: from the table where they are at hand, else from the library, else computed. All of it may be slow.

use std::sync::Arc;

use greenroom_audio::{DecodeLimits, Pcm, SAMPLE_RATE, analyze, decode, prepare_upload};
use greenroom_director::{Failure, TrackId};
use greenroom_generator::{Lent, PreparedSource};
use greenroom_library::{Generator as SidecarGenerator, LibraryError, SidecarKind, TrackId as LibraryId, TrackReader};
use greenroom_sync::CancelFlag;

use super::{
    job::JobError,
    shared::Shared,
    telemetry::SourceFrom,
    tracks::{Origin, Part, StemPair, TrackFacts},
};

impl Shared {
    /// The audio of a track.
    pub(super) fn audio_of(&self, track: TrackId) -> Result<Arc<Pcm>, JobError> {
        if let Some(audio) = self.tracks.audio(track) {
            return Ok(audio);
        }
        let audio = match self.origin_of(track)? {
            Origin::Memory => return Err(gone()),
            Origin::Upload(id) | Origin::Fixture(id) => Arc::new(self.reader(id)?.read_source()?),
            Origin::FixtureFile(id) => self.decode_fixture(track, id)?,
        };
        self.tracks.keep_audio(track, Arc::clone(&audio));
        Ok(audio)
    }

    /// Both stems of a track that has them.
    pub(super) fn stems_of(&self, track: TrackId) -> Result<StemPair, JobError> {
        if let Some(stems) = self.tracks.stems(track) {
            return Ok(stems);
        }
        let (Origin::Upload(id) | Origin::Fixture(id)) = self.origin_of(track)? else {
            return Err(JobError::new(
                Failure::StemExtractFailed,
                "this track has no stems: play the full track",
            ));
        };
        let (vocals, instruments) = self.reader(id)?.read_stems()?;
        let stems = StemPair {
            vocals: Arc::new(vocals),
            instruments: Arc::new(instruments),
        };
        self.tracks.keep_stems(track, stems.clone());
        Ok(stems)
    }

    /// A part of a track as the generator wants it: remembered, read from its sidecar, or prepared now.
    pub(super) fn prepared_of(
        &self,
        track: TrackId,
        part: Part,
        engines: Lent,
        cancel: &CancelFlag,
    ) -> Result<PreparedSource, JobError> {
        if let Some(prepared) = self.tracks.prepared(track, part) {
            return Ok(prepared);
        }
        let prepared = self.prepare(track, part, engines, cancel)?;
        self.tracks.keep_prepared(track, part, prepared.clone());
        Ok(prepared)
    }

    fn prepare(
        &self,
        track: TrackId,
        part: Part,
        engines: Lent,
        cancel: &CancelFlag,
    ) -> Result<PreparedSource, JobError> {
        let audio = match part {
            Part::Whole => self.audio_of(track)?,
            Part::Vocals => self.stems_of(track)?.vocals,
            Part::Instruments => self.stems_of(track)?.instruments,
        };
        if let Some(sidecar) = self.sidecar_of(track, part)? {
            match self.generator.restore_source(Arc::clone(&audio), &sidecar) {
                Ok(prepared) => {
                    self.telemetry.source_made(SourceFrom::Sidecar);
                    return Ok(prepared);
                }
                Err(error) => tracing::info!(%track, %error, "a sidecar does not fit: its source is prepared anew"),
            }
        }
        self.encoded_anew(audio, engines, cancel)
    }

    /// Audio as the generator wants it, whatever is kept of it.
    pub(super) fn encoded_anew(
        &self,
        audio: Arc<Pcm>,
        engines: Lent,
        cancel: &CancelFlag,
    ) -> Result<PreparedSource, JobError> {
        let prepared = self.generator.prepare_source_by(audio, engines, cancel)?;
        self.telemetry.source_made(SourceFrom::Audio);
        Ok(prepared)
    }

    fn sidecar_of(&self, track: TrackId, part: Part) -> Result<Option<Vec<u8>>, JobError> {
        let (Origin::Upload(id) | Origin::Fixture(id)) = self.origin_of(track)? else {
            return Ok(None);
        };
        match self
            .reader(id)?
            .read_sidecar(&sidecar_kind(part)?, &self.sidecar_generator())
        {
            Ok(sidecar) => Ok(sidecar),
            // What is damaged is best computed anew.
            Err(LibraryError::Damaged { reason, .. }) => {
                tracing::warn!(%track, reason, "a sidecar is damaged: its source is prepared anew");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Who made the sidecars that this pod can read.
    pub(super) fn sidecar_generator(&self) -> SidecarGenerator {
        let description = self.generator.description();
        SidecarGenerator {
            name: description.name.to_owned(),
            version: description.checkpoint.clone(),
        }
    }

    /// Reads a track's files, on any thread.
    pub(super) fn reader(&self, id: LibraryId) -> Result<TrackReader, LibraryError> {
        self.library().reader(id)
    }

    fn origin_of(&self, track: TrackId) -> Result<Origin, JobError> {
        self.tracks.with(track, |entry| entry.origin).ok_or_else(gone)
    }

    /// A fixture that is an audio file: decoded, trimmed, and analysed where it never was.
    fn decode_fixture(&self, track: TrackId, id: LibraryId) -> Result<Arc<Pcm>, JobError> {
        let bytes = self.library().fixture_bytes(id)?;
        let audio = self.decoded(&bytes)?;
        if self.tracks.with(track, |entry| entry.facts.is_none()).unwrap_or(false) {
            let analysis = analyze(&audio);
            let facts = TrackFacts {
                bpm: analysis.bpm,
                key: analysis.key.to_owned(),
                time_signature: DEFAULT_TIME_SIGNATURE.to_owned(),
                frames: audio.frames(),
                channels: audio.channels(),
            };
            self.tracks.change(track, |entry| entry.facts = Some(facts));
        }
        Ok(Arc::new(audio))
    }

    /// A compressed file as a source.
    pub(super) fn decoded(&self, file: &[u8]) -> Result<Pcm, JobError> {
        // A second more than is kept: the cut is made after resampling.
        let limits = DecodeLimits {
            kept_seconds_max: self.seconds_max() + 1.0,
            ..DecodeLimits::default()
        };
        Ok(prepare_upload(decode(file, &limits)?.pcm, self.seconds_max())?)
    }
}

/// Bars are taken to have four beats where nobody says otherwise: the analysis does not tell.
pub(super) const DEFAULT_TIME_SIGNATURE: &str = "4";

/// The kind under which the encoding of a part of a track is kept.
pub(super) fn sidecar_kind(part: Part) -> Result<SidecarKind, JobError> {
    Ok(SidecarKind::new(match part {
        Part::Whole => "source",
        Part::Vocals => "vocals",
        Part::Instruments => "instruments",
    })?)
}

/// Seconds that so many frames last.
pub(super) fn seconds(frames: usize) -> f64 {
    frames as f64 / f64::from(SAMPLE_RATE)
}

fn gone() -> JobError {
    JobError::new(
        Failure::Internal,
        "the track is no longer there: upload it again, or choose another",
    )
}
