//! A client as the reference's: it knows none of the new messages and must meet none.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use greenroom_tests::{Client, Program, song, upload};
use greenroom_wire::ServerMessage;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn it_plays_uploads_swaps_and_turns_every_knob() {
    let program = Program::start(&[]).unwrap();
    let mut client = connects(&program).await;
    says_everything_that_it_knows(&mut client).await;
    hears_its_answers(&mut client).await;
    uploads_and_swaps_to_it(&program, &mut client).await;
    swaps_to_what_it_sends(&mut client).await;
    has_heard_nothing_new(&client);
    client.close().await.unwrap();
    assert_eq!(program.errors(), Vec::<String>::new());
}

/// Opens a session with every field that the reference's clients send.
async fn connects(program: &Program) -> Client {
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
    client
}

/// Sends a message of every kind, some that this pod cannot serve and one that is no JSON, and plays on.
async fn says_everything_that_it_knows(client: &mut Client) {
    let messages = [
        json!({ "type": "params", "raw": { "denoise": 0.7, "seed": 42, "hint_strength": 0.5, "ch_g0": 1.5, "no_such_knob": 1,
            "velocity_scale_curve": { "type": "raw", "values": [0, 1] } }, "playback_pos": 0.5 }),
        json!({ "type": "loop_band", "start_sec": 1.0, "end_sec": 4.0 }),
        json!({ "type": "set_prompt_blend", "value": 0.5 }),
        json!({ "type": "set_timbre_strength", "value": 0.5 }),
        json!({ "type": "from_the_future", "value": 0.5 }),
        json!({ "type": "set_depth", "value": 99 }),
        json!({ "type": "enable_lora", "id": "nobody" }),
        json!({ "type": "prompt", "tags": "dub techno", "key": "A minor", "time_signature": "3" }),
    ];
    for message in &messages {
        client.text(message).await.unwrap();
    }
    client.raw_text("{ this is not JSON").await.unwrap();
    client.still_plays().await.unwrap();
}

async fn hears_its_answers(client: &mut Client) {
    type IsIt = fn(&ServerMessage) -> bool;
    let answers: [(&str, IsIt); 4] = [
        (
            "prompt_applied",
            |message| matches!(message, ServerMessage::PromptApplied { tags } if tags == "dub techno"),
        ),
        ("depth_applied", |message| {
            matches!(message, ServerMessage::DepthApplied { .. })
        }),
        ("lora_catalog", |message| {
            matches!(message, ServerMessage::LoraCatalog { .. })
        }),
        ("params_update", |message| {
            matches!(message, ServerMessage::ParamsUpdate { .. })
        }),
    ];
    for (what, is_it) in answers {
        if !client.texts.iter().any(is_it) {
            client.message(what, is_it).await.unwrap();
        }
    }
}

async fn uploads_and_swaps_to_it(program: &Program, client: &mut Client) {
    let track = upload(program.address(), "next.wav", &song(6.0))
        .await
        .unwrap()
        .unwrap();
    let swap =
        json!({ "type": "swap_source", "use_server_source": true, "fixture_name": track.name, "tags": "ambient" });
    client.text(&swap).await.unwrap();
    client.ready().await.unwrap();
    client.still_plays().await.unwrap();
}

async fn swaps_to_what_it_sends(client: &mut Client) {
    let swap = json!({ "type": "swap_source", "fixture_name": "sent.wav", "stem_source_mode": "full" });
    client.text(&swap).await.unwrap();
    client.audio(2, &song(5.0)).await.unwrap();
    client.ready().await.unwrap();
    client.still_plays().await.unwrap();
}

fn has_heard_nothing_new(client: &Client) {
    let new = |message: &&ServerMessage| matches!(message, ServerMessage::StemProgress { .. } | ServerMessage::Vram(_));
    assert_eq!(client.texts.iter().find(new), None, "an old client hears nothing new");
    for text in &client.texts {
        let said = text.to_text();
        assert!(!said.contains("source_id"), "an old client hears nothing new: {said}");
    }
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

/// Turns one knob and gives what is in force by the next update.
async fn turned(client: &mut Client, raw: serde_json::Value, name: &str) -> f64 {
    let seed = client.texts.len();
    let mut raw = raw;
    raw["seed"] = json!(seed);
    client
        .text(&json!({ "type": "params", "raw": raw, "playback_pos": 0.5 }))
        .await
        .unwrap();
    let told = |message: &ServerMessage| matches!(message, ServerMessage::ParamsUpdate { params } if params["seed"] == json!(seed as f64));
    let ServerMessage::ParamsUpdate { params } = client.message("the update", told).await.unwrap() else {
        unreachable!("just matched")
    };
    params[name].as_f64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_too_small_to_count_do_not() {
    let program = Program::start(&[]).unwrap();
    let mut client = Client::session(program.address(), &json!({}), &song(8.0))
        .await
        .unwrap();
    client.ready().await.unwrap();
    for (hint, in_force) in [(0.99, 1.0), (0.5, 0.5), (0.51, 0.5), (0.52, 0.52)] {
        let told = turned(&mut client, json!({ "hint_strength": hint }), "hint_strength").await;
        assert_eq!(told, in_force, "hint_strength {hint}");
    }
    for (shift, in_force) in [(3.53, 3.5), (3.6, 3.6), (3.64, 3.6)] {
        assert_eq!(turned(&mut client, json!({ "shift": shift }), "shift").await, in_force);
    }
}
