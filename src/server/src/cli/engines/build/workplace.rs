//! Where an engine is built: in a folder of its own among the engines.

use std::{
    fs::{self, DirEntry, File},
    io,
    path::Path,
};

use tempfile::TempDir;

/// How such folders are named. Who lists engines sees none of them.
const PREFIX: &str = ".build-";

/// A build's own folder, which goes with it. What a build left that was killed is removed by the next one.
pub(super) struct Workplace {
    folder: TempDir,
    /// Locked until the folder is gone; the kernel lets go of it however the build ends.
    _lock: File,
}

impl Workplace {
    /// Makes one, and gives the names of those that it removed.
    pub(super) fn among(engines: &Path) -> io::Result<(Self, Vec<String>)> {
        // Held while folders are made and swept, so that none is seen before it is locked.
        let all = File::open(engines)?;
        // Where a filesystem locks nothing, nobody knows which folders are in use.
        let swept = match all.lock() {
            Ok(()) => sweep(engines)?,
            Err(_) => Vec::new(),
        };
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(engines)?;
        let lock = File::open(folder.path())?;
        if let Err(error) = lock.lock()
            && error.kind() != io::ErrorKind::Unsupported
        {
            return Err(error);
        }
        Ok((Self { folder, _lock: lock }, swept))
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes the folders that nobody holds a lock on.
fn sweep(engines: &Path) -> io::Result<Vec<String>> {
    let mut swept = Vec::new();
    for entry in fs::read_dir(engines)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(PREFIX) && is_left(&entry) && fs::remove_dir_all(entry.path()).is_ok() {
            swept.push(name);
        }
    }
    Ok(swept)
}

/// Whether it is a folder, and not only a link to one, of a build that runs no more.
fn is_left(entry: &DirEntry) -> bool {
    let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
    is_folder && File::open(entry.path()).is_ok_and(|folder| folder.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_build_left_is_removed_and_nothing_else() {
        let (engines, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // A lock dies with its process, so this is what a killed build leaves.
        let left = engines.path().join(".build-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("network.onnx.data"), "gigabytes").unwrap();
        fs::write(elsewhere.path().join("mine"), "").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), engines.path().join(".build-link")).unwrap();
        fs::write(engines.path().join(".build-file"), "").unwrap();
        fs::create_dir(engines.path().join("folder")).unwrap();
        let (first, swept) = Workplace::among(engines.path()).unwrap();
        assert_eq!(swept, [".build-left"]);
        assert_eq!(names(elsewhere.path()), ["mine"]);

        // Two builds at once leave each other alone.
        fs::write(first.path().join("engine"), "").unwrap();
        let (second, swept) = Workplace::among(engines.path()).unwrap();
        assert_eq!(swept, Vec::<String>::new());
        assert_eq!(names(first.path()), ["engine"]);
        drop((first, second));
        assert_eq!(names(engines.path()), [".build-file", ".build-link", "folder"]);
    }
}
