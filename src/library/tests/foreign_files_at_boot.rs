//! What a boot makes of a data directory that somebody or something else has been in.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that panics or prints tells what happened"
)]

mod common;

use std::{collections::BTreeSet, path::Path, sync::Arc};

use common::{ROOT, assert_tracks_whole, clip, facts, latents, open, save_stems, upload};
use greenroom_library::{
    Generator, Library, LibraryError, Limits, Manifest, RealDisk, RecoveryAction, SidecarKind, StemsState, Uploads,
    fuzz, simulated::MemoryDisk,
};
use proptest::prelude::*;

/// Two tracks, the first with stems; returns the disk after a clean end.
fn kept() -> MemoryDisk {
    let disk = MemoryDisk::new(1 << 20);
    let (mut library, _) = open(&disk, Uploads::Keep).unwrap();
    let first = upload(&mut library, "1.mp3", 1).unwrap();
    upload(&mut library, "2.mp3", 2).unwrap();
    save_stems(&mut library, &first, 1).unwrap();
    disk
}

fn plant(disk: &MemoryDisk, path: &str, content: &[u8]) {
    disk.plant(&Path::new(ROOT).join(path), content);
}

#[test]
fn keep_lists_every_track_whole_and_owes_its_stems() {
    let (library, report) = open(&kept(), Uploads::Keep).unwrap();
    assert_tracks_whole(&library);
    assert_eq!(report.lines, []);
    let second = library.find("2.mp3").unwrap();
    assert_eq!(report.stems_owed, [second]);
    assert_eq!(library.track(second).unwrap().manifest.owner.as_deref(), Some("alice"));
}

#[test]
fn wipe_leaves_nothing_of_the_previous_user() {
    let disk = kept();
    plant(&disk, "quarantine/00000009/source.wav", b"torn long ago");
    plant(&disk, "tracks/notes.txt", b"foreign");
    let (library, report) = open(&disk, Uploads::Wipe).unwrap();
    assert_eq!(library.tracks().count(), 0);
    assert!(disk.files().is_empty(), "{:?}", disk.files().keys());
    assert_eq!(report.lines.len(), 4);
    assert!(report.lines.iter().all(|line| line.action == RecoveryAction::Wiped));
}

#[test]
fn torn_tracks_are_put_aside_and_strays_removed() {
    use RecoveryAction::{FileRemoved, LeftoverRemoved, Quarantined, Repaired};
    for (path, content, actions) in [
        ("tracks/00000001/track.json", &b""[..], &[Quarantined][..]),
        ("tracks/00000001/track.json", b"{\"version\":1,", &[Quarantined]),
        ("tracks/00000001/track.json", b"{\"version\":2}", &[Quarantined]),
        ("tracks/00000001/source.wav", b"RIFF", &[Quarantined]),
        ("tracks/notes.txt", b"hello", &[Quarantined]),
        ("tracks/18446744073709551615/track.json", b"{}", &[Quarantined]),
        ("tracks/1/track.json", b"{}", &[Quarantined]),
        ("tracks/notes.txt", b"", &[FileRemoved]),
        ("tracks/00000007/source.wav", b"", &[FileRemoved]),
        ("tracks/00000001/stems/drums.wav", b"x", &[FileRemoved]),
        ("tracks/00000001/incoming/stems/vocals.wav", b"x", &[FileRemoved]),
        ("tracks/00000002/track.json.next", b"{}", &[FileRemoved]),
        ("tracks/00000002/stems/vocals.wav", b"x", &[FileRemoved]),
        ("tracks/00000001/stems/vocals.wav", b"x", &[FileRemoved, Repaired]),
        ("tracks/00000002/sidecars/latents-1.bin", b"x", &[FileRemoved, Repaired]),
        ("tmp/draft-00000003/source.wav", b"x", &[LeftoverRemoved]),
    ] {
        let disk = kept();
        plant(&disk, path, content);
        let (library, report) = open(&disk, Uploads::Keep).unwrap();
        let found: Vec<RecoveryAction> = report.lines.iter().map(|line| line.action).collect();
        assert_eq!(found, actions, "{path}: {report:?}");
        for track in library.tracks() {
            library.reader(track.id).unwrap().verify().unwrap();
        }
        drop(library);
        let (mut library, report) = open(&disk, Uploads::Keep).unwrap();
        assert_eq!(report.lines, [], "{path}: once is enough");
        let ids: BTreeSet<_> = library.tracks().map(|track| track.id).collect();
        let new = upload(&mut library, "3.mp3", 3).unwrap();
        assert!(!ids.contains(&new.id));
    }
}

#[test]
fn damage_that_a_boot_cannot_see_is_found_when_read() {
    let disk = kept();
    let path = Path::new(ROOT).join("tracks/00000002/sidecars/latents-1.bin");
    let mut content = disk.files()[&path].clone();
    content[0] ^= 1;
    disk.plant(&path, &content);
    let (library, _) = open(&disk, Uploads::Keep).unwrap();
    let reader = library.reader(library.find("2.mp3").unwrap()).unwrap();
    let (kind, generator) = latents();
    let damaged = reader.read_sidecar(&kind, &generator);
    assert!(matches!(damaged, Err(LibraryError::Damaged { .. })));
    assert!(matches!(reader.verify(), Err(LibraryError::Damaged { .. })));
    assert_eq!(reader.read_source().unwrap(), clip(2));
}

#[test]
fn a_sidecar_of_another_generator_is_not_handed_out() {
    let (library, _) = open(&kept(), Uploads::Keep).unwrap();
    let reader = library.reader(library.find("1.mp3").unwrap()).unwrap();
    let (kind, generator) = latents();
    let newer = Generator {
        version: "2".into(),
        ..generator.clone()
    };
    assert_eq!(reader.read_sidecar(&kind, &newer).unwrap(), None);
    let other = SidecarKind::new("peaks").unwrap();
    assert_eq!(reader.read_sidecar(&other, &generator).unwrap(), None);
    for kind in ["", "../x", "A", "a/b", "a.b", &"a".repeat(65)] {
        assert!(SidecarKind::new(kind).is_err());
    }
}

#[test]
fn names_are_looked_up_and_never_joined() {
    let disk = kept();
    let (mut library, _) = open(&disk, Uploads::Keep).unwrap();
    for hostile in ["../../etc/passwd", "..", "", "00000001", "1.mp3/../2.mp3", "1.mp3\0"] {
        assert_eq!(library.find(hostile), None);
        let draft = library.begin_draft(hostile, 1_000).unwrap();
        assert!(!draft.name().contains('/') && !draft.name().starts_with('.'));
    }
    let first = library.begin_draft("1.mp3", 1_000).unwrap();
    let second = library.begin_draft("1.mp3", 1_000).unwrap();
    assert_eq!((first.name(), second.name()), ("1 (2).mp3", "1 (3).mp3"));
}

#[test]
fn a_real_directory_can_be_used_by_one_process_only() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("deep/data");
    let open = || Library::open(Arc::new(RealDisk), &data, Uploads::Keep, Limits::default());
    let (mut library, _) = open().unwrap();
    let mut draft = library.begin_draft("song.wav", 1_000).unwrap();
    draft.write_source(&clip(1)).unwrap();
    let id = library.commit(draft, facts("alice")).unwrap().id;
    save_real_stems(&mut library, id);
    assert!(matches!(open(), Err(LibraryError::InUse { .. })));
    let source = data.join(format!("tracks/{id}/source.wav"));
    let samples = hound::WavReader::open(source).unwrap().into_samples::<f32>();
    let samples: Vec<f32> = samples.map(Result::unwrap).collect();
    assert_eq!(samples, clip(1).samples());
    drop(library);
    let (library, report) = open().unwrap();
    assert_eq!((report.lines.len(), report.stems_owed.len()), (0, 0));
    library.reader(id).unwrap().verify().unwrap();
}

fn save_real_stems(library: &mut Library, id: greenroom_library::TrackId) {
    let mut draft = library.begin_stems(id, 0).unwrap();
    let shorter = greenroom_audio::Pcm::new(48_000, 2, vec![0.0; 8]);
    let misfit = draft.write_stems(&clip(2), &shorter);
    assert!(matches!(misfit, Err(LibraryError::StemsMismatch { .. })));
    draft.write_stems(&clip(2), &clip(3)).unwrap();
    let busy = library.begin_stems(id, 0).map(drop);
    assert!(matches!(busy, Err(LibraryError::StemsTaken { .. })));
    let track = library.commit_stems(draft).unwrap();
    assert!(matches!(track.manifest.stems, StemsState::Ready { .. }));
    let twice = library.begin_stems(id, 0).map(drop);
    assert!(matches!(twice, Err(LibraryError::StemsTaken { .. })));
}

fn manifest_bytes() -> Vec<u8> {
    kept().files()[&Path::new(ROOT).join("tracks/00000001/track.json")].clone()
}

#[test]
fn a_manifest_names_the_field_at_fault() {
    let whole: serde_json::Value = serde_json::from_slice(&manifest_bytes()).unwrap();
    let read = |value: &serde_json::Value| Manifest::from_bytes(&serde_json::to_vec(value).unwrap());
    for field in whole.as_object().unwrap().keys() {
        let mut lacking = whole.clone();
        lacking.as_object_mut().unwrap().remove(field);
        let error = read(&lacking).unwrap_err().to_string();
        assert!(error.contains(&format!("`{field}`")), "{error}");
    }
    for (field, value) in [
        ("name", serde_json::json!("../x")),
        ("channels", 3.into()),
        ("samples", 0.into()),
        ("bpm", (-1).into()),
        ("duration_s", 0.into()),
    ] {
        let mut wrong = whole.clone();
        wrong[field] = value;
        let error = read(&wrong).unwrap_err().to_string();
        assert!(error.contains(&format!("`{field}`")), "{error}");
    }
    let mut newer = whole.clone();
    newer["mood"] = "bright".into();
    assert_eq!(read(&newer).unwrap(), read(&whole).unwrap());
}

proptest! {
    #[test]
    fn no_bytes_upset_the_manifest_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz::manifest(&bytes);
        fuzz::name(&bytes);
    }

    #[test]
    fn nor_do_damaged_manifests(at in 0_usize..900, byte in any::<u8>(), cut in 0_usize..2_000) {
        let mut bytes = manifest_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        fuzz::manifest(&bytes);
        bytes.truncate(cut);
        fuzz::manifest(&bytes);
    }
}
