//! A short reconnect storm with garbage; the long one is `cargo xtask storm`.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use greenroom_tests::storm::{self, Options};

#[tokio::test(flavor = "multi_thread")]
async fn a_short_storm_leaves_one_session_and_nothing_behind() {
    let options = Options {
        reconnects: 500,
        storm: 50,
        seed: 3,
    };
    let report = storm::run(options, |_| {}).await.unwrap();
    // Memory is judged over the long storm: a short one moves by more than it could tell.
    assert!(report.counts_nothing(), "{report:#?}");
    // A storm in which nothing happens proves nothing.
    assert!(
        report.preempted >= 10 && report.uploads >= 1 && report.busy >= 1,
        "{report:#?}"
    );
}
