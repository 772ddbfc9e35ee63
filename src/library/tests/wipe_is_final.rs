//! After a wipe nothing of the track is listed, read or written again, whoever was in the middle of what.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that panics or prints tells what happened"
)]

mod common;

use std::{path::Path, sync::Arc, thread};

use common::{assert_no_strays, clip, facts, latents, open, save_stems, upload};
use greenroom_audio::Pcm;
use greenroom_library::{
    Library, LibraryError, Limits, RealDisk, RecoveryAction, Result, StemsDraft, TrackId, Uploads,
    simulated::{DiskFault, MemoryDisk},
};

fn assert_wiped<T>(result: Result<T>, id: TrackId) {
    match result {
        Err(LibraryError::Wiped { track }) => assert_eq!(track, id),
        Err(other) => panic!("said {other:?}"),
        Ok(_) => panic!("went through"),
    }
}

type Write<'a> = &'a dyn Fn(&mut StemsDraft) -> Result<()>;

/// Wipes a track after that many of the stems draft's writes; nothing of the others may land.
fn wipe_after(writes: usize) {
    let disk = MemoryDisk::new(1 << 20);
    let (mut library, _) = open(&disk, Uploads::Keep).unwrap();
    let id = upload(&mut library, "1.mp3", 1).unwrap().id;
    let other = upload(&mut library, "2.mp3", 2).unwrap();
    let reader = library.reader(id).unwrap();
    let mut draft = library.begin_stems(id, 100).unwrap();
    let (kind, generator) = latents();
    let steps: [Write<'_>; 2] = [&|draft| draft.write_stems(&clip(3), &clip(4)), &|draft| {
        draft.write_sidecar(&kind, &generator, b"latents of the stems")
    }];
    for write in &steps[..writes] {
        write(&mut draft).unwrap();
    }
    library.wipe(&[id]).unwrap();
    for write in &steps[writes..] {
        assert_wiped(write(&mut draft), id);
    }
    assert_wiped(library.commit_stems(draft), id);
    assert_wiped(library.begin_stems(id, 0).map(drop), id);
    assert_wiped(library.set_owner(id, None), id);
    assert_wiped(library.mark_stems_failed(id, "late"), id);
    assert_wiped(library.reader(id).map(drop), id);
    assert_wiped(library.track(id), id);
    assert_wiped(reader.read_source(), id);
    assert_wiped(reader.source_bytes(), id);
    assert_wiped(reader.read_sidecar(&kind, &generator), id);
    assert_eq!(library.find("1.mp3"), None);
    assert_no_strays(&library, &disk);
    // Its name is free, its number never.
    let again = upload(&mut library, "1.mp3", 1).unwrap();
    assert_eq!(again.manifest.name, "1.mp3");
    assert!(again.id > other.id);
    assert_wiped(reader.read_source(), id);
    library.wipe(&[id, id]).unwrap();
    assert_eq!(library.tracks().count(), 2);
    drop(library);
    disk.reboot(7);
    let (library, _) = open(&disk, Uploads::Keep).unwrap();
    let names: Vec<String> = library.tracks().map(|track| track.manifest.name).collect();
    assert_eq!(names, ["2.mp3", "1.mp3"]);
}

#[test]
fn in_the_middle_of_saving_stems() {
    for writes in 0..=2 {
        wipe_after(writes);
    }
}

#[test]
fn a_refused_wipe_unlists_at_once_and_is_finished_later() {
    let disk = MemoryDisk::new(1 << 20);
    let (mut library, _) = open(&disk, Uploads::Keep).unwrap();
    let track = upload(&mut library, "1.mp3", 1).unwrap();
    save_stems(&mut library, &track, 1).unwrap();
    for step in 0_u64.. {
        disk.fail_at(disk.steps() + step, DiskFault::Failing);
        let wiped = library.wipe(&[track.id]);
        assert_wiped(library.reader(track.id).map(drop), track.id);
        assert_eq!(library.tracks().count(), 0);
        disk.heal();
        if wiped.is_ok() {
            assert!(step > 0, "the fault hit at least once");
            break;
        }
    }
    assert_no_strays(&library, &disk);
}

#[test]
fn on_a_real_disk_with_writers_on_other_threads() {
    let root = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk);
    let opened = Library::open(disk, root.path(), Uploads::Keep, Limits::default());
    let mut library = opened.unwrap().0;
    let long = Pcm::new(48_000, 2, vec![0.25; 960_000]);
    for round in 0..6 {
        let mut draft = library.begin_draft("song.wav", Library::source_bytes(&long)).unwrap();
        draft.write_source(&long).unwrap();
        let id = library.commit(draft, facts("alice")).unwrap().id;
        let mut stems = library.begin_stems(id, 0).unwrap();
        let reader = library.reader(id).unwrap();
        let (written, read) = thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let written = stems.write_stems(&long, &long);
                (written, stems)
            });
            let reading = scope.spawn(|| (0..4).map(|_| reader.read_source()).collect::<Vec<_>>());
            // Each round catches the writer somewhere else.
            (0..round * 3_000).for_each(|_| thread::yield_now());
            library.wipe(&[id]).unwrap();
            (writer.join().unwrap(), reading.join().unwrap())
        });
        let (result, stems) = written;
        assert!(matches!(result, Ok(()) | Err(LibraryError::Wiped { .. })), "{result:?}");
        assert_wiped(library.commit_stems(stems), id);
        for result in read {
            assert!(matches!(result, Ok(_) | Err(LibraryError::Wiped { .. })), "{result:?}");
        }
        for directory in ["tracks", "tmp"] {
            assert_eq!(root.path().join(directory).read_dir().unwrap().count(), 0);
        }
    }
}

#[test]
fn fixtures_are_never_touched() {
    let disk = MemoryDisk::new(1 << 20);
    let fixture = Path::new(common::ROOT).join("fixtures/demo.mp3");
    disk.plant(&fixture, b"some compressed music");
    let (mut library, _) = open(&disk, Uploads::Wipe).unwrap();
    let id = library.find("demo.mp3").unwrap();
    library.wipe(&[id]).unwrap();
    assert!(matches!(library.set_owner(id, None), Err(LibraryError::Fixture { .. })));
    assert_eq!(library.fixture_bytes(id).unwrap(), b"some compressed music");
    let upload = upload(&mut library, "demo.mp3", 1).unwrap();
    assert_eq!(upload.manifest.name, "demo (2).mp3");
    drop(library);
    let (library, _) = open(&disk, Uploads::Wipe).unwrap();
    assert_eq!(library.tracks().count(), 0);
    assert!(disk.files().contains_key(&fixture));
}

#[test]
fn a_fixture_with_its_manifest_has_stems_at_once() {
    let disk = MemoryDisk::new(1 << 20);
    let (mut library, _) = open(&disk, Uploads::Keep).unwrap();
    let track = upload(&mut library, "1.mp3", 1).unwrap();
    save_stems(&mut library, &track, 1).unwrap();
    drop(library);
    let directory = Path::new(common::ROOT).join("tracks").join(track.id.to_string());
    let fixture = Path::new(common::ROOT).join("fixtures/demo");
    for (path, content) in disk.files() {
        disk.plant(&fixture.join(path.strip_prefix(&directory).unwrap()), &content);
    }
    disk.plant(&Path::new(common::ROOT).join("fixtures/torn/track.json"), b"{");
    let before = disk.files();
    let (library, report) = open(&disk, Uploads::Wipe).unwrap();
    let ignored = report
        .lines
        .iter()
        .filter(|line| line.action == RecoveryAction::Ignored);
    assert_eq!(ignored.count(), 1, "the torn one, {report:?}");
    let reader = library.reader(library.find("1.mp3").unwrap()).unwrap();
    reader.verify().unwrap();
    assert_eq!(reader.read_stems().unwrap(), (clip(1_001), clip(2_001)));
    let left = before.into_iter().filter(|(path, _)| !path.starts_with(&directory));
    assert!(disk.files().into_iter().eq(left), "fixtures are as they were");
}
