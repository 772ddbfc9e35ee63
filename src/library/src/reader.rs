//! Reading a track, apart from the library: slow, and on any thread.

use std::{io, path::PathBuf, sync::Arc};

use greenroom_audio::{Pcm, read_wav};
use sha2::{Digest, Sha256};

use crate::{
    Disk, FileRecord, Generator, LibraryError, Manifest, Result, SidecarKind, StemsState, TrackId,
    draft::hexadecimal,
    error::while_doing,
    layout::{INSTRUMENTS, SIDECARS, SOURCE, STEMS, VOCALS},
};

/// A track as it was when the reader was made. Once the track is wiped every read says so.
#[derive(Clone)]
pub struct TrackReader {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) directory: PathBuf,
    pub(crate) id: TrackId,
    pub(crate) manifest: Manifest,
}

impl TrackReader {
    /// The source, exactly as it was written.
    ///
    /// # Errors
    /// [`LibraryError::Wiped`]; [`LibraryError::Damaged`] if the file is not what the manifest says;
    /// [`LibraryError::Io`].
    pub fn read_source(&self) -> Result<Pcm> {
        self.read_pcm(SOURCE, &self.manifest.source)
    }

    /// Vocals and instruments.
    ///
    /// # Errors
    /// As [`read_source`](Self::read_source), and [`LibraryError::NoStems`].
    pub fn read_stems(&self) -> Result<(Pcm, Pcm)> {
        let StemsState::Ready { vocals, instruments } = &self.manifest.stems else {
            return Err(LibraryError::NoStems { track: self.id });
        };
        let vocals = self.read_pcm(&format!("{STEMS}/{VOCALS}"), vocals)?;
        let instruments = self.read_pcm(&format!("{STEMS}/{INSTRUMENTS}"), instruments)?;
        Ok((vocals, instruments))
    }

    /// A sidecar of this kind if there is one by this very generator.
    ///
    /// # Errors
    /// As [`read_source`](Self::read_source); a damaged one is best computed anew.
    pub fn read_sidecar(&self, kind: &SidecarKind, generator: &Generator) -> Result<Option<Vec<u8>>> {
        match self.manifest.sidecar(kind.as_str()) {
            Some(record) if record.generator == *generator => {
                let what = format!("{SIDECARS}/{}", record.file_name());
                let content = self.read(&what, &record.file)?;
                self.check_digest(&what, &content, &record.file)?;
                Ok(Some(content))
            }
            _ => Ok(None),
        }
    }

    /// The bytes of `source.wav`, to be sent as they are.
    ///
    /// # Errors
    /// As [`read_source`](Self::read_source).
    pub fn source_bytes(&self) -> Result<Vec<u8>> {
        self.read(SOURCE, &self.manifest.source)
    }

    /// Reads every file and compares its digest: for an operator who doubts the medium, too slow for every read.
    ///
    /// # Errors
    /// As [`read_source`](Self::read_source).
    pub fn verify(&self) -> Result<()> {
        let mut files = vec![(SOURCE.to_owned(), &self.manifest.source)];
        if let StemsState::Ready { vocals, instruments } = &self.manifest.stems {
            files.push((format!("{STEMS}/{VOCALS}"), vocals));
            files.push((format!("{STEMS}/{INSTRUMENTS}"), instruments));
        }
        for sidecar in &self.manifest.sidecars {
            files.push((format!("{SIDECARS}/{}", sidecar.file_name()), &sidecar.file));
        }
        for (what, record) in files {
            self.check_digest(&what, &self.read(&what, record)?, record)?;
        }
        Ok(())
    }

    /// What the manifest says of the track.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn read_pcm(&self, what: &str, record: &FileRecord) -> Result<Pcm> {
        let bytes = self.read(what, record)?;
        let pcm = read_wav(&bytes).map_err(|error| self.damaged(what, error.to_string()))?;
        let expected = (self.manifest.samples, self.manifest.channels, self.manifest.sample_rate);
        if (pcm.frames() as u64, pcm.channels(), pcm.sample_rate()) != expected {
            return Err(self.damaged(what, "its length or shape is not the manifest's".into()));
        }
        Ok(pcm)
    }

    fn read(&self, what: &str, record: &FileRecord) -> Result<Vec<u8>> {
        let content = match self.disk.read(&self.directory.join(what)) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.missing(what)),
            Err(error) => {
                return Err(while_doing(format!("reading {what} of track {}", self.id))(error));
            }
        };
        if content.len() as u64 != record.bytes {
            let reason = format!("{} bytes instead of {}", content.len(), record.bytes);
            return Err(self.damaged(what, reason));
        }
        Ok(content)
    }

    /// A file that is gone while its directory stays was taken by somebody else.
    fn missing(&self, what: &str) -> LibraryError {
        match self.disk.list(&self.directory) {
            Ok(_) => self.damaged(what, "it is missing".into()),
            Err(_) => LibraryError::Wiped { track: self.id },
        }
    }

    fn check_digest(&self, what: &str, content: &[u8], record: &FileRecord) -> Result<()> {
        if hexadecimal(&Sha256::digest(content)) == record.sha256 {
            return Ok(());
        }
        Err(self.damaged(what, "its content changed".into()))
    }

    fn damaged(&self, what: &str, reason: String) -> LibraryError {
        LibraryError::Damaged {
            track: self.id,
            what: what.to_owned(),
            reason,
        }
    }
}
