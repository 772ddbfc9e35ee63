//! A source that came as PCM is an upload without a name: its stems come late, and who asked for it can tell whose they are.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use greenroom_tests::{Client, Program, song, weights_are_there};
use greenroom_wire::ServerMessage;
use serde_json::json;

/// What is said of the source that plays, by `ready` or `swap_ready`.
async fn source_id(client: &mut Client) -> String {
    let said = |message: &ServerMessage| matches!(message, ServerMessage::Ready(_) | ServerMessage::SwapReady { .. });
    match client.message("a source", said).await.unwrap() {
        ServerMessage::Ready(ready) => ready.source_id.unwrap(),
        ServerMessage::SwapReady {
            source_id,
            fixture_name,
            ..
        } => {
            assert_eq!(fixture_name, "", "it has no name");
            source_id.unwrap()
        }
        other => unreachable!("just matched, not {other:?}"),
    }
}

async fn stems(client: &mut Client) -> (String, String, String) {
    let are_stems = |message: &ServerMessage| matches!(message, ServerMessage::StemAssets { .. });
    match client.message("stems", are_stems).await.unwrap() {
        ServerMessage::StemAssets {
            fixture_name,
            source_id,
            source_mode,
            ..
        } => (fixture_name, source_id.unwrap(), source_mode),
        other => unreachable!("just matched, not {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stems_of_a_nameless_source_can_be_told_from_others() {
    assert!(weights_are_there(), "run `greenroom models fetch`");
    let program = Program::start(&[]).unwrap();
    let config = json!({ "wants": ["source_id", "stem_progress"] });
    let mut client = Client::session(program.address(), &config, &song(4.0)).await.unwrap();
    let first = source_id(&mut client).await;
    assert_eq!(stems(&mut client).await, (String::new(), first.clone(), String::new()));

    client
        .text(&json!({ "type": "swap_source", "stem_source_mode": "vocals" }))
        .await
        .unwrap();
    client.audio(2, &song(5.0)).await.unwrap();
    let second = source_id(&mut client).await;
    assert_ne!(first, second, "another source, and neither has a name");
    let (name, id, mode) = stems(&mut client).await;
    assert_eq!((name, id, mode), (String::new(), second.clone(), "vocals".to_owned()));
    let of_progress = client.texts.iter().filter_map(|message| match message {
        ServerMessage::StemProgress { source_id, .. } => source_id.clone(),
        _ => None,
    });
    assert!(of_progress.clone().count() > 0);
    assert!(of_progress.into_iter().all(|id| id == first || id == second));
    assert_eq!(program.errors(), Vec::<String>::new());
}

/// Long enough that two parts of it meet within the test.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_walked_plays_on_over_the_end_of_a_part() {
    let program = Program::start(&[]).unwrap();
    let config = json!({ "walk_window": true, "walk_window_s": 5 });
    let mut client = Client::session(program.address(), &config, &song(12.0)).await.unwrap();
    client.ready().await.unwrap();
    let knobs = json!({ "type": "params", "raw": { "denoise": 0.8 }, "playback_pos": 4.5 });
    client.text(&knobs).await.unwrap();
    let mut furthest = 0;
    while furthest < 6 * 48_000 {
        let header = client
            .until("a slice", |incoming| match incoming {
                greenroom_tests::Incoming::Slice(header, _) => Some(*header),
                _ => None,
            })
            .await
            .unwrap();
        furthest = furthest.max(header.start_sample + header.num_samples);
    }
    assert_eq!(program.errors(), Vec::<String>::new());
}
