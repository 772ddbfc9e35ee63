//! Brings files into the page cache before they are needed, while something else goes on.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    thread,
};

use greenroom_sync::CancelFlag;

/// Bytes between two looks at the flag: a few milliseconds of any disk that engines should be on.
const CHUNK_BYTES: usize = 8 << 20;

/// What a prewarm came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warmed {
    /// Bytes that were read.
    pub bytes: u64,
    /// Whether it got to the end of every file.
    pub whole: bool,
}

/// Reads a file through once, from its beginning; its bytes are in the page cache afterwards, as far as the system has room for them.
/// Stops at the next chunk when the flag is raised.
///
/// # Errors
/// If the file cannot be read. That is nobody's failure: whoever loads it comes upon the same, and says so.
pub fn warm(path: &Path, cancel: &CancelFlag) -> io::Result<Warmed> {
    let mut file = File::open(path)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut bytes = 0;
    while !cancel.is_raised() {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(Warmed { bytes, whole: true }),
            Ok(count) => bytes += count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Warmed { bytes, whole: false })
}

/// Files being read in the background. Dropped, it gives up at the next chunk and waits for nobody.
#[derive(Debug)]
pub struct Prewarm {
    cancel: CancelFlag,
    reader: Option<thread::JoinHandle<io::Result<Warmed>>>,
}

impl Prewarm {
    /// Reads these files one after the other, the one that is needed first at the front.
    ///
    /// # Errors
    /// If there can be no thread more.
    pub fn start(paths: Vec<PathBuf>) -> io::Result<Self> {
        let cancel = CancelFlag::new();
        let flag = cancel.clone();
        let read = move || {
            let mut all = Warmed { bytes: 0, whole: true };
            for path in paths {
                let one = warm(&path, &flag)?;
                all.bytes += one.bytes;
                all.whole &= one.whole;
            }
            Ok(all)
        };
        let reader = thread::Builder::new().name("prewarm".into()).spawn(read)?;
        Ok(Self {
            cancel,
            reader: Some(reader),
        })
    }

    /// Asks it to give up: what is in the cache stays there.
    pub fn cancel(&self) {
        self.cancel.raise();
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If a file could not be read; the ones behind it were not begun.
    pub fn finish(mut self) -> io::Result<Warmed> {
        let ended = self.reader.take().map(thread::JoinHandle::join);
        match ended {
            Some(Ok(warmed)) => warmed,
            Some(Err(_)) | None => Err(io::Error::other("the thread that read files panicked")),
        }
    }
}

impl Drop for Prewarm {
    fn drop(&mut self) {
        self.cancel.raise();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_byte_of_every_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [CHUNK_BYTES + 1, 0, 5].map(|length: usize| {
            let path = dir.path().join(length.to_string());
            fs::write(&path, vec![7; length]).unwrap();
            path
        });
        let warmed = Prewarm::start(paths.into()).unwrap().finish().unwrap();
        let bytes = CHUNK_BYTES as u64 + 6;
        assert_eq!(warmed, Warmed { bytes, whole: true });
    }

    #[test]
    fn a_raised_flag_is_seen_before_the_next_chunk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, [7; 100]).unwrap();
        let cancel = CancelFlag::new();
        cancel.raise();
        let nothing = Warmed { bytes: 0, whole: false };
        assert_eq!(warm(&path, &cancel).unwrap(), nothing);
    }

    #[test]
    fn what_is_dropped_or_cancelled_gives_up() {
        // It never ends by itself, and every chunk is full.
        let endless = || vec![PathBuf::from("/dev/zero")];
        let prewarm = Prewarm::start(endless()).unwrap();
        prewarm.cancel();
        assert!(!prewarm.finish().unwrap().whole);
        let mut dropped = Prewarm::start(endless()).unwrap();
        let reader = dropped.reader.take().unwrap();
        drop(dropped);
        assert!(!reader.join().unwrap().unwrap().whole);
    }

    #[test]
    fn a_file_that_is_not_there_is_told() {
        let error = Prewarm::start(vec![PathBuf::from("/nowhere/engine")]).unwrap().finish();
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
