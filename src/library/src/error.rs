//! What can go wrong, each with what to do about it.

use std::io;

use crate::{ManifestError, TrackId};

/// Results of this crate.
pub type Result<T> = std::result::Result<T, LibraryError>;

/// What there was too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// Uploaded tracks, drafts included.
    Tracks,
    /// Bytes below the data directory.
    DataBytes,
    /// Bytes of a draft, beyond what was declared when it began.
    DeclaredBytes,
}

impl std::fmt::Display for LimitKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Tracks => "uploaded tracks",
            Self::DataBytes => "bytes in the data directory",
            Self::DeclaredBytes => "bytes declared for this track",
        })
    }
}

/// Why the library could not do something. Whatever the variant, nothing half-done is listed.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// A limit of the configuration would be passed.
    #[error("the limit of {limit} {what} is reached: remove tracks or raise the limit")]
    LimitReached {
        /// Which.
        what: LimitKind,
        /// Its value.
        limit: u64,
    },
    /// No room on the medium.
    #[error("the disk is full ({doing}): free some space below the data directory, or point it elsewhere")]
    DiskFull {
        /// What was being done.
        doing: String,
    },
    /// The medium or the permissions forbid writing.
    #[error(
        "the data directory cannot be written ({doing}): mount it writable, or give this user the right to write there"
    )]
    ReadOnly {
        /// What was being done.
        doing: String,
    },
    /// Anything else that the medium said.
    #[error("the disk failed ({doing}): {source}; look at the system's log, the medium may be failing")]
    Io {
        /// What was being done.
        doing: String,
        /// What it said.
        source: io::Error,
    },
    /// Another process uses the directory; it must not be wiped under its feet.
    #[error("the data directory {root} is in use by another process: stop it, or choose another directory")]
    InUse {
        /// The directory.
        root: String,
    },
    /// The track was wiped; this is final.
    #[error("track {track} was wiped: nothing of it can be read or written any more")]
    Wiped {
        /// The track.
        track: TrackId,
    },
    /// There never was such a track.
    #[error("there is no track {track}: choose one from the listing")]
    UnknownTrack {
        /// The track.
        track: TrackId,
    },
    /// The operator's tracks are only ever read.
    #[error("track {track} is a fixture, which is never changed: upload a copy instead")]
    Fixture {
        /// The track.
        track: TrackId,
    },
    /// The draft has no source or the stems draft no stems: a bug of the caller.
    #[error("{what} of track {track} must be written before it is committed")]
    Unfinished {
        /// The track.
        track: TrackId,
        /// What is missing.
        what: &'static str,
    },
    /// Stems are there already, or are being written by another draft.
    #[error("the stems of track {track} {state}: they are made once")]
    StemsTaken {
        /// The track.
        track: TrackId,
        /// What they are.
        state: &'static str,
    },
    /// The stems are not there (yet).
    #[error("track {track} has no stems: wait for them, or play the whole track")]
    NoStems {
        /// The track.
        track: TrackId,
    },
    /// Stems of another length or shape than their source.
    #[error("the stems do not fit track {track} ({reason}): the separator is at fault")]
    StemsMismatch {
        /// The track.
        track: TrackId,
        /// What differs.
        reason: String,
    },
    /// What is on disk is not what the manifest says.
    #[error("{what} of track {track} is damaged ({reason}): upload it again")]
    Damaged {
        /// The track.
        track: TrackId,
        /// Which file.
        what: String,
        /// How.
        reason: String,
    },
    /// The audio cannot be stored as a WAV.
    #[error("the audio cannot be stored: {reason}")]
    Audio {
        /// Why.
        reason: String,
    },
    /// The manifest cannot be what was asked for.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// Names what was being done when the medium failed.
pub(crate) fn while_doing(doing: impl Into<String>) -> impl FnOnce(io::Error) -> LibraryError {
    let doing = doing.into();
    move |source| match source.kind() {
        // Where no file may grow so large (a limit of the process, or of an old file system) there is no room for it either.
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            LibraryError::DiskFull { doing }
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => LibraryError::ReadOnly { doing },
        _ => LibraryError::Io { doing, source },
    }
}
