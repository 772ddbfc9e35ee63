//! The one place that maps files: memory that a device driver can page-lock where it lies.

use std::{fs::File, io, ops::Deref};

use memmap2::{Mmap, MmapOptions};

/// Read-only bytes at a page boundary, all of them in memory when this is made.
pub(crate) struct Mapping(Mmap);

impl Mapping {
    /// Maps the first `length` bytes of a file.
    #[allow(unsafe_code, reason = "a mapping cannot be made without")]
    pub(crate) fn of(file: &File, length: usize) -> io::Result<Self> {
        let mut options = MmapOptions::new();
        // Private and populated: a driver locks such pages for reading in milliseconds.
        options.len(length).populate();
        // SAFETY: the bytes of a mapping must not change under a shared reference. A file in the cache is never written in place: it is
        // renamed there when it is whole, and replaced by renaming another over it. A file in memory has no name, and its only other
        // handle is dropped by `PackedImage::in_memory` when the mapping is made.
        let map = unsafe { options.map_copy_read_only(file)? };
        Ok(Self(map))
    }
}

/// Maps a whole file that others may have written; pages are read when they are looked at.
#[allow(unsafe_code, reason = "a mapping cannot be made without")]
pub(crate) fn read_only(file: &File) -> io::Result<Mmap> {
    // SAFETY: a checkpoint is a file that programs replace and never write in place. Were it truncated under us, the program would end
    // with a bus error; were it written to, weights would be wrong: no more than a copy made at the wrong moment would be.
    unsafe { Mmap::map(file) }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
