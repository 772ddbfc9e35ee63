//! Uploads of every length one after the other, and swaps that wait for stems.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use greenroom_tests::{Client, GENERATORS, Program, song, upload, weights_are_there};
use greenroom_wire::{ErrorCode, ServerMessage, StemState};
use serde_json::json;

fn swap(name: &str, mode: Option<&str>) -> serde_json::Value {
    let mut swap = json!({ "type": "swap_source", "use_server_source": true, "fixture_name": name });
    if let Some(mode) = mode {
        swap["stem_source_mode"] = json!(mode);
    }
    swap
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_then_a_hundred_and_twenty_then_sixty_seconds_and_swaps_between_them() {
    for options in GENERATORS {
        let program = Program::start(options).unwrap();
        let mut session = Client::session(program.address(), &json!({ "client_id": "me" }), &song(3.0))
            .await
            .unwrap();
        session.ready().await.unwrap();
        for (name, seconds) in [("a.wav", 60.0), ("b.wav", 120.0), ("c.wav", 60.0)] {
            let track = upload(program.address(), name, &song(seconds)).await.unwrap().unwrap();
            assert_eq!((track.name.as_str(), track.duration_s), (name, f64::from(seconds)));
            assert!(track.stems_pending, "the weights are fetched before these tests run");
        }
        for (name, duration) in [("a.wav", 60.0), ("b.wav", 120.0), ("a.wav", 60.0)] {
            session.text(&swap(name, None)).await.unwrap();
            let ready = session
                .message("swap_ready", |message| {
                    matches!(message, ServerMessage::SwapReady { .. })
                })
                .await
                .unwrap();
            let ServerMessage::SwapReady {
                duration: told,
                fixture_name,
                ..
            } = ready
            else {
                unreachable!("just matched")
            };
            assert_eq!((told, fixture_name.as_str()), (duration, name));
            session.ready().await.unwrap();
            assert_eq!(
                session.mirror.as_ref().unwrap().samples().len(),
                (duration * 96_000.0) as usize
            );
        }
        assert_eq!(program.errors(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instruments_swap_waits_for_the_rip_a_second_one_supersedes_it_and_nothing_is_ripped_twice() {
    assert!(weights_are_there(), "run `greenroom models fetch`");
    for options in GENERATORS {
        let program = Program::start(options).unwrap();
        let config = json!({ "client_id": "me", "wants": ["stem_progress"] });
        let mut session = Client::session(program.address(), &config, &song(2.0)).await.unwrap();
        session.ready().await.unwrap();
        upload(program.address(), "long.wav", &song(60.0))
            .await
            .unwrap()
            .unwrap();
        session.text(&swap("long.wav", Some("instruments"))).await.unwrap();
        session.text(&swap("long.wav", Some("vocals"))).await.unwrap();
        let failed = session
            .message("swap_failed", |message| {
                matches!(message, ServerMessage::SwapFailed { .. })
            })
            .await
            .unwrap();
        assert!(
            matches!(
                failed,
                ServerMessage::SwapFailed {
                    code: ErrorCode::Superseded,
                    ..
                }
            ),
            "{failed:?}"
        );
        session
            .message("swap_ready", |message| {
                matches!(message, ServerMessage::SwapReady { .. })
            })
            .await
            .unwrap();
        let assets = session
            .message("stems", |message| matches!(message, ServerMessage::StemAssets { .. }))
            .await
            .unwrap();
        let ServerMessage::StemAssets {
            source_mode,
            stems,
            fixture_name,
            ..
        } = assets
        else {
            unreachable!("just matched")
        };
        assert_eq!((source_mode.as_str(), fixture_name.as_str()), ("vocals", "long.wav"));
        assert_eq!(stems, ["vocals", "instruments"]);
        let mut last = 0;
        for message in &session.texts {
            if let ServerMessage::StemProgress {
                fixture_name,
                done,
                state: StemState::Ripping,
                ..
            } = message
                && fixture_name == "long.wav"
            {
                assert!(*done >= last, "ripped twice: {done} after {last}");
                last = *done;
            }
        }
        assert_eq!(program.errors(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_uploads_in_a_row_while_a_rip_runs_each_get_their_stems_late_and_once() {
    assert!(weights_are_there(), "run `greenroom models fetch`");
    for options in GENERATORS {
        let program = Program::start(options).unwrap();
        let config = json!({ "client_id": "me", "wants": ["stem_progress"] });
        let mut session = Client::session(program.address(), &config, &song(2.0)).await.unwrap();
        session.ready().await.unwrap();
        for (name, seconds) in [("a.wav", 40.0), ("b.wav", 15.0), ("c.wav", 15.0)] {
            let track = upload(program.address(), name, &song(seconds)).await.unwrap().unwrap();
            assert!(track.stems_pending);
            if name == "a.wav" {
                let begun = |message: &ServerMessage| matches!(message, ServerMessage::StemProgress { fixture_name, state: StemState::Ripping, .. } if fixture_name == name);
                session.message("a rip under way", begun).await.unwrap();
            }
        }
        let pushes = |session: &Client, wanted: &str| {
            let of = |message: &&ServerMessage| matches!(message, ServerMessage::StemAssets { fixture_name, source_mode, .. } if fixture_name == wanted && source_mode.is_empty());
            session.texts.iter().filter(of).count()
        };
        while ["a.wav", "b.wav", "c.wav"]
            .iter()
            .any(|name| pushes(&session, name) == 0)
        {
            session.next().await.unwrap();
        }
        for name in ["a.wav", "b.wav", "c.wav"] {
            assert_eq!(pushes(&session, name), 1, "{name}");
            let state: greenroom_wire::http::TrackState = ureq::get(program.url(&format!("/api/tracks/{name}")))
                .call()
                .unwrap()
                .body_mut()
                .read_json()
                .unwrap();
            assert_eq!(state.stems, StemState::Ready);
        }
        assert_eq!(program.errors(), Vec::<String>::new());
    }
}
