//! Every single persist step fails, once or from then on; the machine lives, and the library goes on.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that panics or prints tells what happened"
)]

mod common;

use common::{ROOT, assert_no_strays, assert_tracks_whole, clip, facts, open, save_stems, upload};
use greenroom_library::{
    Library, LibraryError, LimitKind, Limits, RecoveryAction, Result, StemsState, Track, Uploads,
    simulated::{DiskFault, MemoryDisk},
};
use std::{path::Path, sync::Arc};

/// A life in which every failure is survived; the outcomes in order.
fn stubborn_life(library: &mut Library) -> Vec<Result<Track>> {
    let mut outcomes = vec![upload(library, "1.mp3", 1), upload(library, "2.mp3", 2)];
    let listed: Vec<Track> = library.tracks().collect();
    for track in &listed {
        let seed = track.manifest.name[..1].parse().unwrap();
        outcomes.push(save_stems(library, track, seed));
        outcomes.push(library.set_owner(track.id, Some("bob".into())));
    }
    if let Some(track) = listed.first() {
        let wiped = library.wipe(&[track.id]);
        assert!(library.track(track.id).is_err(), "unlisted even if the disk refuses");
        outcomes.push(wiped.map(|()| track.clone()));
    }
    outcomes
}

fn assert_every_step_survived(fault: DiskFault, lasting: bool) {
    let mut failures = 0;
    for step in 0_u64.. {
        let disk = MemoryDisk::new(1 << 20);
        let (mut library, _) = open(&disk, Uploads::Keep).unwrap();
        let step = disk.steps() + step;
        match lasting {
            true => disk.fail_from(step, fault),
            false => disk.fail_at(step, fault),
        }
        let outcomes = stubborn_life(&mut library);
        for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            failures += 1;
            match (fault, error) {
                (DiskFault::Full, LibraryError::DiskFull { .. })
                | (DiskFault::ReadOnly, LibraryError::ReadOnly { .. })
                | (DiskFault::Failing, LibraryError::Io { .. }) => {}
                (_, other) => panic!("step {step}: {fault:?} came out as {other:?}"),
            }
        }
        let over = disk.steps() <= step;
        disk.heal();
        println!(
            "{fault:?} lasting {lasting} step {step}: {:?}",
            disk.trace().get(step as usize)
        );
        library.sweep().unwrap();
        assert_tracks_whole(&library);
        assert_no_strays(&library, &disk);
        let before: Vec<Track> = library.tracks().collect();
        drop(library);
        disk.reboot(step);
        let (library, report) = open(&disk, Uploads::Keep).unwrap();
        assert!(library.tracks().eq(before), "the listing is what is on the medium");
        // A removal that was not synced may be undone by the power cut; no track may have suffered.
        let harmless = [RecoveryAction::LeftoverRemoved, RecoveryAction::FileRemoved];
        assert!(
            report.lines.iter().all(|line| harmless.contains(&line.action)),
            "{report:?}"
        );
        if over {
            break;
        }
    }
    assert!(failures > 20, "only {failures} failures were seen");
}

#[test]
fn a_full_disk() {
    assert_every_step_survived(DiskFault::Full, false);
    assert_every_step_survived(DiskFault::Full, true);
}

#[test]
fn a_disk_that_turns_read_only() {
    assert_every_step_survived(DiskFault::ReadOnly, false);
    assert_every_step_survived(DiskFault::ReadOnly, true);
}

#[test]
fn a_failing_medium() {
    assert_every_step_survived(DiskFault::Failing, false);
    assert_every_step_survived(DiskFault::Failing, true);
}

#[test]
fn a_disk_without_room_is_found_before_writing() {
    let disk = MemoryDisk::new(2_000);
    let (mut library, _) = open(&disk, Uploads::Keep).unwrap();
    let steps = disk.steps();
    let refused = library.begin_draft("1.mp3", 3_000).map(drop);
    assert!(matches!(refused, Err(LibraryError::DiskFull { .. })));
    assert_eq!(disk.steps(), steps, "nothing was written");
    // Room enough when it began, but somebody else took it meanwhile.
    let mut draft = library.begin_draft("1.mp3", 1_000).unwrap();
    disk.set_capacity_bytes(100);
    let torn = draft.write_source(&clip(1));
    assert!(matches!(torn, Err(LibraryError::DiskFull { .. })));
    let unfinished = library.commit(draft, facts("alice"));
    assert!(matches!(unfinished, Err(LibraryError::Unfinished { .. })));
    assert_no_strays(&library, &disk);
}

#[test]
fn a_read_only_directory_is_refused_at_boot() {
    let disk = MemoryDisk::new(1 << 20);
    drop(open(&disk, Uploads::Keep).unwrap());
    disk.fail_from(0, DiskFault::ReadOnly);
    let refused = open(&disk, Uploads::Wipe).map(drop);
    assert!(matches!(refused, Err(LibraryError::ReadOnly { .. })));
}

#[test]
fn limits_are_checked_before_anything_is_written() {
    let disk = MemoryDisk::new(1 << 20);
    let limits = Limits {
        tracks_max: 2,
        data_bytes_max: 2_000,
    };
    let opened = Library::open(Arc::new(disk.clone()), Path::new(ROOT), Uploads::Keep, limits);
    let mut library = opened.unwrap().0;
    let hit = |refused: Result<()>, expected| {
        assert!(matches!(refused, Err(LibraryError::LimitReached { what, .. }) if what == expected));
    };
    let track = upload(&mut library, "1.mp3", 1).unwrap();
    hit(library.begin_draft("2.mp3", 1_900).map(drop), LimitKind::DataBytes);
    hit(library.begin_stems(track.id, 1_500).map(drop), LimitKind::DataBytes);
    let mut draft = library.begin_draft("2.mp3", 100).unwrap();
    hit(library.begin_draft("3.mp3", 100).map(drop), LimitKind::Tracks);
    hit(draft.write_source(&clip(2)), LimitKind::DeclaredBytes);
    draft.discard();
    let saved = save_stems(&mut library, &track, 1).unwrap();
    assert!(matches!(saved.manifest.stems, StemsState::Ready { .. }));
    assert_eq!(library.data_bytes(), saved.manifest.bytes_total());
    library.wipe(&[track.id]).unwrap();
    assert_eq!(library.data_bytes(), 0);
    upload(&mut library, "1.mp3", 1).unwrap();
}
