//! Engines that a pod cannot do without: who waits for one, and what a swap does when one does not come.
#![allow(clippy::unwrap_used, reason = "a test that panics tells what happened")]

mod common;
#[path = "common/engines.rs"]
mod engines;

use engines::{LONG, OUT_OF_MEMORY, SHORT, ask, compiled, decoder, measure, playing, pod, swap};
use greenroom_director::{Engines, Event, Failure, Mode, Outcome, Source, Span, TrackId};

#[test]
fn a_session_begins_when_the_engine_that_it_cannot_do_without_is_there() {
    let mut pod = pod(compiled(40));
    pod.hold("load");
    ask(&mut pod, 1, SHORT);
    assert_eq!(pod.count(&["start OpenStream"]), 0);
    pod.finish("load", Outcome::Done);
    let lent = |to: &str| pod.place(&["Lend", to, "[Some(EngineId(1)), None, None]"]);
    assert_eq!(lent("Job") + 1, pod.place(&["start OpenStream"]), "{:#?}", pod.said);
    assert_eq!(lent("Ticks") + 1, pod.place(&["GateOpen"]), "{:#?}", pod.said);
}

#[test]
fn ticks_go_on_until_the_next_engine_is_there_and_the_old_one_leaves_after_them() {
    let (mut pod, connection) = playing(compiled(40));
    pod.hold("load");
    swap(&mut pod, connection, LONG);
    assert_eq!(pod.count(&["start LoadEngine", "EngineId(2)"]), 1);
    assert_eq!(pod.count(&["GateClose"]), 0, "{:#?}", pod.said);
    pod.finish("load", Outcome::Done);
    let left = pod.place(&["start UnloadEngine", "EngineId(1)"]);
    assert!(pod.place(&["GateClose", "abort: false"]) < left, "{:#?}", pod.said);
    assert!(left < pod.place(&["start SwapSource"]), "{:#?}", pod.said);
    assert_eq!(pod.count(&["SwapReady"]), 1);
    assert_eq!(pod.count(&["Lend", "Ticks", "Some(EngineId(2))"]), 1);
    // And back: what is there serves at once where it fits.
    pod.forget();
    swap(&mut pod, connection, SHORT);
    pod.finish("load", Outcome::Done);
    assert_eq!(pod.count(&["SwapReady"]), 1);
}

#[test]
fn an_engine_comes_beside_the_old_one_where_both_fit_and_instead_of_it_where_not() {
    for (budget, beside) in [(10 + 16, true), (10 + 16 - 1, false)] {
        let mut plan = compiled(budget);
        plan.needs = Default::default();
        let (mut pod, connection) = playing(plan);
        swap(&mut pod, connection, LONG);
        let (comes, leaves) = (pod.place(&["start LoadEngine"]), pod.place(&["start UnloadEngine"]));
        assert_eq!(comes < leaves, beside, "{budget}: {:#?}", pod.said);
        assert_eq!(pod.count(&["SwapReady"]), 1, "{budget}");
    }
}

#[test]
fn the_old_engine_comes_back_when_the_new_one_fails_and_the_session_plays_on() {
    let (mut pod, connection) = playing(compiled(20));
    pod.hold("load");
    swap(&mut pod, connection, LONG);
    assert_eq!(pod.count(&["start UnloadEngine", "EngineId(1)"]), 1);
    pod.finish("load", Outcome::Failed(Failure::NullContext));
    assert_eq!(pod.count(&["SwapFailed"]), 0, "it is tried once more");
    pod.finish("load", OUT_OF_MEMORY);
    assert_eq!(pod.count(&["SwapFailed", "OutOfMemory"]), 1, "{:#?}", pod.said);
    assert_eq!(
        pod.count(&["start LoadEngine", "EngineId(2)"]),
        2,
        "and no more than once"
    );
    pod.finish("load", Outcome::Done);
    assert_eq!(pod.count(&["start LoadEngine", "EngineId(1)"]), 1);
    assert_eq!(pod.count(&["Lend", "Ticks", "Some(EngineId(1))"]), 1);
    assert_eq!(pod.count(&["Refuse"]), 0, "{:#?}", pod.said);
    // Whoever asks again has a try of their own.
    pod.forget();
    swap(&mut pod, connection, LONG);
    pod.finish("load", Outcome::Done);
    assert_eq!(pod.count(&["SwapReady"]), 1, "{:#?}", pod.said);
}

#[test]
fn a_load_that_failed_beside_the_old_engine_leaves_it_to_the_ticks() {
    let (mut pod, connection) = playing(compiled(40));
    pod.hold("load");
    swap(&mut pod, connection, LONG);
    pod.finish("load", OUT_OF_MEMORY);
    pod.finish("load", OUT_OF_MEMORY);
    assert_eq!(pod.count(&["SwapFailed", "OutOfMemory"]), 1);
    assert_eq!(
        pod.count(&["GateClose"]) + pod.count(&["UnloadEngine"]),
        0,
        "{:#?}",
        pod.said
    );
}

#[test]
fn a_session_without_any_engine_ends_and_the_next_one_is_served() {
    let (mut pod, connection) = playing(compiled(20));
    pod.hold("load");
    swap(&mut pod, connection, LONG);
    for _ in 0..4 {
        pod.finish("load", OUT_OF_MEMORY);
    }
    assert!(
        pod.place(&["SwapFailed"]) < pod.place(&["Refuse", "OutOfMemory"]),
        "{:#?}",
        pod.said
    );
    assert!(pod.pending.is_empty());
    pod.event(Event::ConnectionGone { connection });
    ask(&mut pod, 2, SHORT);
    pod.finish("load", Outcome::Done);
    assert_eq!(pod.count(&["SessionReady"]), 1, "{:#?}", pod.said);
}

#[test]
fn what_is_not_built_is_not_tried_twice() {
    let (mut pod, connection) = playing(compiled(40));
    pod.hold("load");
    swap(&mut pod, connection, LONG);
    pod.finish("load", Outcome::Failed(Failure::EngineNotBuilt));
    assert_eq!(pod.count(&["start LoadEngine"]), 1);
    assert_eq!(pod.count(&["SwapFailed", "EngineNotBuilt"]), 1, "{:#?}", pod.said);
}

#[test]
fn a_source_that_no_engine_covers_is_refused_at_once() {
    let (mut pod, connection) = playing(compiled(40));
    measure(&mut pod, LONG, Engines::NONE);
    swap(&mut pod, connection, LONG);
    assert_eq!(pod.count(&["SwapFailed", "EngineNotBuilt"]), 1, "{:#?}", pod.said);
    assert_eq!(pod.count(&["start LoadEngine"]) + pod.count(&["GateClose"]), 0);
    pod.event(Event::ConnectionGone { connection });
    ask(&mut pod, 2, LONG);
    assert_eq!(pod.count(&["Refuse", "EngineNotBuilt"]), 1, "{:#?}", pod.said);
}

#[test]
fn a_source_without_room_for_its_engine_is_refused_and_the_old_engine_stays() {
    let (mut pod, connection) = playing(compiled(15));
    swap(&mut pod, connection, LONG);
    assert_eq!(pod.count(&["SwapFailed", "OutOfMemory"]), 1, "{:#?}", pod.said);
    assert_eq!(
        pod.count(&["start LoadEngine"]) + pod.count(&["start UnloadEngine"]),
        0,
        "{:#?}",
        pod.said
    );
    assert_eq!(
        pod.count(&["GateOpen"]),
        pod.count(&["GateClose"]),
        "whether or not ticks stopped for it, they run: {:#?}",
        pod.said
    );
}

#[test]
fn an_engine_stays_for_the_next_session_and_another_replaces_it() {
    let (mut pod, connection) = playing(compiled(20));
    pod.event(Event::ConnectionGone { connection });
    let connection = ask(&mut pod, 2, SHORT);
    assert_eq!(pod.count(&["SessionReady"]), 1);
    assert_eq!(pod.count(&["Engine {"]), 0, "{:#?}", pod.said);
    pod.event(Event::ConnectionGone { connection });
    ask(&mut pod, 3, LONG);
    assert_eq!(pod.count(&["SessionReady"]), 2);
    assert!(
        pod.place(&["UnloadEngine"]) < pod.place(&["LoadEngine"]),
        "{:#?}",
        pod.said
    );
}

#[test]
fn a_load_that_hangs_is_told_to_end_at_its_deadline_and_tried_once_more() {
    let (mut pod, connection) = playing(compiled(40));
    pod.hold("load");
    swap(&mut pod, connection, LONG);
    pod.wait(Span::seconds(59));
    assert_eq!(pod.count(&["Cancel"]), 0);
    pod.wait(Span::seconds(2));
    assert_eq!(pod.count(&["Cancel"]), 1, "{:#?}", pod.said);
    pod.finish("load", Outcome::Cancelled);
    pod.finish("load", Outcome::Done);
    assert_eq!(pod.count(&["SwapReady"]), 1);
}

#[test]
fn an_engine_that_will_not_go_loses_the_device_at_the_second_try_and_not_before() {
    for (second, lost) in [(Outcome::Done, 0), (common::BROKEN, 1)] {
        let (mut pod, connection) = playing(compiled(40));
        pod.hold("unload");
        swap(&mut pod, connection, LONG);
        pod.finish("unload", common::BROKEN);
        assert_eq!(pod.count(&["DeviceLost"]), 0, "{:#?}", pod.said);
        pod.finish("unload", second);
        assert_eq!(pod.count(&["Refuse", "DeviceLost"]), lost, "{:#?}", pod.said);
        assert_eq!(pod.count(&["SwapReady"]), 1 - lost, "{:#?}", pod.said);
    }
}

#[test]
fn measures_of_nothing_change_nothing_and_newer_ones_count() {
    let (mut pod, _) = playing(compiled(40));
    let stale = pod.director.counters().stale;
    measure(&mut pod, TrackId(9), decoder(7, 3));
    assert_eq!(pod.director.counters().stale, stale + 1);
    assert!(pod.said.is_empty());
    // It is played another way now.
    measure(&mut pod, SHORT, decoder(3, 4));
    assert_eq!(pod.director.counters().stale, stale + 1);
    assert_eq!(pod.count(&["Lend", "Ticks", "Some(EngineId(3))"]), 1, "{:#?}", pod.said);
    assert_eq!(pod.count(&["start UnloadEngine", "EngineId(1)"]), 1, "{:#?}", pod.said);
}

#[test]
fn what_a_change_of_engines_needs_is_taken_by_nobody_else_meanwhile() {
    let mut plan = compiled(20);
    plan.needs[1].workspace_bytes = 5;
    // 16 leaves for 10, which leaves room for it to come back; 10 leaves for 16, which must find room.
    for (first, second, held) in [(LONG, SHORT, "load"), (SHORT, LONG, "unload")] {
        let mut pod = pod(plan.clone());
        let connection = ask(&mut pod, 1, first);
        pod.hold(held);
        swap(&mut pod, connection, second);
        pod.event(Event::PromptAsked { connection });
        assert_eq!(pod.count(&["start EncodePrompt"]), 0, "{held}: {:#?}", pod.said);
        pod.finish(held, Outcome::Done);
        let fits = usize::from(second == SHORT);
        assert_eq!(pod.count(&["start EncodePrompt"]), fits, "{held}: {:#?}", pod.said);
        assert_eq!(pod.count(&["SwapReady"]), 1, "{held}: {:#?}", pod.said);
    }
}

#[test]
fn room_for_the_old_engine_is_claimed_where_there_is_so_much_and_not_where_there_is_less() {
    // Another process took memory since the long one was loaded: beside 4 bytes it could come back, beside 5 it could not.
    let mut plan = compiled(20);
    plan.needs[1].workspace_bytes = 5;
    for (foreign, starts) in [(4, 0), (5, 1)] {
        let mut pod = pod(plan.clone());
        let connection = ask(&mut pod, 1, LONG);
        pod.hold("load");
        swap(&mut pod, connection, SHORT);
        pod.event(Event::ForeignMemory { bytes: foreign });
        pod.finish("load", OUT_OF_MEMORY);
        pod.event(Event::PromptAsked { connection });
        assert_eq!(pod.count(&["start EncodePrompt"]), starts, "{foreign}: {:#?}", pod.said);
        pod.finish("load", Outcome::Done);
        assert_eq!(pod.count(&["SwapReady"]), 1, "{foreign}: {:#?}", pod.said);
        assert_eq!(pod.count(&["PromptApplied"]), 1, "{foreign}: {:#?}", pod.said);
    }
}

#[test]
fn a_rip_without_room_beside_an_engine_that_ticks_cannot_do_without_fails() {
    for (budget, fails) in [(16, 0), (15, 1)] {
        let (mut pod, connection) = playing(compiled(budget));
        pod.event(Event::SwapAsked {
            connection,
            source: Source::Track(SHORT),
            mode: Mode::Full,
        });
        assert_eq!(
            pod.count(&["PushStemFailure", "OutOfMemory"]),
            fails,
            "{budget}: {:#?}",
            pod.said
        );
        assert_eq!(pod.count(&["PushStems"]), 1 - fails, "{budget}: {:#?}", pod.said);
        assert_eq!(
            pod.count(&["UnloadEngine"]) + pod.count(&["GateClose"]),
            0,
            "{:#?}",
            pod.said
        );
    }
}

#[test]
fn a_rip_gives_way_to_who_waits_for_an_engine() {
    let (mut pod, connection) = playing(compiled(20));
    pod.hold("rip");
    pod.event(Event::SwapAsked {
        connection,
        source: Source::Track(SHORT),
        mode: Mode::Full,
    });
    assert_eq!(pod.count(&["start Rip"]), 1, "{:#?}", pod.said);
    // The long one needs 16 and finds 15 beside the separator.
    swap(&mut pod, connection, LONG);
    assert_eq!(pod.count(&["Cancel", "Now"]), 1, "{:#?}", pod.said);
    pod.finish("rip", Outcome::Yielded { abandoned: true });
    assert!(
        pod.place(&["start Park", "Separator"]) < pod.place(&["start LoadEngine", "EngineId(2)"]),
        "{:#?}",
        pod.said
    );
    assert_eq!(pod.count(&["SwapReady"]), 2, "{:#?}", pod.said);
}

#[test]
fn a_source_that_is_being_opened_is_opened_with_what_was_measured_before() {
    let mut pod = pod(compiled(40));
    pod.hold("open");
    ask(&mut pod, 1, SHORT);
    measure(&mut pod, SHORT, decoder(3, 4));
    assert_eq!(pod.count(&["start LoadEngine", "EngineId(3)"]), 0, "{:#?}", pod.said);
    pod.finish("open", Outcome::Done);
    assert_eq!(pod.count(&["Lend", "Ticks", "Some(EngineId(3))"]), 1, "{:#?}", pod.said);
}
