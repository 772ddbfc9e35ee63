//! Images on disk.
//!
//! A file is the image's bytes, then a description in JSON, then a footer that finds and checks the description. The bytes come first so
//! that they can be mapped from the file's beginning, and so that an image need not be known before its last tensor is written.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use candle_core::DType;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    builder::ImageBuilder,
    error::{BuildError, ImageError},
    image::{PackedImage, run},
    layout::Layout,
};

/// Ends every file; its number changes with the format.
const MAGIC: [u8; 8] = *b"greenr01";
/// Length of the description (8), its SHA-256 (32), and the magic.
const FOOTER_BYTES: usize = 48;
/// A longer description is not one of ours.
const DESCRIPTION_LIMIT: u64 = 64 << 20;

/// What an image was made of. Any difference makes another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageKey {
    /// The weight group: `separator`, `dit`, …
    pub group: String,
    /// What tells the checkpoint from all others, in hexadecimal: its SHA-256, or what stands for it where it is too large to be read anew at
    /// every start.
    pub checkpoint: String,
    /// Number of the engine's layout: changed whenever names, shapes, order or folding change.
    pub layout_version: u32,
    /// Type of most of the weights.
    pub dtype: DType,
}

impl ImageKey {
    /// Name of the file in the cache.
    #[must_use]
    pub fn file_name(&self) -> String {
        let checkpoint = self.checkpoint.get(..16).unwrap_or(&self.checkpoint);
        let (group, version, dtype) = (&self.group, self.layout_version, self.dtype.as_str());
        format!("{group}-{checkpoint}-v{version}-{dtype}.weights")
    }

    /// The whole key in one line, kept in the file: names are shortened.
    fn line(&self) -> String {
        let (group, version, dtype) = (&self.group, self.layout_version, self.dtype.as_str());
        format!("{group} {} v{version} {dtype}", self.checkpoint)
    }
}

/// What a file says of itself.
#[derive(Serialize, Deserialize)]
struct Description {
    key: String,
    length: usize,
    /// SHA-256 of the first `length` bytes.
    digest: [u8; 32],
    layout: Layout,
}

/// Why a kept image is not used.
enum Unusable {
    /// It is not there, damaged, or not what was asked for: building it anew mends that.
    Stale,
    /// The disk cannot be read.
    Io(io::Error),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => Self::Stale,
            _ => Self::Io(error),
        }
    }
}

pub(crate) fn open_or_build(
    dir: &Path,
    key: &ImageKey,
    build: impl FnOnce(&mut ImageBuilder<'_>) -> Result<(), BuildError>,
) -> Result<PackedImage, ImageError> {
    fs::create_dir_all(dir).map_err(|error| explain(dir, error))?;
    let path = dir.join(key.file_name());
    // Two pods may share the folder: the second waits, and finds the image made.
    let lock_path = path.with_extension("lock");
    let lock = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&lock_path)
        .and_then(|lock| lock.lock().map(|()| lock))
        .map_err(|error| explain(&lock_path, error))?;
    let image = match open(&path, key) {
        Ok(image) => Ok(image),
        Err(Unusable::Io(error)) => Err(explain(&path, error)),
        Err(Unusable::Stale) => {
            write(dir, &path, key, build)?;
            open(&path, key).map_err(|reason| match reason {
                Unusable::Io(error) => explain(&path, error),
                Unusable::Stale => explain(&path, io::ErrorKind::InvalidData.into()),
            })
        }
    };
    drop(lock);
    image
}

fn open(path: &Path, key: &ImageKey) -> Result<PackedImage, Unusable> {
    let mut file = File::open(path)?;
    let description = read_description(&mut file)?.ok_or(Unusable::Stale)?;
    if description.key != key.line() {
        return Err(Unusable::Stale);
    }
    let image = PackedImage::map(&file, description.layout, description.length)?;
    // The disk may have changed since: weights that are not what they were would be heard, not seen.
    if Sha256::digest(image.bytes())[..] != description.digest {
        return Err(Unusable::Stale);
    }
    Ok(image)
}

/// The description at the end of the file, if it is whole and fits the file.
fn read_description(file: &mut File) -> io::Result<Option<Description>> {
    let size = file.metadata()?.len();
    let Some(footer_at) = size.checked_sub(FOOTER_BYTES as u64) else {
        return Ok(None);
    };
    let mut footer = [0; FOOTER_BYTES];
    file.seek(SeekFrom::Start(footer_at))?;
    file.read_exact(&mut footer)?;
    let mut length = [0; 8];
    length.copy_from_slice(&footer[..8]);
    let length = u64::from_le_bytes(length);
    if footer[40..] != MAGIC || length > footer_at.min(DESCRIPTION_LIMIT) {
        return Ok(None);
    }
    let mut json = Vec::new();
    file.seek(SeekFrom::Start(footer_at - length))?;
    file.take(length).read_to_end(&mut json)?;
    if Sha256::digest(&json)[..] != footer[8..40] {
        return Ok(None);
    }
    let description = serde_json::from_slice::<Description>(&json).ok();
    Ok(description.filter(|found| found.length as u64 == footer_at - length && found.layout.fits(found.length)))
}

/// Writes the file under a passing name, and gives it its own when it is on the disk.
fn write(
    dir: &Path,
    path: &Path,
    key: &ImageKey,
    build: impl FnOnce(&mut ImageBuilder<'_>) -> Result<(), BuildError>,
) -> Result<(), ImageError> {
    let partial = Partial(path.with_extension("partial"));
    let explain = |error| explain(&partial.0, error);
    // What a crash left is written over.
    let mut sink = BufWriter::with_capacity(1 << 20, File::create(&partial.0).map_err(explain)?);
    let written = run(&mut sink, &explain, true, build)?;
    let description = Description {
        key: key.line(),
        length: written.length,
        digest: written.digest.unwrap_or_default(),
        layout: written.layout,
    };
    let finish = || -> io::Result<()> {
        let json = serde_json::to_vec(&description)?;
        sink.write_all(&json)?;
        sink.write_all(&(json.len() as u64).to_le_bytes())?;
        sink.write_all(&Sha256::digest(&json))?;
        sink.write_all(&MAGIC)?;
        sink.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&partial.0, path)?;
        File::open(dir)?.sync_all()
    };
    finish().map_err(explain)
}

/// A file that is not whole: gone when this is, unless it was renamed.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // It is not there any more if all went well.
        let _ = fs::remove_file(&self.0);
    }
}

pub(crate) fn explain(path: &Path, source: io::Error) -> ImageError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ImageError::DiskFull { path: path.into() },
        _ => ImageError::Io {
            path: path.into(),
            source,
        },
    }
}
