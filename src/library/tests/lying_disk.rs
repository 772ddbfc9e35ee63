//! The proof that the crash tests can fail: a medium that only pretends one of the syncs is caught by them.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that panics or prints tells what happened"
)]

mod common;

use std::panic;

use common::life::{assert_sound, crashed_at, steps_of_a_life};

/// Steps after a pretended sync at which the machine is stopped.
const STEPS_AFTER: u64 = 40;

/// Whether some crash after these pretended syncs breaks a promise.
fn is_caught(lies: &[u64], steps: u64) -> bool {
    (lies[0] + 1..=steps.min(lies[0] + STEPS_AFTER)).any(|step| {
        (0..12).any(|seed| {
            let (disk, told) = crashed_at(step, lies);
            disk.reboot(seed);
            panic::catch_unwind(|| assert_sound(&disk, &told)).is_err()
        })
    })
}

#[test]
fn every_sync_that_matters_is_missed() {
    let steps = steps_of_a_life();
    let (disk, _) = crashed_at(u64::MAX, &[]);
    let loud = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let trace = disk.trace();
    let syncs = (0..steps).filter(|step| trace[*step as usize].starts_with("sync"));
    let (missed, spare): (Vec<u64>, Vec<u64>) = syncs.partition(|lie| is_caught(&[*lie], steps));
    // A renaming between two directories lasts once either is synced: those go by twos.
    let (pairs, alone): (Vec<u64>, Vec<u64>) = spare.iter().partition(|step| {
        let is = |step: u64, name: &str| trace[step as usize] == format!("sync directory /data/{name}");
        is(**step, "tracks") && is(**step + 1, "tmp") || is(**step, "tmp") && is(**step - 1, "tracks")
    });
    let unmissed = pairs.chunks(2).find(|pair| !is_caught(pair, steps));
    panic::set_hook(loud);
    println!("{} syncs are missed alone, {} in pairs", missed.len(), pairs.len());
    assert_eq!(unmissed, None);
    for step in &alone {
        println!("step {step} is not missed: {}", trace[*step as usize]);
    }
    // Spare: the names of directories that a boot makes anew, the emptying of `tmp/` that a boot does again, and names in
    // a track's directory that its manifest's own sync makes last.
    let spare = |name: &str| {
        ["/data", "/data/tmp", "/data/tracks/00000001", "/data/tracks/00000002"]
            .iter()
            .any(|path| name == format!("sync directory {path}"))
    };
    assert!(alone.len() <= 5 && alone.iter().all(|step| spare(&trace[*step as usize])));
}
