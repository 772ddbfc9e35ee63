//! Every promise of the compositions fails where what protects it is left out: a model that could not fail would prove nothing.
//!
//! Each broken model is a test of its own that is ignored, and run in a process of its own: loom ends some of them by aborting.

use std::process::Command;

use greenroom_schedules::Break;

use super::{
    floor,
    handover::{self, Contest},
};
use crate::explore;

/// Runs a broken model; it must fail, and say this.
fn assert_noticed(model: &str, words: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture"])
        .arg(format!("compositions::broken::{model}"))
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let said = [output.stdout.as_slice(), b"\n", &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("running 1 test"), "there is no model {model}: {said}");
    assert!(!output.status.success(), "{model} is not noticed");
    assert!(said.contains(words), "{model} is noticed, but not for that: {said}");
}

macro_rules! broken {
    ($($(#[$doc:meta])* $test:ident: $model:ident($($argument:expr),*) says $words:literal;)+) => {$(
        $(#[$doc])*
        #[test]
        fn $test() {
            assert_noticed(stringify!($model), $words);
        }

        #[test]
        #[ignore = "fails: the test above runs it"]
        fn $model() {
            explore(|| run($($argument),*));
        }
    )+};
}

/// Which composition is broken how.
fn run(composition: Composition, broken: Break) {
    match composition {
        Composition::Floor => floor::run(2, false, Some(broken)),
        Composition::Handover(contest) => handover::run(contest, Some(broken)),
    }
}

enum Composition {
    Floor,
    Handover(Contest),
}

broken! {
    /// No lost wake-up: nobody tells the live thread, and it waits for ever.
    a_gate_that_opens_unheard_is_noticed: wakes_nobody(Composition::Floor, Break::WakesNobody) says "deadlock";
    /// No lost wake-up: it looks before there is something to see, and sleeps.
    a_gate_that_opens_after_its_notice_is_noticed: wakes_too_early(Composition::Floor, Break::WakesTooEarly) says "deadlock";
    /// No use of a parked group: its weights go while a tick is on them.
    weights_that_leave_under_a_tick_are_noticed: drained_at_once(Composition::Floor, Break::DrainedAtOnce) says "Causality violation";
    /// Never both resident: the separator comes in to weights that are still there.
    weights_that_do_not_leave_are_noticed: parks_nothing(Composition::Floor, Break::ParksNothing) says "comes in to somebody else";
    /// Creation never overlaps teardown: the next stream is opened while the last one is being closed.
    a_stream_that_counts_as_closed_too_early_is_noticed:
        ends_at_once(Composition::Handover(Contest::Succession), Break::EndsAtOnce) says "Causality violation";
    /// Exactly one seat: another session is ready while the last one's client still listens.
    a_client_that_counts_as_gone_too_early_is_noticed:
        gone_at_once(Composition::Handover(Contest::Succession), Break::GoneAtOnce) says "is ready beside another";
    /// Nothing after 4001.
    a_second_farewell_is_noticed: closes_twice(Composition::Handover(Contest::Burst), Break::ClosesTwice) says "after 4001";
}
