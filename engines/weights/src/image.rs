//! One weight group's host image.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    builder::{ImageBuilder, Written},
    cache::{self, ImageKey},
    error::{BuildError, ImageError},
    layout::Layout,
    mapping::Mapping,
};

/// The weights of one group as they lie on the device: read-only bytes at a page boundary, and where in them each tensor is. It stays in
/// system RAM as long as the program runs; a device's copy can be thrown away at any time, since this one never changes.
pub struct PackedImage {
    layout: Layout,
    bytes: Mapping,
}

impl PackedImage {
    /// Opens the image that the folder `dir` keeps for `key`; if there is none, or it is damaged or of another key, has `build` write it.
    /// The file appears under its name only when it is whole and on the disk.
    ///
    /// # Errors
    /// `DiskFull`, `Io`, and what `build` failed with; nothing is left behind then.
    pub fn open_or_build(
        dir: &Path,
        key: &ImageKey,
        build: impl FnOnce(&mut ImageBuilder<'_>) -> Result<(), BuildError>,
    ) -> Result<Arc<Self>, ImageError> {
        cache::open_or_build(dir, key, build).map(Arc::new)
    }

    /// An image that no disk keeps, for random weights and for tests.
    ///
    /// # Errors
    /// `Io` if there is not enough memory, and what `build` failed with.
    pub fn in_memory(
        build: impl FnOnce(&mut ImageBuilder<'_>) -> Result<(), BuildError>,
    ) -> Result<Arc<Self>, ImageError> {
        let place = PathBuf::from("an image in memory");
        let explain = |error| cache::explain(&place, error);
        let file = rustix::fs::memfd_create("greenroom-weights", rustix::fs::MemfdFlags::CLOEXEC)
            .map_err(|error| explain(error.into()))?;
        let mut sink = BufWriter::with_capacity(1 << 20, File::from(file));
        let written = run(&mut sink, &explain, false, build)?;
        let file = sink.into_inner().map_err(|error| explain(error.into_error()))?;
        Self::map(&file, written.layout, written.length)
            .map(Arc::new)
            .map_err(explain)
    }

    pub(crate) fn map(file: &File, layout: Layout, length: usize) -> io::Result<Self> {
        Ok(Self {
            layout,
            bytes: Mapping::of(file, length)?,
        })
    }

    /// Where each tensor is.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// All of it. Its length is a multiple of 4096.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What a stage needs to know of an image.
impl AsRef<[u8]> for PackedImage {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::fmt::Debug for PackedImage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PackedImage")
            .field("tensors", &self.layout.len())
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

/// Has `build` write into `sink`, and empties the sink's buffers.
pub(crate) fn run(
    sink: &mut dyn Write,
    explain: &dyn Fn(io::Error) -> ImageError,
    with_digest: bool,
    build: impl FnOnce(&mut ImageBuilder<'_>) -> Result<(), BuildError>,
) -> Result<Written, ImageError> {
    let mut builder = ImageBuilder::new(sink, explain, with_digest);
    build(&mut builder).map_err(|error| match error.downcast::<ImageError>() {
        Ok(error) => *error,
        Err(error) => ImageError::Build(error),
    })?;
    builder.finish()
}
