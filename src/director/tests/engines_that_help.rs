//! Engines that only help: when one comes, and for whom it leaves; and what phase 1 does without one.
#![allow(clippy::unwrap_used, reason = "a test that panics tells what happened")]

mod common;
#[path = "common/engines.rs"]
mod engines;

use common::{Pod, spectral_plan, weighted_plan};
use engines::{LONG, OUT_OF_MEMORY, SHORT, ask, compiled, decoder, engine, measure, playing, pod, swap};
use greenroom_director::{
    Component, Components, ConnectionId, Engines, Event, Failure, Found, Group, Groups, Mode, Need, Outcome, Plan,
    ReferenceKind, Source, Uploads,
};

/// A pod with all eager groups (60), its separator (5), a workspace of 1 for each of the five kinds of work, and so much more.
fn helped(more: u64) -> Plan {
    Plan {
        budget_bytes: 60 + 5 + more,
        ..weighted_plan()
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

/// A session that plays in one of [`two_rooms`] without a text encoder: it did not come home, and nobody needs it.
fn without_text_encoder(plan: Plan) -> (Pod, ConnectionId) {
    let mut pod = Pod::new(plan);
    pod.hold("restore");
    let (track, found) = (SHORT, Found::Fixture);
    pod.event(Event::TrackFound { track, found });
    let connection = ask(&mut pod, 1, SHORT);
    while let Some((_, task)) = pod.pending.first() {
        let is_encoder = format!("{task:?}").contains("TextEncoder");
        pod.finish("restore", if is_encoder { common::BROKEN } else { Outcome::Done });
    }
    (pod, connection)
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

#[test]
fn a_prompt_that_finds_no_room_sends_away_an_engine_that_ticks_call() {
    let (mut pod, connection) = without_text_encoder(two_rooms());
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
fn an_engine_that_only_helps_does_not_come_before_what_a_prompt_waits_for() {
    let mut plan = two_rooms();
    plan.needs[0].workspace_bytes = 1;
    let (mut pod, connection) = without_text_encoder(plan);
    pod.hold("encode");
    pod.upload();
    // There is room for it as soon as the source is encoded.
    pod.event(Event::PromptAsked { connection });
    measure(&mut pod, SHORT, decoder(1, 9));
    assert_eq!(pod.count(&["start LoadEngine"]), 0, "{:#?}", pod.said);
    pod.finish("encode", Outcome::Done);
    pod.finish("restore", Outcome::Done);
    assert_eq!(pod.count(&["PromptApplied"]), 1, "{:#?}", pod.said);
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
    // Beside 5 bytes that only help ticks: 12, or 15 for which a group leaves too that nobody uses.
    for (budget_bytes, wanted, idle) in [(16, 12, None), (18, 15, Some(4))] {
        let mut plan = encoding(budget_bytes);
        plan.weights_bytes[Group::TextEncoder as usize] = idle;
        let mut pod = Pod::new(plan);
        let (track, found) = (SHORT, Found::Fixture);
        pod.event(Event::TrackFound { track, found });
        measure(&mut pod, SHORT, Engines([engine(1, 5), engine(5, 3), None]));
        ask(&mut pod, 1, SHORT);
        assert_eq!(pod.count(&["Lend", "Ticks", "Some(EngineId(1))"]), 1, "{:#?}", pod.said);
        pod.forget();
        pod.hold("encode");
        let (_, first) = pod.upload();
        let (_, second) = pod.upload();
        measure(&mut pod, first, encoder(6, wanted));
        measure(&mut pod, second, encoder(6, wanted));
        assert_eq!(pod.count(&["UploadFailed"]), 0, "{:#?}", pod.said);
        assert_eq!(pod.count(&["start UnloadEngine", "Decoder"]), 1, "{:#?}", pod.said);
        assert_eq!(pod.count(&["GateClose"]), 1, "{:#?}", pod.said);
        assert_eq!(pod.count(&["GateOpen"]), 1, "{:#?}", pod.said);
        assert_eq!(pod.count(&["Lend", "Ticks"]), 0, "{:#?}", pod.said);
        pod.finish("encode", Outcome::Done);
        assert_eq!(pod.count(&["Lend", "Job", "EngineId(6)"]), 1, "{:#?}", pod.said);
    }
}

#[test]
fn an_engine_of_the_source_before_leaves_with_the_one_that_ticks_call() {
    let mut pod = Pod::new(encoding(16));
    for (track, helping) in [(LONG, [engine(9, 2), None]), (SHORT, [None, engine(7, 5)])] {
        let found = Found::Fixture;
        pod.event(Event::TrackFound { track, found });
        measure(&mut pod, track, Engines([helping[0], engine(5, 3), helping[1]]));
    }
    let connection = ask(&mut pod, 1, LONG);
    swap(&mut pod, connection, SHORT);
    assert_eq!(pod.count(&["Lend", "Ticks", "Some(EngineId(7))"]), 1, "{:#?}", pod.said);
    assert_eq!(pod.count(&["start UnloadEngine"]), 0, "{:#?}", pod.said);
    pod.hold("encode");
    let (_, first) = pod.upload();
    let (_, second) = pod.upload();
    measure(&mut pod, first, encoder(6, 15));
    measure(&mut pod, second, encoder(6, 15));
    for slot in ["Decoder", "VaeDecode"] {
        assert_eq!(pod.count(&["start UnloadEngine", slot]), 1, "{slot}: {:#?}", pod.said);
    }
    assert_eq!(pod.count(&["UploadFailed"]), 0, "{:#?}", pod.said);
    pod.finish("encode", Outcome::Done);
    assert_eq!(pod.count(&["Lend", "Job", "EngineId(6)"]), 1, "{:#?}", pod.said);
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
        let (mut pod, connection) = without_text_encoder(Plan {
            budget_bytes,
            ..two_rooms()
        });
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
