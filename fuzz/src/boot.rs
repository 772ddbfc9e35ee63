//! What a boot makes of a data directory that anybody may have been in.
//!
//! The bytes are records, so that a mutation changes a file and leaves the others: one byte that chooses a path, two that give a length
//! (little-endian), and the content.

use std::{collections::BTreeMap, path::Path, path::PathBuf, sync::Arc};

use greenroom_library::{Library, Limits, RecoveryAction, Uploads, simulated::MemoryDisk};

/// Where the library lives.
pub const ROOT: &str = "/data";

/// Paths that mean something to a library, and some that do not.
pub const PATHS: [&str; 32] = [
    "/data/tracks/00000001/track.json",
    "/data/tracks/00000001/source.wav",
    "/data/tracks/00000001/stems/vocals.wav",
    "/data/tracks/00000001/stems/instruments.wav",
    "/data/tracks/00000001/sidecars/latents-1.bin",
    "/data/tracks/00000001/sidecars/latents-2.bin",
    "/data/tracks/00000001/incoming/stems/vocals.wav",
    "/data/tracks/00000001/track.json.next",
    "/data/tracks/00000002/track.json",
    "/data/tracks/00000002/source.wav",
    "/data/tracks/00000002/sidecars/latents-1.bin",
    "/data/tracks/00000002/stems",
    "/data/tracks/00000002/stems/vocals.wav",
    "/data/tracks/00000002/sidecars",
    "/data/tracks/18446744073709551615/track.json",
    "/data/tracks/18446744073709551615/source.wav",
    "/data/tracks/1/track.json",
    "/data/tracks/notes.txt",
    "/data/tracks/00000003",
    "/data/tmp/draft-00000004/source.wav",
    "/data/tmp/previous-0",
    "/data/tmp/wiped-00000001/source.wav",
    "/data/quarantine/00000001/source.wav",
    "/data/quarantine/00000005",
    "/data/fixtures/song.mp3",
    "/data/fixtures/00000001/track.json",
    "/data/fixtures/00000001/source.wav",
    "/data/fixtures/00000001/stems/vocals.wav",
    "/data/fixtures/notes.txt",
    "/data/config.toml",
    "/data/tracks.txt",
    "/elsewhere/tracks/00000001/source.wav",
];

/// The files that the bytes plant; one that lies where a directory is or must be is passed over.
fn planted(mut bytes: &[u8]) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    while let [pick, low, high, rest @ ..] = bytes {
        let path = Path::new(PATHS[usize::from(*pick) % PATHS.len()]);
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (content, rest) = rest.split_at(length);
        bytes = rest;
        let in_the_way = |other: &PathBuf| other != path && (other.starts_with(path) || path.starts_with(other));
        if !files.keys().any(in_the_way) {
            files.insert(path.to_owned(), content.to_vec());
        }
    }
    files
}

/// Whether a library may change what lies there: everything else is somebody else's.
fn is_its_own(path: &Path) -> bool {
    ["tracks", "tmp", "quarantine"]
        .iter()
        .any(|directory| path.starts_with(Path::new(ROOT).join(directory)))
}

/// Boots twice with each policy.
///
/// # Panics
/// If a boot fails on files alone, touches what is not the library's, loses what it should put aside, or does not leave order behind.
pub fn boot(bytes: &[u8]) {
    let before = planted(bytes);
    for uploads in [Uploads::Keep, Uploads::Wipe] {
        let disk = MemoryDisk::new(1 << 24);
        for (path, content) in &before {
            disk.plant(path, content);
        }
        let open = || Library::open(Arc::new(disk.clone()), Path::new(ROOT), uploads, Limits::default());
        let (library, report) = open().unwrap_or_else(|error| panic!("no file keeps a boot from succeeding: {error}"));
        let after = disk.files();
        for (path, content) in before.iter().filter(|(path, _)| !is_its_own(path)) {
            assert_eq!(
                after.get(path),
                Some(content),
                "{} is not ours: {report:?}",
                path.display()
            );
        }
        match uploads {
            Uploads::Keep => assert_kept(&library, &before, &after),
            Uploads::Wipe => {
                assert_eq!(library.tracks().count(), 0, "{report:?}");
                let left: Vec<_> = after.keys().filter(|path| is_its_own(path)).collect();
                assert!(left.is_empty(), "{left:?} is left: {report:?}");
            }
        }
        drop(library);
        let (_, report) = open().unwrap_or_else(|error| panic!("a boot spoilt the next one: {error}"));
        let mut lines = report.lines.iter();
        let odd = lines.find(|line| line.action != RecoveryAction::Ignored);
        assert!(odd.is_none(), "once is enough: {odd:?}");
        assert_eq!(disk.files(), after);
    }
}

/// A track that is listed has its files as they were; what is not listed and held something lies in `quarantine/`.
fn assert_kept(library: &Library, before: &BTreeMap<PathBuf, Vec<u8>>, after: &BTreeMap<PathBuf, Vec<u8>>) {
    let (tracks, quarantine) = (Path::new(ROOT).join("tracks"), Path::new(ROOT).join("quarantine"));
    let listed: Vec<PathBuf> = library
        .tracks()
        .map(|track| tracks.join(track.id.to_string()))
        .collect();
    for directory in &listed {
        let source = directory.join("source.wav");
        assert_eq!(after.get(&source), before.get(&source), "{}", source.display());
    }
    for track in library.tracks() {
        let reader = library
            .reader(track.id)
            .unwrap_or_else(|error| panic!("it is listed: {error}"));
        // A damaged file of the right length is found out when it is read.
        let _ = (reader.verify(), reader.read_source(), reader.read_stems());
    }
    for (path, content) in before.iter().filter(|(_, content)| !content.is_empty()) {
        let is_listed = listed.iter().any(|directory| path.starts_with(directory));
        if let Ok(inside) = path.strip_prefix(&tracks)
            && !is_listed
        {
            let held = |(other, held): (&PathBuf, &Vec<u8>)| {
                let below = other.strip_prefix(&quarantine).ok();
                held == content && below.is_some_and(|below| below.iter().skip(1).eq(inside.iter().skip(1)))
            };
            assert!(after.iter().any(held), "{} is lost", path.display());
        }
        if path.starts_with(&quarantine) {
            assert_eq!(after.get(path), Some(content), "{}", path.display());
        }
    }
}
