//! `track.json`: what a track is. A directory without a whole one is no track.

use serde::{Deserialize, Serialize};

use crate::names::sanitize_name;

/// The version that this program writes and reads.
pub const MANIFEST_VERSION: u32 = 1;

/// No manifest is larger, in bytes; a larger file is not parsed.
pub const MANIFEST_BYTES_MAX: usize = 1 << 20;

/// Why bytes are no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or a field is missing or of the wrong type: the message names it.
    #[error("track.json cannot be read ({0}): the track must be uploaded again")]
    Malformed(#[from] serde_json::Error),
    /// Written by another version of this program.
    #[error(
        "track.json has version {found}, this program reads version {MANIFEST_VERSION}: use the program that wrote it"
    )]
    Version {
        /// Its version.
        found: u32,
    },
    /// A field says what cannot be.
    #[error("field `{field}` of track.json {reason}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Larger than [`MANIFEST_BYTES_MAX`].
    #[error("track.json would have {bytes} bytes, more than {MANIFEST_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// A file that belongs to a track: what it must be to be taken for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Length.
    pub bytes: u64,
    /// SHA-256 of the content, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// Who made a sidecar: one of another generator or version is useless and is not handed out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generator {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Data computed from a track once and kept beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SidecarRecord {
    /// What it is: lower-case letters, digits, `_` and `-`.
    pub kind: String,
    /// Who made it.
    pub generator: Generator,
    /// The revision of the track in which it came, part of its file's name: a new one never overwrites the old.
    pub revision: u64,
    /// Its file.
    #[serde(flatten)]
    pub file: FileRecord,
}

impl SidecarRecord {
    /// Its file's name in `sidecars/`.
    pub(crate) fn file_name(&self) -> String {
        format!("{}-{}.bin", self.kind, self.revision)
    }
}

/// What is to be said of a track's stems.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum StemsState {
    /// Promised at upload, not made yet: a boot queues them again.
    Owed,
    /// Both are in `stems/`.
    Ready {
        /// `stems/vocals.wav`.
        vocals: FileRecord,
        /// `stems/instruments.wav`.
        instruments: FileRecord,
    },
    /// They could not be made; the whole track plays on.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Everything about a track but its audio. Unknown fields are ignored, missing ones are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub version: u32,
    /// Counts the savings of this track, from 1.
    pub revision: u64,
    /// The label that people see: sanitised and unique in its library.
    pub name: String,
    /// Key of the lineage that it belongs to; none for fixtures and until a session claims it.
    #[serde(deserialize_with = "Option::deserialize")]
    pub owner: Option<String>,
    /// When it was committed, in seconds of Unix time.
    pub created_unix_s: u64,
    /// Frames per channel.
    pub samples: u64,
    /// 1 or 2.
    pub channels: u16,
    /// Hertz.
    pub sample_rate: u32,
    /// `samples / sample_rate`, for people.
    pub duration_s: f64,
    /// Beats per minute.
    pub bpm: f32,
    /// Musical key, e.g. `F# minor`.
    pub key: String,
    /// Beats in a bar, as the wire says it (`2`, `3`, `4`, `6`).
    pub time_signature: String,
    /// `source.wav`.
    pub source: FileRecord,
    /// The stems.
    pub stems: StemsState,
    /// What was computed from it; at most one of each kind.
    pub sidecars: Vec<SidecarRecord>,
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// [`ManifestError`], which names the field at fault.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        /// Looked at first: a later version may lack fields of this one.
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLarge { bytes: bytes.len() });
        }
        let Version { version } = serde_json::from_slice(bytes)?;
        if version != MANIFEST_VERSION {
            return Err(ManifestError::Version { found: version });
        }
        let manifest: Self = serde_json::from_slice(bytes)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The bytes of `track.json`.
    ///
    /// # Errors
    /// Whatever [`from_bytes`](Self::from_bytes) would say of them: what is written can be read.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        let bytes = serde_json::to_vec_pretty(self)?;
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLarge { bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// Bytes of all its files but the manifest itself.
    #[must_use]
    pub fn bytes_total(&self) -> u64 {
        let stems = match &self.stems {
            StemsState::Ready { vocals, instruments } => vocals.bytes.saturating_add(instruments.bytes),
            StemsState::Owed | StemsState::Failed { .. } => 0,
        };
        let sidecars = self.sidecars.iter().map(|sidecar| sidecar.file.bytes);
        sidecars.fold(self.source.bytes.saturating_add(stems), u64::saturating_add)
    }

    /// The sidecar of a kind, whoever made it.
    #[must_use]
    pub fn sidecar(&self, kind: &str) -> Option<&SidecarRecord> {
        self.sidecars.iter().find(|sidecar| sidecar.kind == kind)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let wrong = |field, reason| Err(ManifestError::Field { field, reason });
        if sanitize_name(&self.name) != self.name {
            return wrong("name", "is not a safe name");
        }
        if !(1..=2).contains(&self.channels) {
            return wrong("channels", "is neither 1 nor 2");
        }
        if self.samples == 0 || self.sample_rate == 0 {
            return wrong("samples", "or `sample_rate` is 0");
        }
        if !(self.duration_s.is_finite() && self.duration_s > 0.0) {
            return wrong("duration_s", "is not a positive number");
        }
        if !(self.bpm.is_finite() && self.bpm > 0.0) {
            return wrong("bpm", "is not a positive number");
        }
        for file in self.files() {
            let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            if file.sha256.len() != 64 || !file.sha256.bytes().all(hexadecimal) {
                return wrong("sha256", "is not 64 hexadecimal digits");
            }
        }
        for (index, sidecar) in self.sidecars.iter().enumerate() {
            if !is_sidecar_kind(&sidecar.kind) {
                return wrong("kind", "is not 1 to 64 of a-z, 0-9, `_` and `-`");
            }
            if self.sidecars[..index].iter().any(|other| other.kind == sidecar.kind) {
                return wrong("sidecars", "names a kind twice");
            }
        }
        Ok(())
    }

    fn files(&self) -> impl Iterator<Item = &FileRecord> {
        let stems = match &self.stems {
            StemsState::Ready { vocals, instruments } => vec![vocals, instruments],
            StemsState::Owed | StemsState::Failed { .. } => Vec::new(),
        };
        let sidecars = self.sidecars.iter().map(|sidecar| &sidecar.file);
        std::iter::once(&self.source).chain(stems).chain(sidecars)
    }
}

/// Whether a kind may be part of a file name.
pub(crate) fn is_sidecar_kind(kind: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    (1..=64).contains(&kind.len()) && kind.bytes().all(plain)
}
