//! The machine stops at every single persist step, loses what it may, and boots again.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that panics or prints tells what happened"
)]

mod common;

use std::collections::BTreeMap;

use common::{
    life::{Promise, assert_sound, crashed_at, steps_of_a_life},
    open,
};
use greenroom_library::{Uploads, simulated::DiskFault};

#[test]
fn what_was_acknowledged_is_whole_and_the_rest_is_gone() {
    for step in 0..=steps_of_a_life() {
        for seed in 0..24 {
            let (disk, told) = crashed_at(step, &[]);
            disk.reboot(seed);
            println!("step {step} seed {seed}");
            assert_sound(&disk, &told);
        }
    }
}

#[test]
fn a_second_crash_while_recovering_changes_nothing() {
    for step in 0..=steps_of_a_life() {
        for second in 0_u64.. {
            let (disk, told) = crashed_at(step, &[]);
            disk.reboot(step + second);
            disk.fail_at(disk.steps() + second, DiskFault::Crash);
            let recovered = open(&disk, Uploads::Keep).map(drop);
            if !disk.is_crashed() {
                recovered.unwrap();
                break;
            }
            disk.reboot(second);
            println!("step {step} then {second}");
            assert_sound(&disk, &told);
        }
    }
}

#[test]
fn a_crash_while_wiping_at_boot_leaves_no_torn_track() {
    let step = steps_of_a_life();
    for second in 0_u64.. {
        let (disk, mut told) = crashed_at(step, &[]);
        told.values_mut().for_each(|promise| {
            if *promise != Promise::Gone {
                *promise = Promise::Perhaps;
            }
        });
        disk.reboot(second);
        disk.fail_at(disk.steps() + second, DiskFault::Crash);
        let wiped = open(&disk, Uploads::Wipe).map(drop);
        if !disk.is_crashed() {
            wiped.unwrap();
            assert_eq!(disk.files(), BTreeMap::new());
            break;
        }
        disk.reboot(second);
        assert_sound(&disk, &told);
        drop(open(&disk, Uploads::Wipe).unwrap());
        assert_eq!(disk.files(), BTreeMap::new(), "nothing of earlier users is left");
    }
}
