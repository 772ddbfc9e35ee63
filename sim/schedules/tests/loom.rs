//! Every schedule of two small pods, up to three preemptions, with the production director behind. `cargo xtask test` runs it; by hand:
//! `RUSTFLAGS="--cfg greenroom_loom" cargo test -p greenroom-schedules --test loom --release --target-dir target/loom`.
#![cfg(greenroom_loom)]

mod compositions;

use std::time::Duration;

/// loom has no time: waiting ends by notice alone, so this is forever.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs `body` under every schedule there is. Nothing ends it early: a search that was cut short would look like one that found nothing.
fn explore(body: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.max_branches = 10_000;
    model.max_permutations = None;
    model.max_duration = None;
    let schedules = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&schedules);
    model.check(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        body();
    });
    println!("{} schedules", schedules.load(std::sync::atomic::Ordering::Relaxed));
}
