//! Where things are below the data directory, and the few walks over it.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{Disk, DiskEntry, EntryKind, TrackId};

pub(crate) const SOURCE: &str = "source.wav";
pub(crate) const MANIFEST: &str = "track.json";
pub(crate) const MANIFEST_NEXT: &str = "track.json.next";
pub(crate) const STEMS: &str = "stems";
pub(crate) const VOCALS: &str = "vocals.wav";
pub(crate) const INSTRUMENTS: &str = "instruments.wav";
pub(crate) const SIDECARS: &str = "sidecars";
/// Where a [`StemsDraft`](crate::StemsDraft) writes, within the track: a wipe takes it along.
pub(crate) const INCOMING: &str = "incoming";

/// The directories of one library.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join(".lock")
    }

    pub(crate) fn tracks(&self) -> PathBuf {
        self.root.join("tracks")
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(crate) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    pub(crate) fn fixtures(&self) -> PathBuf {
        self.root.join("fixtures")
    }

    pub(crate) fn track(&self, id: TrackId) -> PathBuf {
        self.tracks().join(id.to_string())
    }

    pub(crate) fn draft(&self, id: TrackId) -> PathBuf {
        self.tmp().join(format!("draft-{id}"))
    }

    pub(crate) fn wiped(&self, id: TrackId) -> PathBuf {
        self.tmp().join(format!("wiped-{id}"))
    }
}

/// Takes "not there" for done.
pub(crate) fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes a directory and those above it, so that they survive a crash.
pub(crate) fn ensure_dir(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    match disk.create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            ensure_dir(disk, parent)?;
            disk.create_dir(path)?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    }
    disk.sync_dir(parent)
}

/// Writes a small file whole and synced; its name still needs its directory's sync.
pub(crate) fn write_synced(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = disk.create_file(path)?;
    file.write_all(bytes)?;
    file.sync()
}

/// Removes a file, a link or a whole directory; what is not there is fine.
pub(crate) fn remove_entry(disk: &dyn Disk, path: &Path, kind: EntryKind) -> io::Result<()> {
    match kind {
        EntryKind::Directory => remove_tree(disk, path),
        EntryKind::File { .. } | EntryKind::Other => absent_is_fine(disk.remove_file(path)),
    }
}

/// Removes a directory and all in it, following no link; what is not there is fine.
pub(crate) fn remove_tree(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    for entry in list_or_empty(disk, path)? {
        remove_entry(disk, &path.join(&entry.name), entry.kind)?;
    }
    absent_is_fine(disk.remove_dir(path))
}

/// Lists a directory; one that is not there is empty.
pub(crate) fn list_or_empty(disk: &dyn Disk, path: &Path) -> io::Result<Vec<DiskEntry>> {
    match disk.list(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// Bytes of all files below a directory.
pub(crate) fn tree_bytes(disk: &dyn Disk, path: &Path) -> io::Result<u64> {
    let mut bytes = 0_u64;
    for entry in list_or_empty(disk, path)? {
        bytes += match entry.kind {
            EntryKind::File { bytes } => bytes,
            EntryKind::Directory => tree_bytes(disk, &path.join(&entry.name))?,
            EntryKind::Other => 0,
        };
    }
    Ok(bytes)
}
