//! A client as the reference's: it knows none of the new messages and must meet none.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use greenroom_tests::{Client, Incoming, Program, song, upload};
use greenroom_wire::ServerMessage;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn it_plays_uploads_swaps_and_turns_every_knob() {
    let program = Program::start(&[]).unwrap();
    let config = json!({
        "sde": false, "lora": false, "depth": 4, "vae_window": 0.36, "crop": 0, "steps": 8, "fast_vae": false, "walk_window": true,
        "walk_window_s": 60, "key": "G# minor", "time_signature": "4", "enabled_loras": [], "lora_strengths": {},
        "prompt": "acoustic deep house", "fixture_name": "song.wav", "use_server_fixture": false
    });
    let mut client = Client::session(program.address(), &config, &song(8.0)).await.unwrap();
    client.ready().await.unwrap();
    assert!(
        matches!(client.texts.first(), Some(ServerMessage::Ready(_))),
        "ready comes first"
    );
    let messages = [
        json!({ "type": "params", "raw": { "denoise": 0.7, "seed": 42, "hint_strength": 0.5, "ch_g0": 1.5, "no_such_knob": 1,
            "velocity_scale_curve": { "type": "raw", "values": [0, 1] } }, "playback_pos": 0.5 }),
        json!({ "type": "loop_band", "start_sec": 1.0, "end_sec": 4.0 }),
        json!({ "type": "set_prompt_blend", "value": 0.5 }),
        json!({ "type": "set_timbre_strength", "value": 0.5 }),
        json!({ "type": "from_the_future", "value": 0.5 }),
        json!({ "type": "prompt", "tags": "dub techno", "key": "A minor", "time_signature": "3" }),
        json!({ "type": "set_depth", "value": 99 }),
        json!({ "type": "enable_lora", "id": "nobody" }),
    ];
    for message in &messages {
        client.text(message).await.unwrap();
    }
    client.raw_text("{ this is not JSON").await.unwrap();
    client
        .message(
            "prompt_applied",
            |message| matches!(message, ServerMessage::PromptApplied { tags } if tags == "dub techno"),
        )
        .await
        .unwrap();
    assert!(
        client
            .texts
            .iter()
            .any(|message| matches!(message, ServerMessage::DepthApplied { .. }))
            || {
                client
                    .message("depth_applied", |message| {
                        matches!(message, ServerMessage::DepthApplied { .. })
                    })
                    .await
                    .unwrap();
                true
            }
    );
    client
        .message("params_update", |message| {
            matches!(message, ServerMessage::ParamsUpdate { .. })
        })
        .await
        .unwrap();

    let track = upload(program.address(), "next.wav", &song(6.0))
        .await
        .unwrap()
        .unwrap();
    client
        .text(
            &json!({ "type": "swap_source", "use_server_source": true, "fixture_name": track.name, "tags": "ambient" }),
        )
        .await
        .unwrap();
    client.ready().await.unwrap();
    client
        .text(&json!({ "type": "swap_source", "fixture_name": "sent.wav", "stem_source_mode": "full" }))
        .await
        .unwrap();
    client.audio(2, &song(5.0)).await.unwrap();
    client.ready().await.unwrap();
    client
        .text(&json!({ "type": "params", "raw": { "denoise": 0.4 }, "playback_pos": 0.1 }))
        .await
        .unwrap();
    client
        .until("slices of the new source", |incoming| {
            matches!(incoming, Incoming::Slice(..)).then_some(())
        })
        .await
        .unwrap();

    let unknown =
        |message: &&ServerMessage| matches!(message, ServerMessage::StemProgress { .. } | ServerMessage::Vram(_));
    assert_eq!(
        client.texts.iter().find(unknown),
        None,
        "an old client hears nothing new"
    );
    client.close().await.unwrap();
    assert_eq!(program.errors(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_knob_that_is_said_once_stays_turned() {
    let program = Program::start(&[]).unwrap();
    let mut client = Client::session(program.address(), &json!({}), &song(8.0))
        .await
        .unwrap();
    client.ready().await.unwrap();
    client
        .text(&json!({ "type": "params", "raw": { "denoise": 0.9 }, "playback_pos": 0.0 }))
        .await
        .unwrap();
    for beat in 0..100 {
        let raw = if beat == 50 { json!({ "seed": 5 }) } else { json!({}) };
        let position = f64::from(beat) * 0.02;
        client
            .text(&json!({ "type": "params", "raw": raw, "playback_pos": position }))
            .await
            .unwrap();
        let _ = tokio::time::timeout(std::time::Duration::from_millis(20), client.next()).await;
    }
    let turned =
        |message: &ServerMessage| matches!(message, ServerMessage::ParamsUpdate { params } if params["seed"] == 5.0);
    let update = client.message("an update with the new seed", turned).await.unwrap();
    let ServerMessage::ParamsUpdate { params } = update else {
        unreachable!("just matched")
    };
    assert_eq!(params["denoise"], 0.9, "heartbeats without it do not turn it back");
}
