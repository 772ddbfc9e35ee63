//! The disk of the swarm against the library on its own simulated disk: the same jobs, cut short anywhere, leave the same to the next boot.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use greenroom_audio::Pcm;
use greenroom_director::{Found, Task, TrackId, Uploads};
use greenroom_library::{
    Library, Limits, StemsState, Track, TrackFacts,
    simulated::{DiskFault, MemoryDisk},
};

use super::{Disk, Trouble, steps};
use crate::{chance::Chance, marks::Marks};

const TRACK: TrackId = TrackId(1);
/// Crashes of one state: enough for each of the few things that a state can lose.
const SEEDS: u64 = 32;

/// One thing that is done to the track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Save,
    SaveStems,
    NoteStemsFailed,
    Wipe,
}

/// Lives of one track, up to the deed that is cut short.
const LIVES: [&[Deed]; 7] = [
    &[Deed::Save],
    &[Deed::Save, Deed::SaveStems],
    &[Deed::Save, Deed::Wipe],
    &[Deed::Save, Deed::NoteStemsFailed, Deed::Wipe],
    &[Deed::Save, Deed::NoteStemsFailed, Deed::SaveStems],
    &[Deed::Save, Deed::SaveStems, Deed::Wipe],
    &[Deed::Save, Deed::SaveStems, Deed::SaveStems],
];

/// What a boot lists of the track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Listed {
    Nothing,
    Owing,
    WithStems,
    WithoutStems,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The machine loses power.
    Power,
    /// The process ends, and the disk goes on.
    Killed,
    /// The disk takes no more from a step on, the deed fails, and then the machine loses power.
    Refused(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Full,
    ReadOnly,
    Failing,
}

fn open(disk: &MemoryDisk) -> Library {
    let kept = greenroom_library::Uploads::Keep;
    let opened = Library::open(Arc::new(disk.clone()), Path::new("/data"), kept, Limits::default());
    opened.unwrap().0
}

fn clip(seed: u32) -> Pcm {
    let samples = (0..64).map(|index| ((index * 7 + seed * 13) % 101) as f32 / 101.0 - 0.5);
    Pcm::new(48_000, 2, samples.collect())
}

/// The deed as the pod has the library do it.
fn in_library(library: &mut Library, deed: Deed) -> greenroom_library::Result<()> {
    let track = library.tracks().next();
    match (deed, track) {
        (Deed::Save, _) => {
            let mut draft = library.begin_draft("1.mp3", 1_000)?;
            draft.write_source(&clip(1))?;
            let facts = TrackFacts {
                owner: None,
                created_unix_s: 1,
                bpm: 120.0,
                key: "C major".into(),
                time_signature: "4".into(),
            };
            library.commit(draft, facts).map(drop)
        }
        (Deed::SaveStems, Some(Track { id, .. })) => {
            let mut draft = library.begin_stems(id, 0)?;
            draft.write_stems(&clip(2), &clip(3))?;
            library.commit_stems(draft).map(drop)
        }
        (Deed::NoteStemsFailed, Some(Track { id, .. })) => library.mark_stems_failed(id, "no memory").map(drop),
        (Deed::Wipe, Some(Track { id, .. })) => library.wipe(&[id]),
        (_, None) => Ok(()),
    }
}

/// Whether the library refuses the deed in a state that the pod never asks for it in.
fn is_asked(before: &[Deed], deed: Deed) -> bool {
    // The director makes stems only where they are owed.
    deed != Deed::SaveStems || before == [Deed::Save]
}

fn listed_by_library(disk: &MemoryDisk) -> Listed {
    let library = open(disk);
    let mut tracks = library.tracks();
    match tracks.next().map(|track| track.manifest.stems) {
        None => Listed::Nothing,
        Some(StemsState::Owed) => Listed::Owing,
        Some(StemsState::Ready { .. }) => Listed::WithStems,
        Some(StemsState::Failed { .. }) => Listed::WithoutStems,
    }
}

/// Everything that the library can leave where the last deed is cut short.
fn left_by_library(life: &[Deed], end: End) -> BTreeSet<Listed> {
    let (last, before) = life.split_last().unwrap();
    let mut left = BTreeSet::new();
    for step in 0_u64.. {
        let mut whole = false;
        for seed in 0..SEEDS {
            let disk = MemoryDisk::new(1 << 20);
            let mut library = open(&disk);
            for deed in before {
                in_library(&mut library, *deed).unwrap();
            }
            let fault = match end {
                End::Power => DiskFault::Crash,
                End::Killed | End::Refused(Refusal::Failing) => DiskFault::Failing,
                End::Refused(Refusal::Full) => DiskFault::Full,
                End::Refused(Refusal::ReadOnly) => DiskFault::ReadOnly,
            };
            disk.fail_from(disk.steps() + step, fault);
            whole = in_library(&mut library, *last).is_ok();
            drop(library);
            disk.heal();
            if end != End::Killed {
                disk.reboot(seed);
            }
            left.insert(listed_by_library(&disk));
        }
        if whole {
            return left;
        }
    }
    unreachable!("a deed has an end")
}

/// The steps of a deed in the swarm's disk; the last is after it.
fn steps_of(deed: Deed) -> u8 {
    match deed {
        Deed::Save => steps(Task::Save { track: TRACK }),
        Deed::SaveStems => steps(Task::SaveStems { track: TRACK }),
        Deed::Wipe => steps(Task::Wipe { track: TRACK }),
        Deed::NoteStemsFailed => 1,
    }
}

/// So many steps of a deed, and one more that the disk does not take.
fn in_model(disk: &mut Disk, deed: Deed, count: u8, refused: Option<Refusal>) {
    let marks = &mut Marks::default();
    let task = match deed {
        Deed::Save => Task::Save { track: TRACK },
        Deed::SaveStems => Task::SaveStems { track: TRACK },
        Deed::Wipe => Task::Wipe { track: TRACK },
        Deed::NoteStemsFailed => {
            if count > 0 {
                disk.note_stems_failed(TRACK);
            }
            return;
        }
    };
    if deed == Deed::Save {
        disk.begin_draft(TRACK);
    }
    for step in 0..count {
        disk.step(task, step, false, marks);
    }
    if let Some(refusal) = refused.filter(|_| count < steps_of(deed)) {
        disk.trouble = match refusal {
            Refusal::Full => Some(Trouble::Full),
            Refusal::ReadOnly => Some(Trouble::ReadOnly),
            Refusal::Failing => None,
        };
        let outcome = disk.step(task, count, refusal == Refusal::Failing, marks);
        assert!(outcome.is_some(), "a step that is refused ends the job");
        disk.trouble = None;
    }
}

/// Everything that the swarm's disk can leave.
fn left_by_model(life: &[Deed], end: End) -> BTreeSet<Listed> {
    let (last, before) = life.split_last().unwrap();
    let mut left = BTreeSet::new();
    for count in 0..=steps_of(*last) {
        for seed in 0..SEEDS {
            let mut disk = Disk::default();
            for deed in before {
                in_model(&mut disk, *deed, steps_of(*deed), None);
            }
            let refused = match end {
                End::Refused(refusal) => Some(refusal),
                End::Power | End::Killed => None,
            };
            in_model(&mut disk, *last, count, refused);
            if end != End::Killed {
                disk.lose_power(&mut Chance::seeded(seed));
            }
            let wiped = life.contains(&Deed::Wipe);
            let found = disk.recover(Uploads::Keep, |_| wiped, &mut Marks::default());
            left.insert(match found.unwrap().first() {
                None => Listed::Nothing,
                Some((_, Found::UploadOwingStems)) => Listed::Owing,
                Some((_, Found::UploadWithStems)) => Listed::WithStems,
                Some((_, Found::UploadWithoutStems)) => Listed::WithoutStems,
                Some((_, found)) => unreachable!("no {found:?} was made"),
            });
        }
    }
    left
}

fn lives() -> impl Iterator<Item = &'static [Deed]> {
    LIVES.into_iter().filter(|life| {
        let (last, before) = life.split_last().unwrap();
        is_asked(before, *last)
    })
}

#[test]
fn power_that_fails_anywhere_leaves_the_same() {
    for life in lives() {
        assert_eq!(
            left_by_library(life, End::Power),
            left_by_model(life, End::Power),
            "{life:?}"
        );
    }
}

#[test]
fn a_process_that_ends_anywhere_leaves_the_same() {
    for life in lives() {
        assert_eq!(
            left_by_library(life, End::Killed),
            left_by_model(life, End::Killed),
            "{life:?}"
        );
    }
}

/// The library takes back at once what it can; the swarm's disk leaves that to the director's wipe, so that it may leave more.
#[test]
fn a_disk_that_refuses_leaves_nothing_that_the_swarm_has_not_seen() {
    for life in lives() {
        for refusal in [Refusal::Full, Refusal::ReadOnly, Refusal::Failing] {
            let end = End::Refused(refusal);
            let (library, model) = (left_by_library(life, end), left_by_model(life, end));
            assert!(
                library.is_subset(&model),
                "{life:?} {refusal:?}: {library:?} and {model:?}"
            );
        }
    }
}
