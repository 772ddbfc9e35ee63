//! Writes data directories as a real library leaves them into the corpus of `boot`, for the fuzzer to start from.
#![allow(clippy::unwrap_used, reason = "a tool that cannot write its files must stop")]

use std::{fs, path::Path, sync::Arc};

use greenroom_audio::Pcm;
use greenroom_fuzz::boot::{PATHS, ROOT};
use greenroom_library::{Generator, Library, Limits, SidecarKind, TrackFacts, Uploads, simulated::MemoryDisk};

fn clip(level: f32) -> Pcm {
    Pcm::new(48_000, 1, vec![level; 8])
}

/// The records of the files on a disk.
fn records(disk: &MemoryDisk) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, content) in disk.files() {
        if let Some(pick) = PATHS.iter().position(|other| Path::new(other) == path) {
            bytes.push(pick as u8);
            bytes.extend(u16::try_from(content.len()).unwrap().to_le_bytes());
            bytes.extend(content);
        }
    }
    bytes
}

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/boot");
    fs::create_dir_all(&folder).unwrap();
    let save = |name: &str, disk: &MemoryDisk| fs::write(folder.join(name), records(disk)).unwrap();
    let disk = MemoryDisk::new(1 << 20);
    let (mut library, _) = Library::open(
        Arc::new(disk.clone()),
        Path::new(ROOT),
        Uploads::Keep,
        Limits::default(),
    )
    .unwrap();
    save("nothing", &disk);
    let generator = Generator {
        name: "spectral".into(),
        version: "1".into(),
    };
    let kind = SidecarKind::new("latents").unwrap();
    for name in ["one.mp3", "two.mp3"] {
        let mut draft = library.begin_draft(name, 100).unwrap();
        draft.write_source(&clip(0.5)).unwrap();
        draft.write_sidecar(&kind, &generator, &[7; 9]).unwrap();
        let facts = TrackFacts {
            owner: Some("alice".into()),
            created_unix_s: 1_790_000_000,
            bpm: 120.0,
            key: "A minor".into(),
            time_signature: "4".into(),
        };
        let track = library.commit(draft, facts).unwrap();
        save(name, &disk);
        let mut stems = library.begin_stems(track.id, 100).unwrap();
        stems.write_stems(&clip(0.25), &clip(0.125)).unwrap();
        library.commit_stems(stems).unwrap();
        save(&format!("{name}-with-stems"), &disk);
    }
    disk.plant(Path::new("/data/tracks/notes.txt"), b"hello");
    disk.plant(Path::new("/data/fixtures/song.mp3"), b"ID3");
    disk.plant(Path::new("/data/quarantine/00000005"), b"torn");
    disk.plant(Path::new("/data/tmp/previous-0"), b"old");
    save("foreign-files", &disk);
}
