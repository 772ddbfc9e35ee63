//! Stems are the same bytes on disk however often the rip gave way, with whichever generator the separator shared the device.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use std::{
    fs,
    time::{Duration, Instant},
};

use greenroom_tests::{Client, GENERATORS, Incoming, Program, song, upload, weights_are_there};
use greenroom_wire::{ServerMessage, StemState};
use serde_json::json;

const TRACK: &str = "track.wav";
const SECONDS: f32 = 30.0;
/// How long a rip of twelve seconds may take beside a flood.
const PATIENCE: Duration = Duration::from_secs(60);

/// Turns of rips that ended because somebody else was to have the device.
fn gave_way(program: &Program) -> u32 {
    let turns = program.metric(&["jobs_ended_total", r#"task="rip""#, "yielded"]);
    turns.unwrap() as u32
}

/// Interactive work in mid-rip: another source, sent along, that plays at once.
async fn swap(session: &mut Client) {
    session
        .text(&json!({ "type": "swap_source", "fixture_name": "between.wav", "stem_source_mode": "full" }))
        .await
        .unwrap();
    session.audio(2, &song(2.0)).await.unwrap();
    session.ready().await.unwrap();
}

/// The stems' files after a rip that was asked so often to give way; and how often it did.
async fn stems_after(options: &[&str], asked: u32) -> ([Vec<u8>; 2], u32) {
    let program = Program::start(options).unwrap();
    let config = json!({ "client_id": "me", "wants": ["stem_progress"] });
    let mut session = Client::session(program.address(), &config, &song(2.0)).await.unwrap();
    // The session's own stems first: only one rip is counted.
    session
        .message("its own stems", |message| {
            matches!(message, ServerMessage::StemAssets { .. })
        })
        .await
        .unwrap();
    let before = gave_way(&program);
    upload(program.address(), TRACK, &song(SECONDS)).await.unwrap().unwrap();
    let are_its_stems = |message: &ServerMessage| matches!(message, ServerMessage::StemAssets { fixture_name, .. } if fixture_name == TRACK);
    let is_being_ripped = |message: &ServerMessage| matches!(message, ServerMessage::StemProgress { fixture_name, state: StemState::Ripping, .. } if fixture_name == TRACK);
    // Not every swap finds the rip at work: it may just have ended a turn.
    while gave_way(&program) - before < asked {
        assert!(!session.texts.iter().any(are_its_stems), "the rip was over too soon");
        session.message("the rip at work", is_being_ripped).await.unwrap();
        swap(&mut session).await;
    }
    session.message("the stems", are_its_stems).await.unwrap();
    let gave_way = gave_way(&program) - before;
    let stems = program.manifest(TRACK).unwrap().0.join("stems");
    let files = ["vocals.wav", "instruments.wav"].map(|name| fs::read(stems.join(name)).unwrap());
    assert_eq!(program.errors(), Vec::<String>::new());
    (files, gave_way)
}

#[tokio::test(flavor = "multi_thread")]
async fn stems_are_the_same_bytes_whether_the_rip_gave_way_never_once_or_seven_times() {
    assert!(weights_are_there(), "run `greenroom models fetch`");
    let (expected, never) = stems_after(&[], 0).await;
    assert_eq!(never, 0);
    assert!(
        expected
            .iter()
            .all(|file| file.len() > (SECONDS * 48_000.0) as usize * 8),
        "whole stems"
    );
    for options in GENERATORS {
        for asked in [1, 7] {
            let (stems, gave_way) = stems_after(options, asked).await;
            assert!(
                gave_way >= asked,
                "{options:?}: it was asked {asked} times and gave way {gave_way} times"
            );
            // No message of a hundred megabytes.
            assert!(
                stems == expected,
                "{options:?}: the stems differ after giving way {gave_way} times"
            );
        }
    }
}

/// There is always another swap before the one under way is done; the rip has its batches all the same.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_swaps_without_a_pause_does_not_keep_the_device() {
    assert!(weights_are_there(), "run `greenroom models fetch`");
    let program = Program::start(&["--generator", "weighted"]).unwrap();
    let mut session = Client::session(program.address(), &json!({ "client_id": "me" }), &song(2.0))
        .await
        .unwrap();
    session
        .message("its own stems", |message| {
            matches!(message, ServerMessage::StemAssets { .. })
        })
        .await
        .unwrap();
    upload(program.address(), TRACK, &song(12.0)).await.unwrap().unwrap();
    let swap =
        json!({ "type": "swap_source", "use_server_source": true, "fixture_name": TRACK, "stem_source_mode": "full" });
    let begun = Instant::now();
    let mut swaps = 0;
    let mut has_its_stems = false;
    while !has_its_stems {
        session.text(&swap).await.unwrap();
        swaps += 1;
        // All that is there, not one for each swap: whoever lets answers pile up is taken for one who does not read.
        let pause = tokio::time::Instant::now() + Duration::from_millis(5);
        while begun.elapsed() < PATIENCE
            && let Ok(incoming) = tokio::time::timeout_at(pause, session.next()).await
        {
            match incoming.unwrap() {
                Incoming::Text(ServerMessage::StemAssets { fixture_name, .. }) => {
                    has_its_stems |= fixture_name == TRACK
                }
                Incoming::Closed(code) => panic!("closed with {code:?} after {swaps} swaps: {}", program.log()),
                _ => {}
            }
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "no stems after {swaps} swaps: {}",
            program.log()
        );
    }
    assert!(swaps > 20, "{swaps} swaps are no flood");
    assert_eq!(program.errors(), Vec::<String>::new());
}
