//! What happened in some schedule or other: a search that never came to it has not looked at it.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Something worth having seen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    Preempted,
    Left,
    UploadOk,
    UploadFailed,
    SwapAnswered,
    StemsPushed,
    RipGaveWay,
    BatchAbandoned,
    MoveFailed,
    TickGivenUp,
    SeatEmpty,
}

const MARKS: [Mark; 11] = [
    Mark::Preempted,
    Mark::Left,
    Mark::UploadOk,
    Mark::UploadFailed,
    Mark::SwapAnswered,
    Mark::StemsPushed,
    Mark::RipGaveWay,
    Mark::BatchAbandoned,
    Mark::MoveFailed,
    Mark::TickGivenUp,
    Mark::SeatEmpty,
];

static SEEN: [AtomicUsize; MARKS.len()] = [const { AtomicUsize::new(0) }; MARKS.len()];

/// Counts it. Nothing that a schedule does depends on the counts.
pub(crate) fn note(mark: Mark) {
    SEEN[mark as usize].fetch_add(1, Ordering::Relaxed);
}

/// Prints the counts and fails where one is zero.
pub(crate) fn report(schedules: usize) {
    let counts = MARKS.map(|mark| (mark, SEEN[mark as usize].load(Ordering::Relaxed)));
    println!("{schedules} schedules; {counts:?}");
    let unseen: Vec<_> = counts.iter().filter(|(_, count)| *count == 0).collect();
    assert!(unseen.is_empty(), "no schedule came to {unseen:?}");
}
