//! A track being written: nobody's until it is committed, nothing once it is dropped.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use greenroom_audio::{Pcm, WavError, WavFormat, wav_len_bytes, write_wav};
use sha2::{Digest, Sha256};

use crate::{
    Disk, DiskFile, FileRecord, Generator, LibraryError, LimitKind, ManifestError, Result, SidecarRecord, TrackId,
    error::while_doing,
    layout::{SIDECARS, SOURCE, remove_tree},
    manifest::is_sidecar_kind,
};

/// The kind of a sidecar: 1 to 64 of `a`-`z`, `0`-`9`, `_` and `-`, the name of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SidecarKind(String);

impl SidecarKind {
    /// Checks a kind.
    ///
    /// # Errors
    /// [`ManifestError::Field`] for any other character or length.
    pub fn new(kind: &str) -> Result<Self> {
        if is_sidecar_kind(kind) {
            return Ok(Self(kind.to_owned()));
        }
        let (field, reason) = ("kind", "is not 1 to 64 of a-z, 0-9, `_` and `-`");
        Err(ManifestError::Field { field, reason }.into())
    }

    /// The kind as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is known of a track when it is committed, besides what its files say.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackFacts {
    /// Key of the lineage that it belongs to, if there is one yet.
    pub owner: Option<String>,
    /// Seconds of Unix time.
    pub created_unix_s: u64,
    /// Beats per minute.
    pub bpm: f32,
    /// Musical key.
    pub key: String,
    /// Beats in a bar.
    pub time_signature: String,
}

/// Room that a draft holds in the library's limits; the library sees it go when the draft does.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(crate) track: TrackId,
    /// Name and key of a track to be; none for stems of one that is there.
    pub(crate) name: Option<String>,
    pub(crate) bytes: u64,
}

/// A directory being filled, removed with everything in it when it is dropped before `keep`.
pub(crate) struct Staging {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) directory: PathBuf,
    pub(crate) reservation: Arc<Reservation>,
    pub(crate) sidecars: Vec<SidecarRecord>,
    bytes_left: u64,
    /// The revision in which the sidecars will be committed.
    revision: u64,
    kept: bool,
}

impl Staging {
    /// Makes the directory, which must not exist, and those in it.
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        reservation: Arc<Reservation>,
        revision: u64,
        children: &[&str],
    ) -> io::Result<Self> {
        disk.create_dir(&directory)?;
        let bytes_left = reservation.bytes;
        // From here on a failure drops the value, and that removes the directory.
        let staging = Self {
            disk,
            directory,
            reservation,
            sidecars: Vec::new(),
            bytes_left,
            revision,
            kept: false,
        };
        for child in children {
            staging.disk.create_dir(&staging.directory.join(child))?;
        }
        Ok(staging)
    }

    pub(crate) fn track(&self) -> TrackId {
        self.reservation.track
    }

    /// Its files are part of a track now (or gone with it): dropping it removes nothing.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }

    pub(crate) fn write_pcm(&mut self, path: &Path, pcm: &Pcm) -> Result<FileRecord> {
        let bytes = wav_len_bytes(pcm, WavFormat::Float32);
        self.write(path, bytes, |file| write_wav(pcm, WavFormat::Float32, file))
    }

    pub(crate) fn write_sidecar(&mut self, kind: &SidecarKind, generator: &Generator, content: &[u8]) -> Result<()> {
        let mut record = SidecarRecord {
            kind: kind.as_str().to_owned(),
            generator: generator.clone(),
            revision: self.revision,
            file: FileRecord {
                bytes: content.len() as u64,
                sha256: String::new(),
            },
        };
        if self.sidecars.iter().any(|other| other.kind == record.kind) {
            let (field, reason) = ("sidecars", "names a kind twice");
            return Err(ManifestError::Field { field, reason }.into());
        }
        let path = Path::new(SIDECARS).join(record.file_name());
        record.file = self.write(&path, record.file.bytes, |file| Ok(file.write_all(content)?))?;
        self.sidecars.push(record);
        Ok(())
    }

    /// Writes one file of the draft, synced, and says what it must be from now on.
    fn write(
        &mut self,
        path: &Path,
        bytes: u64,
        fill: impl FnOnce(&mut HashingFile) -> std::result::Result<(), WavError>,
    ) -> Result<FileRecord> {
        let doing = format!("writing {} of track {}", path.display(), self.track());
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(LibraryError::LimitReached {
            what: LimitKind::DeclaredBytes,
            limit: self.reservation.bytes,
        })?;
        let file = self.disk.create_file(&self.directory.join(path));
        let mut file = HashingFile {
            file: file.map_err(while_doing(doing.clone()))?,
            hash: Sha256::new(),
            bytes: 0,
        };
        fill(&mut file).map_err(|error| match error {
            WavError::Write(error) => while_doing(doing.clone())(error),
            other => LibraryError::Audio {
                reason: other.to_string(),
            },
        })?;
        file.file.sync().map_err(while_doing(doing))?;
        let digest = file.hash.finalize();
        Ok(FileRecord {
            bytes: file.bytes,
            sha256: hexadecimal(&digest),
        })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is swept by the next draft or the next boot.
            let _ = remove_tree(&*self.disk, &self.directory);
        }
    }
}

/// Hashes what passes through, so that the samples are read from memory once.
struct HashingFile {
    file: Box<dyn DiskFile>,
    hash: Sha256,
    bytes: u64,
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Lower-case hexadecimal digits of a digest.
pub(crate) fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A track to be, in `tmp/`. It may go to another thread, and be written while the audio is still being analysed;
/// [`Library::commit`](crate::Library::commit) makes it a track, dropping it leaves nothing.
pub struct Draft {
    pub(crate) staging: Staging,
    pub(crate) name: String,
    pub(crate) source: Option<SourceRecord>,
}

/// What was written as the source.
pub(crate) struct SourceRecord {
    pub(crate) file: FileRecord,
    pub(crate) frames: u64,
    pub(crate) channels: u16,
    pub(crate) sample_rate: u32,
}

impl Draft {
    /// The number that the track will have.
    #[must_use]
    pub fn track(&self) -> TrackId {
        self.staging.track()
    }

    /// The name that the track will have: safe and unique.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes `source.wav` (32-bit float, exactly the samples given) and returns when it is on the medium.
    ///
    /// # Errors
    /// [`LibraryError::DiskFull`], [`LibraryError::ReadOnly`], [`LibraryError::Io`]; [`LibraryError::LimitReached`]
    /// beyond the bytes declared. The draft is then good for nothing but to be dropped.
    pub fn write_source(&mut self, pcm: &Pcm) -> Result<()> {
        let file = self.staging.write_pcm(Path::new(SOURCE), pcm)?;
        self.source = Some(SourceRecord {
            file,
            frames: pcm.frames() as u64,
            channels: pcm.channels(),
            sample_rate: pcm.sample_rate(),
        });
        Ok(())
    }

    /// Writes something computed from the track, to be found again by its kind and generator.
    ///
    /// # Errors
    /// As [`write_source`](Self::write_source), and [`LibraryError::Manifest`] for a second one of a kind.
    pub fn write_sidecar(&mut self, kind: &SidecarKind, generator: &Generator, content: &[u8]) -> Result<()> {
        self.staging.write_sidecar(kind, generator, content)
    }

    /// Removes everything written so far, which dropping the draft also does.
    pub fn discard(self) {
        drop(self);
    }
}
