//! What the library asks of a disk, step by step, so that every step can be made to fail.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

/// What a directory entry is, links not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file and its length in bytes.
    File {
        /// Bytes.
        bytes: u64,
    },
    /// A directory.
    Directory,
    /// A link, a device or anything else: never followed, never read.
    Other,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskEntry {
    /// Its name, which may be no text.
    pub name: OsString,
    /// What it is.
    pub kind: EntryKind,
}

/// A new file being written.
pub trait DiskFile: Write + Send {
    /// Returns when content and length are on the medium.
    ///
    /// # Errors
    /// Whatever the medium says; the content may then be torn.
    fn sync(&mut self) -> io::Result<()>;
}

/// The file system as the library uses it. Each call is one persist step, none is retried, and only what was synced
/// (content by [`DiskFile::sync`], names by [`Disk::sync_dir`]) survives a crash.
pub trait Disk: Send + Sync + 'static {
    /// Makes a directory in one that exists.
    ///
    /// # Errors
    /// `AlreadyExists`, `NotFound` without the parent, or the medium's.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes an empty file, which must not exist.
    ///
    /// # Errors
    /// `AlreadyExists`, `NotFound` without the directory, or the medium's.
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// The whole content of a file.
    ///
    /// # Errors
    /// `NotFound`, or the medium's.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Renames a file or directory at once or not at all; a file in the way is replaced.
    ///
    /// # Errors
    /// `NotFound`, or the medium's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Returns when the names in the directory are on the medium.
    ///
    /// # Errors
    /// `NotFound`, or the medium's.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes a file or a link.
    ///
    /// # Errors
    /// `NotFound`, or the medium's.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NotFound`, `DirectoryNotEmpty`, or the medium's.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// What a directory holds, sorted by name.
    ///
    /// # Errors
    /// `NotFound`, or the medium's.
    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>>;

    /// Bytes that can still be written below the path.
    ///
    /// # Errors
    /// The medium's.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;

    /// Takes the file as this process's mark that it alone uses the directory, until the value is dropped.
    ///
    /// # Errors
    /// `WouldBlock` while another holds it, or the medium's.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

struct RealFile(File);

impl Write for RealFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl DiskFile for RealFile {
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn create_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let kind = if kind.is_dir() {
                EntryKind::Directory
            } else if kind.is_file() {
                EntryKind::File {
                    bytes: entry.metadata()?.len(),
                }
            } else {
                EntryKind::Other
            };
            entries.push(DiskEntry {
                name: entry.file_name(),
                kind,
            });
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let figures = rustix::fs::statvfs(path)?;
        Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}
