//! Putting the data directory in order at boot, before anything is listed.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{
    Disk, DiskEntry, EntryKind, FileRecord, Fixture, FixtureContent, Library, LibraryError, Manifest, Result,
    StemsState, TrackId, Uploads,
    error::while_doing,
    layout::{
        INCOMING, INSTRUMENTS, Layout, MANIFEST, SIDECARS, SOURCE, STEMS, VOCALS, ensure_dir, list_or_empty,
        remove_entry, tree_bytes,
    },
};

/// Audio files that a fixture may be, by extension; whether they decode is found out when one is played.
const FIXTURE_EXTENSIONS: [&str; 6] = ["wav", "mp3", "flac", "ogg", "m4a", "aac"];

/// What boot did about something it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryAction {
    /// An upload that was never acknowledged, or the rest of a track already wiped: removed.
    LeftoverRemoved,
    /// The previous user's: removed, as the policy says.
    Wiped,
    /// In a track's directory but not in its manifest: removed.
    FileRemoved,
    /// Not whole, or not ours: moved to `quarantine/`, for the operator to look at.
    Quarantined,
    /// A track lost something that can be made again: its manifest says so now.
    Repaired,
    /// A fixture that cannot be used; left as it is.
    Ignored,
}

/// One thing that boot found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryLine {
    /// What was done.
    pub action: RecoveryAction,
    /// To what, below the data directory.
    pub path: String,
    /// Why.
    pub reason: String,
}

impl fmt::Display for RecoveryLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            RecoveryAction::LeftoverRemoved => "removed a leftover",
            RecoveryAction::Wiped => "wiped",
            RecoveryAction::FileRemoved => "removed a stray file",
            RecoveryAction::Quarantined => "quarantined",
            RecoveryAction::Repaired => "repaired",
            RecoveryAction::Ignored => "ignored",
        };
        write!(formatter, "{action}: {}: {}", self.path, self.reason)
    }
}

/// What boot found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Everything out of the ordinary, in the order in which it was found.
    pub lines: Vec<RecoveryLine>,
    /// Tracks whose stems are owed, oldest first.
    pub stems_owed: Vec<TrackId>,
}

impl Recovery {
    fn tell(&mut self, action: RecoveryAction, path: &Path, reason: impl Into<String>) {
        self.lines.push(RecoveryLine {
            action,
            path: path.to_string_lossy().into_owned(),
            reason: reason.into(),
        });
    }
}

/// Makes the directories and takes the lock, before anything else is touched.
pub(crate) fn take(disk: &dyn Disk, layout: &Layout) -> Result<Box<dyn Send + Sync>> {
    let doing = || while_doing(format!("opening {}", layout.root().display()));
    ensure_dir(disk, layout.root()).map_err(doing())?;
    let lock = disk.lock(&layout.lock()).map_err(|error| {
        if error.kind() == io::ErrorKind::WouldBlock {
            LibraryError::InUse {
                root: layout.root().display().to_string(),
            }
        } else {
            doing()(error)
        }
    })?;
    for directory in [layout.tracks(), layout.tmp()] {
        ensure_dir(disk, &directory).map_err(doing())?;
    }
    Ok(lock)
}

/// Clears leftovers, applies the policy, and lists what is whole.
pub(crate) fn put_in_order(library: &mut Library, uploads: Uploads) -> Result<Recovery> {
    let mut report = Recovery::default();
    let doing = || while_doing("putting the data directory in order");
    remember_numbers(library).map_err(doing())?;
    empty_tmp(library, Some(&mut report)).map_err(doing())?;
    match uploads {
        Uploads::Wipe => wipe_all(library, &mut report).map_err(doing())?,
        Uploads::Keep => keep_whole(library, &mut report)?,
    }
    let quarantine = library.layout.quarantine();
    library.quarantine_bytes = tree_bytes(&*library.disk, &quarantine).map_err(doing())?;
    load_fixtures(library, &mut report).map_err(doing())?;
    let owing = library
        .tracks
        .iter()
        .filter(|(_, manifest)| manifest.stems == StemsState::Owed);
    report.stems_owed = owing.map(|(id, _)| *id).collect();
    Ok(report)
}

/// No number is given out that anything on disk still has.
fn remember_numbers(library: &mut Library) -> io::Result<()> {
    let layout = &library.layout;
    for directory in [layout.tracks(), layout.tmp(), layout.quarantine()] {
        for entry in list_or_empty(&*library.disk, &directory)? {
            let name = entry.name.to_string_lossy();
            let number = name.rsplit('-').next().and_then(TrackId::parse);
            if let Some(TrackId(number)) = number {
                library.next = library.next.max(number.saturating_add(1));
            }
        }
    }
    Ok(())
}

fn empty_tmp(library: &Library, mut report: Option<&mut Recovery>) -> io::Result<()> {
    let tmp = library.layout.tmp();
    let entries = list_or_empty(&*library.disk, &tmp)?;
    for entry in &entries {
        remove_entry(&*library.disk, &tmp.join(&entry.name), entry.kind)?;
        if let Some(report) = report.as_deref_mut() {
            let path = Path::new("tmp").join(&entry.name);
            let reason = "it was never acknowledged, or was being wiped, when the program ended";
            report.tell(RecoveryAction::LeftoverRemoved, &path, reason);
        }
    }
    if entries.is_empty() {
        return Ok(());
    }
    library.disk.sync_dir(&tmp)
}

/// Renames everything of earlier users away before deleting it, so that a crash in between leaves no torn track.
fn wipe_all(library: &Library, report: &mut Recovery) -> io::Result<()> {
    let (disk, tmp) = (&*library.disk, library.layout.tmp());
    let mut moved = 0;
    for (name, directory) in [
        ("tracks", library.layout.tracks()),
        ("quarantine", library.layout.quarantine()),
    ] {
        let entries = list_or_empty(disk, &directory)?;
        for entry in &entries {
            disk.rename(&directory.join(&entry.name), &tmp.join(format!("previous-{moved}")))?;
            moved += 1;
            let path = Path::new(name).join(&entry.name);
            report.tell(
                RecoveryAction::Wiped,
                &path,
                "uploads do not outlive the program (policy wipe)",
            );
        }
        if !entries.is_empty() {
            disk.sync_dir(&directory)?;
        }
    }
    if moved > 0 {
        disk.sync_dir(&tmp)?;
    }
    empty_tmp(library, None)
}

fn keep_whole(library: &mut Library, report: &mut Recovery) -> Result<()> {
    let tracks = library.layout.tracks();
    let doing = || while_doing("listing the tracks");
    let entries = library.disk.list(&tracks).map_err(doing())?;
    if !entries.is_empty() {
        // The program before may have ended between a track's renaming and the sync that makes it last: what is listed must outlive a crash.
        library.disk.sync_dir(&tracks).map_err(doing())?;
    }
    for entry in entries {
        let path = Path::new("tracks").join(&entry.name);
        let id = entry.name.to_str().and_then(TrackId::parse);
        let whole = match (id, entry.kind) {
            (Some(id), EntryKind::Directory) => {
                load(&*library.disk, &tracks.join(&entry.name)).map(|found| (id, found))
            }
            _ => Err("it is no track of this library".to_owned()),
        };
        match whole {
            Ok((id, found)) => admit(library, id, found, &path, report)?,
            Err(reason) => {
                put_aside(library, &entry, &path, &reason, report).map_err(doing())?;
            }
        }
    }
    Ok(())
}

/// A track as found: what its manifest must become, and why it is not what it was.
struct Found {
    manifest: Manifest,
    repairs: Vec<String>,
}

/// Compares a track's directory with its manifest; the error says why it is no whole track.
fn load(disk: &dyn Disk, directory: &Path) -> std::result::Result<Found, String> {
    let list = |path: &Path| list_or_empty(disk, path).map_err(|error| error.to_string());
    let entries = list(directory)?;
    match file_bytes(&entries, MANIFEST) {
        None => return Err("it has no manifest".into()),
        Some(0) => return Err("its manifest is empty".into()),
        Some(_) => {}
    }
    let bytes = disk.read(&directory.join(MANIFEST));
    let bytes = bytes.map_err(|error| format!("its manifest cannot be read: {error}"))?;
    let mut manifest = Manifest::from_bytes(&bytes).map_err(|error| error.to_string())?;
    if !is_whole(&entries, SOURCE, &manifest.source) {
        return Err("its source is missing or torn".into());
    }
    let mut repairs = Vec::new();
    if let StemsState::Ready { vocals, instruments } = &manifest.stems {
        let entries = list(&directory.join(STEMS))?;
        if !is_whole(&entries, VOCALS, vocals) || !is_whole(&entries, INSTRUMENTS, instruments) {
            manifest.stems = StemsState::Owed;
            repairs.push("its stems are missing or torn: they are owed again".into());
        }
    }
    let entries = list(&directory.join(SIDECARS))?;
    manifest.sidecars.retain(|sidecar| {
        let whole = is_whole(&entries, &sidecar.file_name(), &sidecar.file);
        if !whole {
            repairs.push(format!(
                "its sidecar `{}` is missing or torn: it is made anew",
                sidecar.kind
            ));
        }
        whole
    });
    Ok(Found { manifest, repairs })
}

/// Lists a whole track, its repairs saved and strangers removed.
fn admit(library: &mut Library, id: TrackId, found: Found, path: &Path, report: &mut Recovery) -> Result<()> {
    let Found {
        mut manifest,
        mut repairs,
    } = found;
    let name = library.unique_name(&manifest.name);
    if name != manifest.name {
        repairs.push(format!("another track has its name: it is `{name}` now"));
        manifest.name = name;
    }
    let directory = library.layout.track(id);
    let doing = || while_doing(format!("putting track {id} in order"));
    ensure_dir(&*library.disk, &directory.join(SIDECARS)).map_err(doing())?;
    let removed = tidy(&*library.disk, &directory, &manifest, Incoming::Remove).map_err(doing())?;
    for stray in removed {
        let reason = "the manifest does not name it";
        report.tell(RecoveryAction::FileRemoved, &path.join(stray), reason);
    }
    library.tracks.insert(id, manifest.clone());
    if !repairs.is_empty() {
        library.save_manifest(id, manifest)?;
        report.tell(RecoveryAction::Repaired, path, repairs.join("; "));
    }
    Ok(())
}

/// Moves what is not whole to `quarantine/`; what holds nothing is removed.
fn put_aside(library: &Library, entry: &DiskEntry, path: &Path, reason: &str, report: &mut Recovery) -> io::Result<()> {
    let (disk, tracks) = (&*library.disk, library.layout.tracks());
    let from = tracks.join(&entry.name);
    let holds_nothing = match entry.kind {
        EntryKind::File { bytes } => bytes == 0,
        EntryKind::Directory => tree_bytes(disk, &from)? == 0,
        EntryKind::Other => true,
    };
    if holds_nothing {
        remove_entry(disk, &from, entry.kind)?;
        report.tell(
            RecoveryAction::FileRemoved,
            path,
            format!("{reason}, and it holds nothing"),
        );
        return disk.sync_dir(&tracks);
    }
    let quarantine = library.layout.quarantine();
    ensure_dir(disk, &quarantine)?;
    let present = disk.list(&quarantine)?;
    let mut name = entry.name.clone();
    while present.iter().any(|other| other.name == name) {
        name.push("-again");
    }
    disk.rename(&from, &quarantine.join(&name))?;
    disk.sync_dir(&quarantine)?;
    disk.sync_dir(&tracks)?;
    report.tell(RecoveryAction::Quarantined, path, reason);
    Ok(())
}

/// Fixtures are looked at and never touched.
fn load_fixtures(library: &mut Library, report: &mut Recovery) -> io::Result<()> {
    let fixtures = library.layout.fixtures();
    for entry in list_or_empty(&*library.disk, &fixtures)? {
        let path = fixtures.join(&entry.name);
        let found = match entry.kind {
            EntryKind::Directory => fixture_track(&*library.disk, &path),
            EntryKind::File { bytes } => fixture_file(&path, bytes),
            EntryKind::Other => Err("it is a link: put the file itself there".to_owned()),
        };
        match found {
            Ok((name, content)) => {
                let (id, name) = (TrackId(library.next), library.unique_name(&name));
                library.next += 1;
                library.fixtures.push(Fixture {
                    id,
                    name,
                    content,
                    path,
                });
            }
            Err(reason) => {
                let path = Path::new("fixtures").join(&entry.name);
                report.tell(RecoveryAction::Ignored, &path, reason);
            }
        }
    }
    Ok(())
}

fn fixture_track(disk: &dyn Disk, path: &Path) -> std::result::Result<(String, FixtureContent), String> {
    let Found { manifest, repairs } = load(disk, path)?;
    match repairs.is_empty() {
        true => Ok((manifest.name.clone(), FixtureContent::Track(Box::new(manifest)))),
        false => Err(repairs.join("; ")),
    }
}

fn fixture_file(path: &Path, bytes: u64) -> std::result::Result<(String, FixtureContent), String> {
    let extension = path
        .extension()
        .map(|extension| extension.to_string_lossy().to_lowercase());
    let known = extension.is_some_and(|extension| FIXTURE_EXTENSIONS.contains(&extension.as_str()));
    match path.file_name() {
        Some(name) if known && bytes > 0 => {
            Ok((name.to_string_lossy().into_owned(), FixtureContent::AudioFile { bytes }))
        }
        _ => Err(format!("it is no audio file ({})", FIXTURE_EXTENSIONS.join(", "))),
    }
}

/// What becomes of a stems draft's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A draft is alive and writes there.
    Leave,
    /// Nobody writes there any more.
    Remove,
}

/// Removes everything that the manifest does not name, and says what.
pub(crate) fn tidy(
    disk: &dyn Disk,
    directory: &Path,
    manifest: &Manifest,
    incoming: Incoming,
) -> io::Result<Vec<PathBuf>> {
    let ready = matches!(manifest.stems, StemsState::Ready { .. });
    let sidecars: Vec<String> = manifest.sidecars.iter().map(|sidecar| sidecar.file_name()).collect();
    let mut removed = Vec::new();
    for entry in list_or_empty(disk, directory)? {
        let is_directory = entry.kind == EntryKind::Directory;
        match entry.name.to_str() {
            Some(SOURCE | MANIFEST) if !is_directory => {}
            Some(INCOMING) if incoming == Incoming::Leave => {}
            Some(STEMS) if ready && is_directory => {
                let keep = |name: &str| name == VOCALS || name == INSTRUMENTS;
                remove_others(disk, directory, STEMS, keep, &mut removed)?;
            }
            Some(SIDECARS) if is_directory => {
                let keep = |name: &str| sidecars.iter().any(|other| other == name);
                remove_others(disk, directory, SIDECARS, keep, &mut removed)?;
            }
            _ => {
                remove_entry(disk, &directory.join(&entry.name), entry.kind)?;
                removed.push(PathBuf::from(entry.name));
            }
        }
    }
    Ok(removed)
}

fn remove_others(
    disk: &dyn Disk,
    directory: &Path,
    child: &str,
    keep: impl Fn(&str) -> bool,
    removed: &mut Vec<PathBuf>,
) -> io::Result<()> {
    for entry in list_or_empty(disk, &directory.join(child))? {
        if !entry.name.to_str().is_some_and(&keep) {
            let path = Path::new(child).join(&entry.name);
            remove_entry(disk, &directory.join(&path), entry.kind)?;
            removed.push(path);
        }
    }
    Ok(())
}

fn file_bytes(entries: &[DiskEntry], name: &str) -> Option<u64> {
    let entry = entries.iter().find(|entry| entry.name == name)?;
    match entry.kind {
        EntryKind::File { bytes } => Some(bytes),
        EntryKind::Directory | EntryKind::Other => None,
    }
}

fn is_whole(entries: &[DiskEntry], name: &str, record: &FileRecord) -> bool {
    file_bytes(entries, name) == Some(record.bytes)
}
