//! Stems of a track being written, within the track's own directory: a wipe takes them along.

use std::{io, path::Path};

use greenroom_audio::Pcm;

use crate::{
    FileRecord, Generator, LibraryError, Manifest, Result, SidecarKind, TrackId,
    draft::Staging,
    layout::{INSTRUMENTS, STEMS, VOCALS},
};

/// Both stems of a track to be, with their sidecars. It may go to another thread;
/// [`Library::commit_stems`](crate::Library::commit_stems) makes them the track's, dropping it leaves the track as it was.
pub struct StemsDraft {
    pub(crate) staging: Staging,
    /// The shape that stems must have.
    pub(crate) source: Manifest,
    pub(crate) stems: Option<(FileRecord, FileRecord)>,
}

impl StemsDraft {
    /// Whose stems these are.
    #[must_use]
    pub fn track(&self) -> TrackId {
        self.staging.track()
    }

    /// Writes both stems (32-bit float) and returns when they are on the medium.
    ///
    /// # Errors
    /// [`LibraryError::Wiped`] once the track is; [`LibraryError::StemsMismatch`] if one is not as long as the source
    /// or of another shape; [`LibraryError::DiskFull`], [`LibraryError::ReadOnly`], [`LibraryError::Io`].
    pub fn write_stems(&mut self, vocals: &Pcm, instruments: &Pcm) -> Result<()> {
        for (name, stem) in [("vocals", vocals), ("instruments", instruments)] {
            self.check_shape(name, stem)?;
        }
        let vocals = self.staging.write_pcm(&Path::new(STEMS).join(VOCALS), vocals);
        let vocals = vocals.map_err(|error| self.blame(error))?;
        let instruments = self.staging.write_pcm(&Path::new(STEMS).join(INSTRUMENTS), instruments);
        let instruments = instruments.map_err(|error| self.blame(error))?;
        self.stems = Some((vocals, instruments));
        Ok(())
    }

    /// Writes something computed from the stems; it takes the place of an older one of its kind.
    ///
    /// # Errors
    /// As [`write_stems`](Self::write_stems), and [`LibraryError::Manifest`] for a second one of a kind.
    pub fn write_sidecar(&mut self, kind: &SidecarKind, generator: &Generator, content: &[u8]) -> Result<()> {
        let result = self.staging.write_sidecar(kind, generator, content);
        result.map_err(|error| self.blame(error))
    }

    /// Removes everything written so far, which dropping the draft also does.
    pub fn discard(self) {
        drop(self);
    }

    /// The directory only vanishes under a draft when its track is wiped.
    pub(crate) fn blame(&self, error: LibraryError) -> LibraryError {
        match error {
            LibraryError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                LibraryError::Wiped { track: self.track() }
            }
            other => other,
        }
    }

    fn check_shape(&self, name: &str, stem: &Pcm) -> Result<()> {
        let shape = (stem.frames() as u64, stem.channels(), stem.sample_rate());
        let source = (self.source.samples, self.source.channels, self.source.sample_rate);
        if shape == source {
            return Ok(());
        }
        let reason = format!(
            "{name}: {} frames, {} channels, {} Hz, but the source has {}, {} and {}",
            shape.0, shape.1, shape.2, source.0, source.1, source.2
        );
        Err(LibraryError::StemsMismatch {
            track: self.track(),
            reason,
        })
    }
}
