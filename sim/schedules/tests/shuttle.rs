//! A whole pod in miniature under many schedules (PCT), with the production director and the simulated stage on threads.
//!
//! `cargo xtask test` runs it. By hand, with as many schedules as wanted:
//! `GREENROOM_SCHEDULES=100000 RUSTFLAGS="--cfg greenroom_shuttle" cargo test -p greenroom-schedules --test shuttle --release
//! --target-dir target/shuttle`. `SHUTTLE_RANDOM_SEED` takes other ones; a failure prints its schedule, and `GREENROOM_SCHEDULE` is the
//! file with one to run again.
#![cfg(greenroom_shuttle)]

mod whole;

use std::time::Duration;

use shuttle::{Config, Runner, scheduler::PctScheduler};

/// shuttle has no time: waiting ends by notice alone, so this is forever.
const PATIENCE: Duration = Duration::from_secs(1);
/// Schedules that `cargo xtask test` runs.
const SCHEDULES: usize = 2_000;
/// Preemptions of each schedule, and one.
const DEPTH: usize = 5;
const SEED: u64 = 1;

#[test]
fn a_whole_pod_keeps_its_promises_under_many_schedules() {
    if let Some(file) = std::env::var_os("GREENROOM_SCHEDULE") {
        return shuttle::replay_from_file(whole::live_through, file);
    }
    let schedules = std::env::var("GREENROOM_SCHEDULES").map_or(SCHEDULES, |count| {
        count.parse().expect("GREENROOM_SCHEDULES is a number")
    });
    let mut config = Config::new();
    // Orders are all sequentially consistent here; loom is what looks at weaker ones.
    config.silence_warnings = true;
    let runner = Runner::new(PctScheduler::new_from_seed(SEED, DEPTH, schedules), config);
    let ran = runner.run(whole::live_through);
    assert_eq!(
        ran, schedules,
        "a search that was cut short found nothing because it did not look"
    );
    whole::seen::report(schedules);
}
