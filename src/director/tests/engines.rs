//! Engines: who waits for one, what a swap does when one does not come, and when one that only helps comes and goes.
#![allow(clippy::unwrap_used, reason = "a test that panics tells what happened")]

mod common;

use common::{Pod, spectral_plan, weighted_plan};
use greenroom_director::{
    ClientKey, Component, Components, ConnectionId, Engine, EngineId, Engines, Event, Failure, Found, Group, Groups,
    Intent, Mode, Need, Outcome, Plan, ReferenceKind, Source, Span, TrackId, Uploads,
};

const SHORT: TrackId = TrackId(1_001);
const LONG: TrackId = TrackId(1_002);
const OUT_OF_MEMORY: Outcome = Outcome::Failed(Failure::OutOfMemory);

fn engine(id: u32, bytes: u64) -> Option<Engine> {
    Some(Engine {
        id: EngineId(id),
        weights_bytes: bytes - 1,
        workspace_bytes: 1,
    })
}

fn decoder(id: u32, bytes: u64) -> Engines {
    Engines([engine(id, bytes), None, None])
}

/// A pod without an eager decoder, and a separator that weighs 5.
fn compiled(budget_bytes: u64) -> Plan {
    Plan {
        engines_only: Components::of(&[Component::Decoder]),
        budget_bytes,
        ..spectral_plan()
    }
}

/// A pod with two fixtures, a short one whose engine takes 10 bytes and a long one whose engine takes 16.
fn pod(plan: Plan) -> Pod {
    let mut pod = Pod::new(plan);
    for (track, engines) in [(SHORT, decoder(1, 10)), (LONG, decoder(2, 16))] {
        let found = Found::Fixture;
        pod.event(Event::TrackFound { track, found });
        pod.event(Event::SourceMeasured { track, engines });
    }
    pod
}

fn ask(pod: &mut Pod, client: u64, track: TrackId) -> ConnectionId {
    let connection = pod.connect();
    let (intent, bytes) = (Intent::Session, 1);
    pod.event(Event::HandshakeDeclared {
        connection,
        intent,
        bytes,
    });
    pod.event(Event::SessionAsked {
        connection,
        client: Some(ClientKey(client)),
        source: Source::Track(track),
        mode: Mode::Plain,
    });
    connection
}

fn swap(pod: &mut Pod, connection: ConnectionId, track: TrackId) {
    pod.event(Event::SwapAsked {
        connection,
        source: Source::Track(track),
        mode: Mode::Plain,
    });
}

fn measure(pod: &mut Pod, track: TrackId, engines: Engines) {
    pod.event(Event::SourceMeasured { track, engines });
}

/// A session that plays the short fixture; what led there is forgotten.
fn playing(plan: Plan) -> (Pod, ConnectionId) {
    let mut pod = pod(plan);
    let connection = ask(&mut pod, 1, SHORT);
    assert_eq!(pod.count(&["SessionReady"]), 1, "{:#?}", pod.said);
    pod.forget();
    (pod, connection)
}

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

/// A pod with all eager groups (60), its separator (5), a workspace of 1 for each of the five kinds of work, and so much more.
fn helped(more: u64) -> Plan {
    Plan {
        budget_bytes: 60 + 5 + more,
        ..weighted_plan()
    }
}

#[test]
fn an_engine_that_only_helps_comes_while_the_session_plays_without_it() {
    let mut pod = pod(helped(10));
    pod.hold("load");
    ask(&mut pod, 1, SHORT);
    assert_eq!(
        pod.count(&["SessionReady"]) + pod.count(&["GateOpen"]),
        2,
        "{:#?}",
        pod.said
    );
    assert_eq!(pod.count(&["Lend"]), 0);
    pod.finish("load", Outcome::Done);
    assert_eq!(pod.count(&["GateClose"]), 1);
    assert_eq!(pod.count(&["GateOpen"]), 2);
    assert_eq!(pod.count(&["Lend", "Ticks", "Some(EngineId(1))"]), 1, "{:#?}", pod.said);
}

#[test]
fn an_engine_that_only_helps_needs_room_beside_everything_and_fails_quietly() {
    let (pod, _) = {
        let mut pod = pod(helped(9));
        let connection = ask(&mut pod, 1, SHORT);
        (pod, connection)
    };
    assert_eq!(pod.count(&["LoadEngine"]), 0, "one byte is missing: {:#?}", pod.said);
    let mut failing = self::pod(helped(10));
    failing.hold("load");
    let connection = ask(&mut failing, 1, SHORT);
    failing.finish("load", OUT_OF_MEMORY);
    failing.finish("load", OUT_OF_MEMORY);
    assert!(failing.pending.is_empty(), "twice, and no more");
    assert_eq!(failing.count(&["Refuse"]) + failing.count(&["SwapFailed"]), 0);
    // Until somebody asks anew.
    swap(&mut failing, connection, SHORT);
    failing.finish("load", Outcome::Done);
    assert_eq!(failing.count(&["Lend", "Ticks"]), 1, "{:#?}", failing.said);
}

#[test]
fn a_swap_does_not_wait_for_an_engine_that_only_helps() {
    for (more, beside) in [(10 + 16, true), (10 + 16 - 1, false), (16, false)] {
        let (mut pod, connection) = playing(helped(more));
        pod.hold("load");
        swap(&mut pod, connection, LONG);
        assert_eq!(pod.count(&["SwapReady"]), 1, "{:#?}", pod.said);
        assert!(
            pod.place(&["GateClose"]) < pod.place(&["start SwapSource"]),
            "{:#?}",
            pod.said
        );
        assert_eq!(
            pod.count(&["UnloadEngine"]),
            usize::from(!beside),
            "{more}: {:#?}",
            pod.said
        );
        pod.finish("load", Outcome::Done);
        assert_eq!(
            pod.count(&["Lend", "Ticks", "Some(EngineId(2))"]),
            1,
            "{more}: {:#?}",
            pod.said
        );
        assert_eq!(
            pod.count(&["UnloadEngine", "EngineId(1)"]),
            1,
            "{more}: {:#?}",
            pod.said
        );
    }
    let (mut pod, connection) = playing(helped(15));
    swap(&mut pod, connection, LONG);
    assert_eq!(
        pod.count(&["Engine {"]),
        0,
        "the long one finds no room: {:#?}",
        pod.said
    );
}

#[test]
fn an_engine_leaves_for_a_rip_that_finds_no_room_and_comes_back_after_it() {
    // Without eager groups: 10 for the engine, 5 and 1 for the separator.
    for (budget, leaves) in [(16, 0), (15, 1)] {
        let mut plan = spectral_plan();
        plan.budget_bytes = budget;
        let mut pod = Pod::new(plan);
        let found = Found::Fixture;
        pod.event(Event::TrackFound { track: SHORT, found });
        measure(&mut pod, SHORT, decoder(1, 10));
        let connection = ask(&mut pod, 1, SHORT);
        assert_eq!(pod.count(&["Lend", "Ticks"]), 1, "{:#?}", pod.said);
        pod.forget();
        pod.hold("rip");
        pod.event(Event::SwapAsked {
            connection,
            source: Source::Track(SHORT),
            mode: Mode::Full,
        });
        assert_eq!(pod.count(&["start UnloadEngine"]), leaves, "{budget}: {:#?}", pod.said);
        assert_eq!(pod.count(&["start Rip"]), 1, "{budget}: {:#?}", pod.said);
        assert_eq!(pod.count(&["start LoadEngine"]), 0);
        assert_eq!(pod.count(&["GateClose"]), pod.count(&["GateOpen"]), "ticks go on");
        pod.finish("rip", Outcome::Done);
        assert_eq!(pod.count(&["PushStems"]), 1);
        assert_eq!(pod.count(&["start LoadEngine"]), leaves, "{budget}: {:#?}", pod.said);
    }
}

/// Opening and playing take one group of 20 each, which do not fit beside each other with an engine of 9 as well.
fn two_rooms() -> Plan {
    let need = |groups: &[Group]| Need {
        groups: Groups::of(groups),
        workspace_bytes: 1,
    };
    Plan {
        weights_bytes: [Some(20), None, Some(20), None, None],
        needs: [
            Need::default(),
            need(&[Group::TextEncoder]),
            need(&[Group::Dit]),
            need(&[Group::Dit]),
            Need::default(),
        ],
        budget_bytes: 42,
        ..weighted_plan()
    }
}

#[test]
fn a_prompt_that_finds_no_room_sends_away_an_engine_that_ticks_call() {
    let mut pod = Pod::new(two_rooms());
    pod.hold("restore");
    let (track, found) = (SHORT, Found::Fixture);
    pod.event(Event::TrackFound { track, found });
    let connection = ask(&mut pod, 1, SHORT);
    pod.finish("restore", Outcome::Done);
    // The text encoder does not come home: it fails, and nobody needs it.
    pod.finish("restore", common::BROKEN);
    measure(&mut pod, SHORT, decoder(1, 9));
    assert_eq!(pod.count(&["Lend", "Ticks", "Some(EngineId(1))"]), 1, "{:#?}", pod.said);
    pod.forget();
    pod.event(Event::PromptAsked { connection });
    assert!(
        pod.place(&["GateClose"]) < pod.place(&["start UnloadEngine"]),
        "{:#?}",
        pod.said
    );
    assert_eq!(pod.count(&["GateOpen"]), 1, "ticks go on without it: {:#?}", pod.said);
    assert_eq!(pod.count(&["Lend"]), 0, "{:#?}", pod.said);
    pod.finish("restore", Outcome::Done);
    assert_eq!(pod.count(&["PromptApplied"]), 1, "{:#?}", pod.said);
    assert_eq!(
        pod.count(&["start LoadEngine"]),
        0,
        "there is no room for both: {:#?}",
        pod.said
    );
}

#[test]
fn phase_1_that_finds_out_which_engine_it_needs_is_tried_again_with_it() {
    let mut pod = Pod::new(Plan {
        engines_only: Components::of(&[Component::VaeEncode]),
        uploads: Uploads::Wipe,
        ..spectral_plan()
    });
    pod.hold("encode");
    let (_, track) = pod.upload();
    assert_eq!(pod.count(&["start Encode"]), 1, "nobody knows yet");
    measure(&mut pod, track, Engines([None, engine(5, 7), None]));
    assert_eq!(pod.count(&["start LoadEngine"]), 0, "{:#?}", pod.said);
    pod.finish("encode", Outcome::Failed(Failure::EngineNotBuilt));
    assert_eq!(
        pod.count(&["Lend", "Job", "[None, Some(EngineId(5)), None]"]),
        1,
        "{:#?}",
        pod.said
    );
    pod.finish("encode", Outcome::Done);
    assert_eq!(pod.count(&["UploadOk"]), 1, "{:#?}", pod.said);
    // What was measured and finds no engine is told at once; what fails for another reason is not tried again.
    let (_, second) = pod.upload();
    measure(&mut pod, second, Engines::NONE);
    pod.finish("encode", Outcome::Failed(Failure::EngineNotBuilt));
    assert_eq!(pod.count(&["UploadFailed", "EngineNotBuilt"]), 1, "{:#?}", pod.said);
    let (_, third) = pod.upload();
    measure(&mut pod, third, Engines([None, engine(5, 7), None]));
    pod.finish("encode", Outcome::Failed(Failure::BadAudio));
    assert_eq!(pod.count(&["UploadFailed", "BadAudio"]), 1, "{:#?}", pod.said);
}

#[test]
fn a_measured_upload_waits_for_its_engine_or_is_told() {
    let mut pod = Pod::new(Plan {
        engines_only: Components::of(&[Component::VaeEncode]),
        ..spectral_plan()
    });
    pod.hold("encode");
    pod.upload();
    let (_, second) = pod.upload();
    pod.hold("load");
    measure(&mut pod, second, Engines([None, engine(5, 7), None]));
    assert_eq!(
        pod.count(&["start LoadEngine"]),
        1,
        "while the first is encoded: {:#?}",
        pod.said
    );
    pod.finish("encode", Outcome::Done);
    assert_eq!(pod.count(&["start Encode"]), 1, "{:#?}", pod.said);
    pod.finish("load", OUT_OF_MEMORY);
    pod.finish("load", OUT_OF_MEMORY);
    assert_eq!(pod.count(&["UploadFailed", "OutOfMemory"]), 1, "{:#?}", pod.said);
}

/// A pod without an eager way in for sources; a prompt takes a workspace of 5.
fn encoding(budget_bytes: u64) -> Plan {
    let mut plan = Plan {
        engines_only: Components::of(&[Component::VaeEncode]),
        budget_bytes,
        ..spectral_plan()
    };
    plan.needs[1].workspace_bytes = 5;
    plan
}

fn encoder(id: u32, bytes: u64) -> Engines {
    Engines([None, engine(id, bytes), None])
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
fn room_for_the_old_engine_is_not_claimed_where_there_is_not_so_much() {
    // Another process took memory since the long one was loaded: it could not come back, and the short one fits.
    let mut plan = compiled(20);
    plan.needs[1].workspace_bytes = 5;
    let mut pod = pod(plan);
    let connection = ask(&mut pod, 1, LONG);
    pod.hold("load");
    swap(&mut pod, connection, SHORT);
    pod.event(Event::ForeignMemory { bytes: 5 });
    pod.finish("load", OUT_OF_MEMORY);
    pod.event(Event::PromptAsked { connection });
    assert_eq!(pod.count(&["start EncodePrompt"]), 1, "{:#?}", pod.said);
    pod.finish("load", Outcome::Done);
    assert_eq!(pod.count(&["SwapReady"]), 1, "{:#?}", pod.said);
}

#[test]
fn failures_of_one_engine_are_none_of_another() {
    let mut pod = pod(helped(16));
    pod.hold("load");
    ask(&mut pod, 1, SHORT);
    pod.finish("load", OUT_OF_MEMORY);
    measure(&mut pod, SHORT, decoder(3, 4));
    pod.finish("load", OUT_OF_MEMORY);
    assert_eq!(pod.count(&["start LoadEngine", "EngineId(1)"]), 2);
    pod.finish("load", OUT_OF_MEMORY);
    assert_eq!(pod.count(&["start LoadEngine", "EngineId(3)"]), 2, "{:#?}", pod.said);
    pod.finish("load", Outcome::Done);
    assert_eq!(pod.count(&["Lend", "Ticks", "Some(EngineId(3))"]), 1, "{:#?}", pod.said);
}

#[test]
fn the_next_session_tries_what_did_not_load_for_the_last_one() {
    let mut pod = pod(helped(10));
    pod.hold("load");
    let connection = ask(&mut pod, 1, SHORT);
    pod.finish("load", OUT_OF_MEMORY);
    pod.finish("load", OUT_OF_MEMORY);
    assert!(pod.pending.is_empty());
    pod.event(Event::ConnectionGone { connection });
    ask(&mut pod, 2, SHORT);
    pod.finish("load", Outcome::Done);
    assert_eq!(pod.count(&["Lend", "Ticks", "Some(EngineId(1))"]), 1, "{:#?}", pod.said);
}

#[test]
fn an_upload_does_not_keep_the_slot_from_a_swap_that_waits_for_it() {
    let mut pod = Pod::new(encoding(12));
    for (track, engines) in [(SHORT, encoder(1, 7)), (LONG, encoder(2, 10))] {
        let found = Found::Fixture;
        pod.event(Event::TrackFound { track, found });
        measure(&mut pod, track, engines);
    }
    let connection = ask(&mut pod, 1, SHORT);
    pod.hold("encode");
    for _ in 0..2 {
        let (_, track) = pod.upload();
        measure(&mut pod, track, encoder(1, 7));
    }
    // The first began before it was measured: the second of them calls the engine of the first fixture.
    pod.finish("encode", Outcome::Done);
    let (_, third) = pod.upload();
    measure(&mut pod, third, encoder(1, 7));
    pod.forget();
    swap(&mut pod, connection, LONG);
    assert_eq!(pod.count(&["UnloadEngine"]), 0, "it is called: {:#?}", pod.said);
    pod.finish("encode", Outcome::Done);
    assert_eq!(pod.count(&["SwapReady"]), 1, "{:#?}", pod.said);
    assert!(
        pod.place(&["SwapReady"]) < pod.place(&["start Encode"]),
        "{:#?}",
        pod.said
    );
}

#[test]
fn who_cannot_do_without_an_engine_sends_away_one_that_only_helps_ticks() {
    let mut pod = Pod::new(encoding(16));
    let (track, found) = (SHORT, Found::Fixture);
    pod.event(Event::TrackFound { track, found });
    measure(&mut pod, SHORT, Engines([engine(1, 5), engine(5, 3), None]));
    ask(&mut pod, 1, SHORT);
    assert_eq!(pod.count(&["Lend", "Ticks", "Some(EngineId(1))"]), 1, "{:#?}", pod.said);
    pod.forget();
    pod.hold("encode");
    let (_, first) = pod.upload();
    let (_, second) = pod.upload();
    measure(&mut pod, first, encoder(6, 12));
    measure(&mut pod, second, encoder(6, 12));
    assert_eq!(pod.count(&["UploadFailed"]), 0, "{:#?}", pod.said);
    assert_eq!(pod.count(&["start UnloadEngine", "Decoder"]), 1, "{:#?}", pod.said);
    assert_eq!(pod.count(&["GateClose"]), 1, "{:#?}", pod.said);
    assert_eq!(pod.count(&["GateOpen"]), 1, "{:#?}", pod.said);
    assert_eq!(pod.count(&["Lend", "Ticks"]), 0, "{:#?}", pod.said);
    pod.finish("encode", Outcome::Done);
    assert_eq!(pod.count(&["Lend", "Job", "EngineId(6)"]), 1, "{:#?}", pod.said);
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
fn memory_that_others_take_does_not_make_ticks_change_engines_for_ever() {
    let mut pod = pod(helped(10));
    pod.hold("load");
    ask(&mut pod, 1, SHORT);
    pod.event(Event::ForeignMemory { bytes: 500 });
    pod.forget();
    pod.finish("load", Outcome::Done);
    assert_eq!(pod.count(&["GateClose"]), 1, "{:#?}", pod.said);
    assert_eq!(pod.count(&["Lend", "Ticks", "Some(EngineId(1))"]), 1, "{:#?}", pod.said);
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

#[test]
fn memory_of_others_counts_for_an_engine_that_only_helps() {
    for (foreign, loads) in [(0, 1), (1, 0)] {
        let mut pod = pod(helped(10));
        pod.event(Event::ForeignMemory { bytes: foreign });
        ask(&mut pod, 1, SHORT);
        assert_eq!(pod.count(&["start LoadEngine"]), loads, "{foreign}: {:#?}", pod.said);
    }
}

#[test]
fn phase_1_that_is_done_eagerly_is_not_tried_again_for_want_of_an_engine() {
    let mut pod = Pod::new(spectral_plan());
    pod.hold("encode");
    pod.upload();
    pod.finish("encode", Outcome::Failed(Failure::EngineNotBuilt));
    assert_eq!(pod.count(&["UploadFailed", "EngineNotBuilt"]), 1, "{:#?}", pod.said);
    assert!(pod.pending.is_empty());
}

#[test]
fn ticks_keep_an_engine_that_leaves_exactly_the_room_that_a_prompt_needs() {
    // 20 and 1 to play, 9 for the engine, 20 and 1 for the prompt.
    for (budget_bytes, closes) in [(51, 0), (50, 1)] {
        let mut pod = Pod::new(Plan {
            budget_bytes,
            ..two_rooms()
        });
        pod.hold("restore");
        let (track, found) = (SHORT, Found::Fixture);
        pod.event(Event::TrackFound { track, found });
        let connection = ask(&mut pod, 1, SHORT);
        pod.finish("restore", Outcome::Done);
        pod.finish("restore", common::BROKEN);
        measure(&mut pod, SHORT, decoder(1, 9));
        assert_eq!(pod.count(&["Lend", "Ticks"]), 1, "{:#?}", pod.said);
        pod.forget();
        pod.event(Event::PromptAsked { connection });
        assert_eq!(pod.count(&["GateClose"]), closes, "{budget_bytes}: {:#?}", pod.said);
        pod.finish("restore", Outcome::Done);
        assert_eq!(pod.count(&["PromptApplied"]), 1, "{budget_bytes}: {:#?}", pod.said);
    }
}

#[test]
fn a_reference_waits_for_no_engine_since_nobody_loads_one_for_what_is_not_played() {
    for (plan, of) in [
        (compiled(40), decoder as fn(u32, u64) -> Engines),
        (encoding(40), encoder),
    ] {
        let mut pod = Pod::new(plan);
        for (track, engines) in [(SHORT, of(1, 10)), (LONG, of(2, 16))] {
            let found = Found::Fixture;
            pod.event(Event::TrackFound { track, found });
            pod.event(Event::SourceMeasured { track, engines });
        }
        let connection = ask(&mut pod, 1, SHORT);
        assert_eq!(pod.count(&["SessionReady"]), 1, "{:#?}", pod.said);
        for kind in ReferenceKind::ALL {
            pod.event(Event::ReferenceAsked {
                connection,
                kind,
                source: Some(Source::Track(LONG)),
            });
            assert_eq!(
                pod.count(&["ReferenceApplied", &format!("{kind:?}")]),
                1,
                "{:#?}",
                pod.said
            );
        }
        assert_eq!(pod.count(&["start LoadEngine", "EngineId(2)"]), 0);
    }
}
