//! The page cache, as far as a program can see and move it: to measure what reading costs with and without.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    path::Path,
};

use rustix::{
    fs::{Advice, fadvise},
    io::{Errno, ReadWriteFlags, preadv2},
};

/// Places of a file that are looked at; few, since looking may make the system read.
const LOOKS: u64 = 64;

/// Asks the system to forget a file's contents. It may refuse or have no other place for them (a file system in memory): look with
/// [`cached_share`] what came of it.
///
/// # Errors
/// If the file cannot be opened or written back.
pub fn forget(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // What is not on the disk yet cannot be forgotten.
    file.sync_all()?;
    Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
}

/// How much of a file is in the page cache, 0 to 1, judged by a byte in each of a few places; none where the file system does not tell.
///
/// # Errors
/// If the file cannot be read.
pub fn cached_share(path: &Path) -> io::Result<Option<f64>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(None);
    }
    let mut there = 0;
    for place in 0..LOOKS {
        // From the end to the beginning, so that reading ahead of one look does not answer the next.
        let offset = (length - 1) / LOOKS * (LOOKS - 1 - place);
        let mut byte = [0];
        match preadv2(&file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT) {
            Ok(_) => there += 1,
            Err(Errno::AGAIN) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(f64::from(there) / LOOKS as f64))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_was_just_written_is_in_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, vec![7; 1 << 20]).unwrap();
        forget(&path).unwrap();
        assert_eq!(
            fs::read(&path).unwrap().len(),
            1 << 20,
            "what is forgotten is on the disk"
        );
        // Where the file system tells at all.
        assert!(cached_share(&path).unwrap().is_none_or(|share| share == 1.0));
        fs::write(&path, []).unwrap();
        assert_eq!(cached_share(&path).unwrap(), None);
        assert!(forget(&dir.path().join("nowhere")).is_err());
    }
}
