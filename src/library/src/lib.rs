//! Tracks on disk: atomic writes, sidecars, stems, owners, wipe and recovery.
//!
//! ```text
//! <data>/tracks/<id>/   source.wav, track.json (the manifest, written last), stems/{vocals,instruments}.wav, sidecars/
//! <data>/tmp/           drafts, and tracks on their way out; emptied at every boot
//! <data>/quarantine/    what a kept library found damaged at boot
//! <data>/fixtures/      the operator's tracks: only ever read
//! ```
//! One owner holds the [`Library`] and makes every quick change through `&mut self`; slow writing happens in a
//! [`Draft`] or [`StemsDraft`], which may be sent to another thread, and slow reading in a [`TrackReader`]. So nothing
//! here needs a lock: a draft belongs to nobody until it is committed, and a wiped track's directory has been renamed
//! away, so that whatever still writes to it writes nowhere.
//!
//! A name that a client gave is a label and never part of a path; there is no clock here, and no randomness.
#![forbid(unsafe_code)]

mod changes;
mod disk;
mod draft;
mod error;
pub mod fuzz;
mod layout;
mod library;
mod manifest;
mod names;
mod reader;
mod recovery;
#[cfg(any(test, feature = "simulated"))]
pub mod simulated;
mod stems;

pub use disk::{Disk, DiskEntry, DiskFile, EntryKind, RealDisk};
pub use draft::{Draft, SidecarKind, TrackFacts};
pub use error::{LibraryError, LimitKind, Result};
pub use library::{Fixture, FixtureContent, Library, Limits, Track, TrackId, Uploads};
pub use manifest::{
    FileRecord, Generator, MANIFEST_BYTES_MAX, MANIFEST_VERSION, Manifest, ManifestError, SidecarRecord, StemsState,
};
pub use names::{NAME_BYTES_MAX, NAME_CHARS_MAX, name_key, sanitize_name, unique_name};
pub use reader::TrackReader;
pub use recovery::{Recovery, RecoveryAction, RecoveryLine};
pub use stems::StemsDraft;
