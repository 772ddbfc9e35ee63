//! The library itself: what is listed, what is reserved, and how drafts begin.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use greenroom_audio::{Pcm, WavFormat, wav_len_bytes};

use crate::{
    Disk, Draft, LibraryError, LimitKind, Manifest, Recovery, Result, StemsDraft, StemsState, TrackReader,
    draft::{Reservation, Staging},
    error::while_doing,
    layout::{INCOMING, Layout, SIDECARS, STEMS},
    names::{name_key, unique_name},
    recovery,
};

/// A track's number: the name of its directory, never used twice while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(pub(crate) u64);

impl TrackId {
    /// The number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// Reads back what `Display` wrote, and nothing else: a number that counting never reaches is somebody else's, and leaves none to go
    /// on with.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let id = Self(text.parse().ok()?);
        (id.0 < u64::MAX / 2 && id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for TrackId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08}", self.0)
    }
}

/// What becomes of uploads at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uploads {
    /// They are gone before anything is listed: the next user is somebody else.
    Wipe,
    /// Every acknowledged track is there again.
    Keep,
}

/// What the library may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Uploaded tracks, drafts included.
    pub tracks_max: usize,
    /// Bytes of tracks, drafts and quarantine; fixtures are the operator's own affair.
    pub data_bytes_max: u64,
}

impl Default for Limits {
    /// 200 tracks, 20 GB.
    fn default() -> Self {
        Self {
            tracks_max: 200,
            data_bytes_max: 20_000_000_000,
        }
    }
}

/// A committed track.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Its number.
    pub id: TrackId,
    /// All about it.
    pub manifest: Manifest,
}

/// A track that the operator put there; never changed, never wiped.
#[derive(Clone, Debug, PartialEq)]
pub struct Fixture {
    /// Its number.
    pub id: TrackId,
    /// Its label: safe and unique.
    pub name: String,
    /// What it is made of.
    pub content: FixtureContent,
    pub(crate) path: PathBuf,
}

/// The two forms of a fixture.
#[derive(Clone, Debug, PartialEq)]
pub enum FixtureContent {
    /// A directory as of an upload, with a manifest.
    Track(Box<Manifest>),
    /// An audio file to be decoded and analysed when it is wanted.
    AudioFile {
        /// Its length.
        bytes: u64,
    },
}

/// Tracks on a disk. One owner; listing is from memory, changing is `&mut self` and quick, and everything slow is in
/// the values that it hands out.
pub struct Library {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) layout: Layout,
    limits: Limits,
    /// What is listed.
    pub(crate) tracks: BTreeMap<TrackId, Manifest>,
    pub(crate) fixtures: Vec<Fixture>,
    /// No longer listed, not yet known to be gone from the disk: every sweep tries again.
    pub(crate) wiping: BTreeSet<TrackId>,
    /// A failed sync left open which manifest these have on disk: every sweep writes the listed one again.
    pub(crate) unsure: BTreeSet<TrackId>,
    pub(crate) next: u64,
    pub(crate) quarantine_bytes: u64,
    /// Drafts that are alive.
    reservations: Vec<Weak<Reservation>>,
    /// Held as long as the library: no other process may wipe this directory.
    _lock: Box<dyn Send + Sync>,
}

impl Library {
    /// Takes the data directory (made where missing), puts it in order, and lists what it holds.
    ///
    /// # Errors
    /// [`LibraryError::InUse`] while another process has it; [`LibraryError::ReadOnly`], [`LibraryError::DiskFull`],
    /// [`LibraryError::Io`] where putting in order failed: nothing is served then.
    pub fn open(disk: Arc<dyn Disk>, root: &Path, uploads: Uploads, limits: Limits) -> Result<(Self, Recovery)> {
        let layout = Layout::new(root);
        let lock = recovery::take(&*disk, &layout)?;
        let mut library = Self {
            disk,
            layout,
            limits,
            tracks: BTreeMap::new(),
            fixtures: Vec::new(),
            wiping: BTreeSet::new(),
            unsure: BTreeSet::new(),
            next: 1,
            quarantine_bytes: 0,
            reservations: Vec::new(),
            _lock: lock,
        };
        let report = recovery::put_in_order(&mut library, uploads)?;
        Ok((library, report))
    }

    /// The committed uploads, oldest first.
    pub fn tracks(&self) -> impl Iterator<Item = Track> {
        self.tracks.iter().map(|(id, manifest)| Track {
            id: *id,
            manifest: manifest.clone(),
        })
    }

    /// The operator's tracks.
    #[must_use]
    pub fn fixtures(&self) -> &[Fixture] {
        &self.fixtures
    }

    /// An upload by its number.
    ///
    /// # Errors
    /// [`LibraryError::Wiped`], [`LibraryError::UnknownTrack`], [`LibraryError::Fixture`].
    pub fn track(&self, id: TrackId) -> Result<Track> {
        let manifest = self.manifest(id)?.clone();
        Ok(Track { id, manifest })
    }

    /// The track or fixture of exactly this name. The name is compared with the listing and never made a path.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<TrackId> {
        let upload = self.tracks.iter().find(|(_, manifest)| manifest.name == name);
        let fixture = self.fixtures.iter().find(|fixture| fixture.name == name);
        upload.map(|(id, _)| *id).or(fixture.map(|fixture| fixture.id))
    }

    /// Something that reads this track, on any thread. Also of a fixture that has a manifest.
    ///
    /// # Errors
    /// [`LibraryError::Wiped`], [`LibraryError::UnknownTrack`]; [`LibraryError::Fixture`] of one that is an audio file.
    pub fn reader(&self, id: TrackId) -> Result<TrackReader> {
        let (directory, manifest) = match self.fixtures.iter().find(|fixture| fixture.id == id) {
            Some(Fixture {
                content: FixtureContent::Track(manifest),
                path,
                ..
            }) => (path.clone(), (**manifest).clone()),
            _ => (self.layout.track(id), self.manifest(id)?.clone()),
        };
        let disk = self.disk.clone();
        Ok(TrackReader {
            disk,
            directory,
            id,
            manifest,
        })
    }

    /// The bytes of a fixture that is an audio file, as the operator put it there.
    ///
    /// # Errors
    /// [`LibraryError::UnknownTrack`] of anything else; [`LibraryError::Io`].
    pub fn fixture_bytes(&self, id: TrackId) -> Result<Vec<u8>> {
        let is_file = |fixture: &&Fixture| matches!(fixture.content, FixtureContent::AudioFile { .. });
        let fixture = self.fixtures.iter().find(|fixture| fixture.id == id);
        let fixture = fixture
            .filter(is_file)
            .ok_or(LibraryError::UnknownTrack { track: id })?;
        let doing = format!("reading the fixture {}", fixture.name);
        self.disk.read(&fixture.path).map_err(while_doing(doing))
    }

    /// Bytes that count against [`Limits::data_bytes_max`].
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        let tracks = self.tracks.values().map(Manifest::bytes_total);
        let drafts = self.live_reservations().map(|draft| draft.bytes);
        tracks.chain(drafts).fold(self.quarantine_bytes, u64::saturating_add)
    }

    /// Begins a track: its number and its safe, unique name are fixed now, and room for `bytes` is reserved
    /// (see [`Library::source_bytes`]; add what its sidecars will have).
    ///
    /// # Errors
    /// [`LibraryError::LimitReached`] or [`LibraryError::DiskFull`] before anything is written;
    /// [`LibraryError::ReadOnly`], [`LibraryError::Io`].
    pub fn begin_draft(&mut self, name_hint: &str, bytes: u64) -> Result<Draft> {
        let drafts = self
            .live_reservations()
            .filter(|reservation| reservation.name.is_some());
        if self.tracks.len() + drafts.count() >= self.limits.tracks_max {
            let limit = self.limits.tracks_max as u64;
            return Err(LibraryError::LimitReached {
                what: LimitKind::Tracks,
                limit,
            });
        }
        self.admit(bytes)?;
        let name = self.unique_name(name_hint);
        let id = TrackId(self.next);
        let reservation = self.reserve(id, Some(name.clone()), bytes);
        self.next += 1;
        let directory = self.layout.draft(id);
        let staging = Staging::create(self.disk.clone(), directory, reservation, 1, &[SIDECARS]);
        let staging = staging.map_err(while_doing(format!("beginning track {id}")))?;
        Ok(Draft {
            staging,
            name,
            source: None,
        })
    }

    /// Begins the stems of a track: room for two files as long as the source, and `sidecar_bytes`, is reserved.
    ///
    /// # Errors
    /// [`LibraryError::Wiped`], [`LibraryError::StemsTaken`], and as [`begin_draft`](Self::begin_draft).
    pub fn begin_stems(&mut self, id: TrackId, sidecar_bytes: u64) -> Result<StemsDraft> {
        let manifest = self.manifest(id)?.clone();
        let taken = |state| Err(LibraryError::StemsTaken { track: id, state });
        if matches!(manifest.stems, StemsState::Ready { .. }) {
            return taken("are there already");
        }
        if self.is_drafted(id) {
            return taken("are being written");
        }
        let bytes = (manifest.source.bytes.saturating_mul(2)).saturating_add(sidecar_bytes);
        self.admit(bytes)?;
        let doing = || while_doing(format!("beginning the stems of track {id}"));
        let directory = self.layout.track(id);
        let reservation = self.reserve(id, None, bytes);
        let staging = Staging::create(
            self.disk.clone(),
            directory.join(INCOMING),
            reservation,
            manifest.revision + 1,
            &[STEMS, SIDECARS],
        );
        let staging = staging.map_err(doing())?;
        Ok(StemsDraft {
            staging,
            source: manifest,
            stems: None,
        })
    }

    /// Bytes that a source or stem takes on disk.
    #[must_use]
    pub fn source_bytes(pcm: &Pcm) -> u64 {
        wav_len_bytes(pcm, WavFormat::Float32)
    }

    /// Of an upload that is listed; says why not of any other.
    pub(crate) fn manifest(&self, id: TrackId) -> Result<&Manifest> {
        match self.tracks.get(&id) {
            Some(manifest) => Ok(manifest),
            None if self.fixtures.iter().any(|fixture| fixture.id == id) => Err(LibraryError::Fixture { track: id }),
            // Numbers are given out in order: what had one and is not listed is gone.
            None if id.0 != 0 && id.0 < self.next && !self.is_new_draft(id) => Err(LibraryError::Wiped { track: id }),
            None => Err(LibraryError::UnknownTrack { track: id }),
        }
    }

    /// A safe name unlike those of all tracks, fixtures and drafts.
    pub(crate) fn unique_name(&self, name_hint: &str) -> String {
        let uploads = self.tracks.values().map(|manifest| name_key(&manifest.name));
        let fixtures = self.fixtures.iter().map(|fixture| name_key(&fixture.name));
        let drafts = self
            .live_reservations()
            .filter_map(|draft| draft.name.as_deref().map(name_key));
        let taken: BTreeSet<String> = uploads.chain(fixtures).chain(drafts).collect();
        unique_name(name_hint, |key| taken.contains(key))
    }

    /// Checks a declared size against the limit and the medium; clears away what earlier failures left first.
    fn admit(&mut self, bytes: u64) -> Result<()> {
        self.sweep()?;
        let limit = self.limits.data_bytes_max;
        if self.data_bytes().saturating_add(bytes) > limit {
            return Err(LibraryError::LimitReached {
                what: LimitKind::DataBytes,
                limit,
            });
        }
        let free = self.disk.free_bytes(self.layout.root());
        let free = free.map_err(while_doing("asking for the free space"))?;
        if free < bytes {
            let doing = format!("{bytes} bytes are needed and {free} are free");
            return Err(LibraryError::DiskFull { doing });
        }
        Ok(())
    }

    fn reserve(&mut self, track: TrackId, name: Option<String>, bytes: u64) -> Arc<Reservation> {
        let reservation = Arc::new(Reservation { track, name, bytes });
        self.reservations.retain(|draft| draft.strong_count() > 0);
        self.reservations.push(Arc::downgrade(&reservation));
        reservation
    }

    /// Whether a draft is alive that is to be this track, or its stems.
    pub(crate) fn is_drafted(&self, id: TrackId) -> bool {
        self.live_reservations().any(|draft| draft.track == id)
    }

    /// Whether a draft is alive that is to become this track.
    fn is_new_draft(&self, id: TrackId) -> bool {
        self.live_reservations()
            .any(|draft| draft.track == id && draft.name.is_some())
    }

    pub(crate) fn live_reservations(&self) -> impl Iterator<Item = Arc<Reservation>> {
        self.reservations.iter().filter_map(Weak::upgrade)
    }
}
