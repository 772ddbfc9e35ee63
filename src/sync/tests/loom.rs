//! Every schedule of small uses of each primitive, up to three preemptions. `cargo xtask test` runs it; by hand:
//! `RUSTFLAGS="--cfg greenroom_loom" cargo test -p greenroom-sync --test loom --release --target-dir target/loom`.
#![cfg(greenroom_loom)]

mod models;

/// Runs `body` under every schedule there is. Nothing ends it early: a search that was cut short would look like one that found nothing.
fn explore(body: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.max_permutations = None;
    model.max_duration = None;
    model.check(body);
}
