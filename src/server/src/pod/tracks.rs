//! The track table: what the pod knows and keeps in memory of each track. Slow loading happens outside its lock.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use greenroom_audio::Pcm;
use greenroom_director::{ConnectionId, Mode, StemsPhase, TrackId};
use greenroom_generator::{PreparedSource, Walk};
use greenroom_library::{Draft, TrackId as LibraryId};
use greenroom_wire::UploadOk;

use super::{
    deposit::{UploadBody, UploadDeposit},
    outbox::Refusal,
};

/// What is known of a track's music.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackFacts {
    /// Beats per minute.
    pub bpm: f32,
    /// Musical key, such as `F# minor`.
    pub key: String,
    /// `2`, `3`, `4` or `6`.
    pub time_signature: String,
    /// Frames per channel.
    pub frames: usize,
    /// 1 or 2.
    pub channels: u16,
}

/// What a track's stems are doing, for `GET /api/tracks/<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StemsState {
    /// None, and none are being made.
    Absent,
    /// On their way.
    Pending {
        /// What is being done.
        phase: StemsPhase,
        /// Batches done.
        done: u32,
        /// Batches in all; 0 before the separator said.
        total: u32,
    },
    /// Both are at hand.
    Ready,
    /// They could not be made.
    Failed(Refusal),
}

/// A track as others see it.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackView {
    /// Its number.
    pub track: TrackId,
    /// Its name.
    pub name: String,
    /// Whether the operator put it there.
    pub is_fixture: bool,
    /// What is known of its music; none of a fixture that was never played.
    pub facts: Option<TrackFacts>,
    /// Its stems.
    pub stems: StemsState,
}

/// Where a track's files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nowhere: it came with a session, or is not saved yet.
    Memory,
    /// An upload in the library.
    Upload(LibraryId),
    /// A fixture with a manifest.
    Fixture(LibraryId),
    /// A fixture that is an audio file, decoded when wanted.
    FixtureFile(LibraryId),
}

/// Which part of a track is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Vocals,
    Instruments,
}

impl From<Mode> for Part {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Full | Mode::Plain => Self::Whole,
            Mode::Vocals => Self::Vocals,
            Mode::Instruments => Self::Instruments,
        }
    }
}

/// One track.
pub(super) struct Entry {
    pub(super) name: Option<String>,
    pub(super) origin: Origin,
    /// Whether it can be found by its name: from its saving on.
    pub(super) listed: bool,
    pub(super) facts: Option<TrackFacts>,
    pub(super) stems_state: StemsState,
    /// What the client calls it, until the library made that a safe and unique name.
    pub(super) name_hint: String,
    /// What phase 1 starts from, until it is decoded.
    body: Option<UploadBody>,
    /// The key and time signature that the client knows of audio that it sent.
    pub(super) told: Told,
    /// How it was to be played when it was last measured for engines.
    pub(super) walk: Option<Walk>,
    /// Who waits for phase 1, for the words of a failing disk.
    pub(super) asker: Option<ConnectionId>,
    draft: Option<Draft>,
    audio: Option<Arc<Pcm>>,
    prepared: [Option<PreparedSource>; 3],
    stems: Option<StemPair>,
    /// What a later swap to a stem needs, until it is written beside the stem.
    sidecars: Vec<(Part, Arc<Vec<u8>>)>,
    /// Whether the library has the stems; those of fixtures are made again each run.
    stems_on_disk: bool,
    /// When it was last used, by the table's own count.
    used: u64,
}

/// Both stems of a track, shared between who plays and who writes them.
#[derive(Clone, Debug)]
pub(super) struct StemPair {
    pub(super) vocals: Arc<Pcm>,
    pub(super) instruments: Arc<Pcm>,
}

/// What a forgotten track has on disk: its files, or a draft that removes its own when it is dropped.
#[derive(Default)]
pub(super) struct Condemned {
    pub(super) library: Option<LibraryId>,
    pub(super) draft: Option<Draft>,
}

/// What a client said of its own audio.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) key: Option<String>,
    pub(super) time_signature: Option<String>,
}

/// All tracks.
pub(super) struct Tracks {
    table: Mutex<Table>,
    next: AtomicU64,
    cache_bytes_max: usize,
}

#[derive(Default)]
struct Table {
    entries: BTreeMap<TrackId, Entry>,
    /// What forgotten tracks have on disk, until the wipe that follows.
    condemned: BTreeMap<TrackId, Condemned>,
    uses: u64,
}

impl Entry {
    fn new(name: Option<String>, origin: Origin) -> Self {
        Self {
            name,
            origin,
            listed: false,
            facts: None,
            stems_state: StemsState::Absent,
            name_hint: String::new(),
            body: None,
            told: Told::default(),
            walk: None,
            asker: None,
            draft: None,
            audio: None,
            prepared: [None, None, None],
            stems: None,
            sidecars: Vec::new(),
            stems_on_disk: false,
            used: 0,
        }
    }

    /// A track that the disk had at boot.
    pub(super) fn found(name: String, origin: Origin, facts: Option<TrackFacts>, stems: StemsState) -> Self {
        Self {
            listed: true,
            facts,
            stems_on_disk: stems == StemsState::Ready,
            stems_state: stems,
            ..Self::new(Some(name), origin)
        }
    }

    fn is_fixture(&self) -> bool {
        matches!(self.origin, Origin::Fixture(_) | Origin::FixtureFile(_))
    }

    /// Whether what is in memory can be read again.
    fn can_reload_audio(&self) -> bool {
        !matches!(self.origin, Origin::Memory)
    }

    fn can_reload_stems(&self) -> bool {
        self.stems_on_disk && !matches!(self.origin, Origin::Memory)
    }

    /// Bytes that dropping this from memory would give back, the shared audio counted once.
    fn bytes(&self) -> usize {
        let audio = self.audio.as_deref().map_or(0, pcm_bytes);
        let stems = self
            .stems
            .as_ref()
            .map_or(0, |stems| pcm_bytes(&stems.vocals) + pcm_bytes(&stems.instruments));
        audio + stems
    }

    fn evict(&mut self) {
        if self.can_reload_audio() {
            self.audio = None;
            self.prepared = [None, None, None];
        }
        if self.can_reload_stems() {
            self.stems = None;
        }
    }
}

fn pcm_bytes(pcm: &Pcm) -> usize {
    size_of_val(pcm.samples())
}

impl Tracks {
    pub(super) fn new(cache_bytes_max: usize) -> Self {
        Self {
            table: Mutex::default(),
            next: AtomicU64::new(1),
            cache_bytes_max,
        }
    }

    pub(super) fn new_track(&self) -> TrackId {
        TrackId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn insert(&self, track: TrackId, entry: Entry) {
        self.lock().entries.insert(track, entry);
    }

    /// An upload whose body is here.
    pub(super) fn deposit_upload(&self, track: TrackId, deposit: UploadDeposit) {
        let UploadDeposit {
            name,
            key,
            time_signature,
            body,
        } = deposit;
        let told = Told { key, time_signature };
        let entry = Entry {
            told,
            name_hint: name,
            body: Some(body),
            ..Entry::new(None, Origin::Memory)
        };
        self.insert(track, entry);
    }

    /// Audio that came with a session or swap, already admitted.
    pub(super) fn deposit_sent(&self, track: TrackId, name: &str, audio: Arc<Pcm>, told: Told) {
        let entry = Entry {
            told,
            audio: Some(audio),
            ..Entry::new(Some(name.to_owned()), Origin::Memory)
        };
        self.insert(track, entry);
    }

    /// The body of an upload that is not decoded yet.
    pub(super) fn take_body(&self, track: TrackId) -> Option<UploadBody> {
        self.lock().entries.get_mut(&track).and_then(|entry| entry.body.take())
    }

    /// Every track.
    pub(super) fn ids(&self) -> Vec<TrackId> {
        self.lock().entries.keys().copied().collect()
    }

    /// Looks at a track.
    pub(super) fn with<T>(&self, track: TrackId, look: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.lock().entries.get(&track).map(look)
    }

    /// Changes a track; nothing where it was forgotten.
    pub(super) fn change(&self, track: TrackId, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().entries.get_mut(&track) {
            change(entry);
        }
    }

    /// Phase 1 is through: what it found, and the draft on disk (dropped, and so removed, if the track was forgotten meanwhile).
    pub(super) fn encoded(&self, track: TrackId, prepared: PreparedSource, facts: TrackFacts, draft: Option<Draft>) {
        self.change(track, |entry| {
            if let Some(draft) = &draft {
                entry.name = Some(draft.name().to_owned());
            }
            entry.draft = draft;
            entry.facts = Some(facts);
            entry.audio = Some(Arc::clone(&prepared.audio));
            entry.prepared[Part::Whole as usize] = Some(prepared);
        });
        self.keep_within_bounds(track);
    }

    pub(super) fn take_draft(&self, track: TrackId) -> Option<Draft> {
        self.lock().entries.get_mut(&track).and_then(|entry| entry.draft.take())
    }

    /// The draft is a track now; false if it was forgotten meanwhile and must go again.
    pub(super) fn saved(&self, track: TrackId, library: LibraryId) -> bool {
        let mut table = self.lock();
        let Some(entry) = table.entries.get_mut(&track) else {
            return false;
        };
        entry.origin = Origin::Upload(library);
        entry.listed = true;
        true
    }

    /// Frames of the whole track, where it was measured.
    pub(super) fn frames(&self, track: TrackId) -> Option<usize> {
        let of = |entry: &Entry| {
            let known = entry.facts.as_ref().map(|facts| facts.frames);
            known.or_else(|| entry.audio.as_ref().map(|audio| audio.frames()))
        };
        self.with(track, of).flatten()
    }

    pub(super) fn audio(&self, track: TrackId) -> Option<Arc<Pcm>> {
        self.used(track, |entry| entry.audio.clone())
    }

    pub(super) fn prepared(&self, track: TrackId, part: Part) -> Option<PreparedSource> {
        self.used(track, |entry| entry.prepared[part as usize].clone())
    }

    pub(super) fn stems(&self, track: TrackId) -> Option<StemPair> {
        self.used(track, |entry| entry.stems.clone())
    }

    pub(super) fn keep_prepared(&self, track: TrackId, part: Part, prepared: PreparedSource) {
        self.change(track, |entry| {
            if part == Part::Whole {
                entry.audio = Some(Arc::clone(&prepared.audio));
            }
            entry.prepared[part as usize] = Some(prepared);
        });
        self.keep_within_bounds(track);
    }

    pub(super) fn keep_audio(&self, track: TrackId, audio: Arc<Pcm>) {
        self.change(track, |entry| entry.audio = Some(audio));
        self.keep_within_bounds(track);
    }

    pub(super) fn keep_stems(&self, track: TrackId, stems: StemPair) {
        self.change(track, |entry| entry.stems = Some(stems));
        self.keep_within_bounds(track);
    }

    /// What is to be written beside a stem; nothing where there is nothing to write.
    pub(super) fn keep_sidecar(&self, track: TrackId, part: Part, sidecar: Arc<Vec<u8>>) {
        self.change(track, |entry| {
            entry.sidecars.retain(|(other, _)| *other != part);
            entry.sidecars.extend((!sidecar.is_empty()).then_some((part, sidecar)));
        });
    }

    pub(super) fn take_sidecars(&self, track: TrackId) -> Vec<(Part, Arc<Vec<u8>>)> {
        let mut sidecars = Vec::new();
        self.change(track, |entry| std::mem::swap(&mut sidecars, &mut entry.sidecars));
        sidecars
    }

    pub(super) fn set_stems_state(&self, track: TrackId, state: StemsState) {
        self.change(track, |entry| entry.stems_state = state);
    }

    /// Takes a track out of every listing and cache; what it has on disk waits for the wipe. What it held in memory is given to the
    /// caller, to be dropped where that may take its time.
    pub(super) fn forget(&self, track: TrackId) -> Option<Entry> {
        let mut table = self.lock();
        let mut entry = table.entries.remove(&track)?;
        let library = match entry.origin {
            Origin::Upload(library) => Some(library),
            _ => None,
        };
        let draft = entry.draft.take();
        if library.is_some() || draft.is_some() {
            table.condemned.insert(track, Condemned { library, draft });
        }
        Some(entry)
    }

    /// What is to be wiped.
    pub(super) fn take_condemned(&self, track: TrackId) -> Option<Condemned> {
        self.lock().condemned.remove(&track)
    }

    /// Files that could not be wiped: the wipe is tried again.
    pub(super) fn condemn(&self, track: TrackId, library: LibraryId) {
        let condemned = Condemned {
            library: Some(library),
            draft: None,
        };
        self.lock().condemned.insert(track, condemned);
    }

    /// The library has the stems now.
    pub(super) fn stems_saved(&self, track: TrackId) {
        self.change(track, |entry| entry.stems_on_disk = true);
    }

    pub(super) fn find(&self, name: &str) -> Option<TrackId> {
        let table = self.lock();
        table
            .entries
            .iter()
            .find(|(_, entry)| entry.listed && entry.name.as_deref() == Some(name))
            .map(|(track, _)| *track)
    }

    pub(super) fn view(&self, name: &str) -> Option<TrackView> {
        let track = self.find(name)?;
        self.with(track, |entry| TrackView {
            track,
            name: name.to_owned(),
            is_fixture: entry.is_fixture(),
            facts: entry.facts.clone(),
            stems: entry.stems_state.clone(),
        })
    }

    pub(super) fn is_fixture(&self, track: TrackId) -> bool {
        self.with(track, Entry::is_fixture).unwrap_or(false)
    }

    /// Names of the listed fixtures or uploads, sorted.
    pub(super) fn names(&self, fixtures: bool) -> Vec<String> {
        let table = self.lock();
        let listed = table
            .entries
            .values()
            .filter(|entry| entry.listed && entry.is_fixture() == fixtures);
        let mut names: Vec<String> = listed.filter_map(|entry| entry.name.clone()).collect();
        names.sort();
        names
    }

    /// What `upload_ok` says of it.
    pub(super) fn upload_ok(&self, track: TrackId, stems_pending: bool) -> Option<UploadOk> {
        self.with(track, |entry| {
            let facts = entry.facts.clone()?;
            Some(UploadOk {
                name: entry.name.clone()?,
                bpm: facts.bpm.round() as u32,
                key: facts.key,
                time_signature: facts.time_signature,
                duration_s: facts.frames as f64 / f64::from(greenroom_audio::SAMPLE_RATE),
                samples: facts.frames as u64,
                stems_pending,
            })
        })?
    }

    /// Bytes of audio and stems in memory.
    pub(super) fn cache_bytes(&self) -> usize {
        self.lock().entries.values().map(Entry::bytes).sum()
    }

    fn used<T>(&self, track: TrackId, look: impl FnOnce(&mut Entry) -> Option<T>) -> Option<T> {
        let mut table = self.lock();
        table.uses += 1;
        let uses = table.uses;
        let entry = table.entries.get_mut(&track)?;
        entry.used = uses;
        look(entry)
    }

    /// Drops what was not used for longest and can be read again, until the rest fits; never what was just kept.
    fn keep_within_bounds(&self, just_kept: TrackId) {
        let mut table = self.lock();
        table.uses += 1;
        let uses = table.uses;
        if let Some(entry) = table.entries.get_mut(&just_kept) {
            entry.used = uses;
        }
        let mut order: Vec<(u64, TrackId)> = table
            .entries
            .iter()
            .map(|(track, entry)| (entry.used, *track))
            .collect();
        order.sort_unstable();
        let mut bytes: usize = table.entries.values().map(Entry::bytes).sum();
        for (_, track) in order {
            if bytes <= self.cache_bytes_max || track == just_kept {
                break;
            }
            if let Some(entry) = table.entries.get_mut(&track) {
                let before = entry.bytes();
                entry.evict();
                bytes -= before - entry.bytes();
            }
        }
    }

    /// Every change is whole before anything can panic, so a poisoned lock guards whole data.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
