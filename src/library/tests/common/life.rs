//! A library's whole life, to be cut short anywhere, and what must hold afterwards.

use std::collections::BTreeMap;

use super::{assert_no_strays, assert_tracks_whole, open, save_stems, upload};
use greenroom_library::{
    Library, Result, StemsState, TrackId, Uploads,
    simulated::{DiskFault, MemoryDisk},
};

const CAPACITY_BYTES: u64 = 1 << 20;

/// What somebody was told, or may at most expect, of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    Kept,
    KeptByBob,
    KeptFailed,
    KeptWithStems,
    /// A wipe began: it may or may not have happened.
    Perhaps,
    Gone,
}

/// Everything that a library does, in one life; ends at the first error. What was promised is in `told`.
pub(crate) fn life(library: &mut Library, told: &mut BTreeMap<TrackId, Promise>) -> Result<()> {
    let first = upload(library, "1.mp3", 1)?;
    told.insert(first.id, Promise::Kept);
    let second = upload(library, "2.mp3", 2)?;
    told.insert(second.id, Promise::Kept);
    save_stems(library, &first, 1)?;
    told.insert(first.id, Promise::KeptWithStems);
    library.set_owner(second.id, Some("bob".into()))?;
    told.insert(second.id, Promise::KeptByBob);
    library.mark_stems_failed(second.id, "the separator ran out of memory")?;
    told.insert(second.id, Promise::KeptFailed);
    let third = upload(library, "3.mp3", 3)?;
    told.insert(third.id, Promise::Kept);
    library.begin_draft("4.mp3", 1_000)?.discard();
    library.begin_stems(third.id, 0)?.discard();
    told.insert(first.id, Promise::Perhaps);
    told.insert(third.id, Promise::Perhaps);
    library.wipe(&[first.id, third.id])?;
    told.insert(first.id, Promise::Gone);
    told.insert(third.id, Promise::Gone);
    // What failed once can be tried again.
    save_stems(library, &second, 2)?;
    told.insert(second.id, Promise::KeptWithStems);
    let fifth = upload(library, "5.mp3", 5)?;
    told.insert(fifth.id, Promise::Kept);
    Ok(())
}

/// A disk on which the machine stopped at this step of a life, and some syncs were lies.
pub(crate) fn crashed_at(step: u64, lies: &[u64]) -> (MemoryDisk, BTreeMap<TrackId, Promise>) {
    let disk = MemoryDisk::new(CAPACITY_BYTES);
    let mut told = BTreeMap::new();
    disk.fail_at(step, DiskFault::Crash);
    for lie in lies {
        disk.fail_at(*lie, DiskFault::Lying);
    }
    if let Ok((mut library, _)) = open(&disk, Uploads::Keep) {
        let lived = life(&mut library, &mut told);
        assert_eq!(lived.is_err(), disk.is_crashed());
    }
    (disk, told)
}

pub(crate) fn steps_of_a_life() -> u64 {
    let (disk, told) = crashed_at(u64::MAX, &[]);
    assert_eq!(told.len(), 4, "the whole life was lived");
    disk.steps()
}

pub(crate) fn assert_promises(library: &Library, told: &BTreeMap<TrackId, Promise>) {
    for (id, promise) in told {
        let listed = library.track(*id).ok();
        let ready = listed
            .as_ref()
            .is_some_and(|track| matches!(track.manifest.stems, StemsState::Ready { .. }));
        match promise {
            Promise::Kept => assert!(listed.is_some(), "{id} was acknowledged"),
            Promise::KeptByBob | Promise::KeptFailed => {
                let manifest = listed.expect("it was acknowledged").manifest;
                assert_eq!(manifest.owner.as_deref(), Some("bob"));
                let owing = manifest.stems == StemsState::Owed;
                assert!(!owing || *promise == Promise::KeptByBob, "not queued again");
            }
            Promise::KeptWithStems => assert!(ready, "the stems of {id} were acknowledged"),
            Promise::Gone => assert!(listed.is_none(), "{id} was wiped"),
            Promise::Perhaps => {}
        }
    }
}

/// Boots with the policy `keep` and checks everything that must hold.
pub(crate) fn assert_sound(disk: &MemoryDisk, told: &BTreeMap<TrackId, Promise>) {
    let (library, report) = open(disk, Uploads::Keep).unwrap();
    assert_promises(&library, told);
    assert_tracks_whole(&library);
    assert_no_strays(&library, disk);
    let owing = library
        .tracks()
        .filter(|track| track.manifest.stems == StemsState::Owed);
    assert_eq!(report.stems_owed, owing.map(|track| track.id).collect::<Vec<_>>());
    drop(library);
    let (mut library, report) = open(disk, Uploads::Keep).unwrap();
    assert_eq!(report.lines, [], "the first boot left nothing to do");
    upload(&mut library, "9.mp3", 9).unwrap();
    assert_tracks_whole(&library);
}
