//! Bad input of every kind: each gets its answer, and none harms the session that plays.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use greenroom_tests::{Client, Incoming, Program, post_track, song, upload};
use greenroom_wire::{ErrorCode, PcmFrame, ServerMessage};
use serde_json::json;

/// A live session that must go on whatever else happens.
async fn witness(program: &Program) -> Client {
    let mut client = Client::session(program.address(), &json!({ "client_id": "witness" }), &song(4.0))
        .await
        .unwrap();
    client.ready().await.unwrap();
    client
}

async fn still_plays(client: &mut Client) {
    client
        .text(&json!({ "type": "params", "raw": { "seed": 7, "denoise": 0.5 }, "playback_pos": 0.5 }))
        .await
        .unwrap();
    client
        .until("a slice", |incoming| {
            matches!(incoming, Incoming::Slice(..)).then_some(())
        })
        .await
        .unwrap();
}

async fn upload_frame(program: &Program, frame: Vec<u8>) -> ErrorCode {
    let mut client = Client::connect(program.address()).await.unwrap();
    client
        .text(&json!({ "type": "upload_track", "name": "bad.wav" }))
        .await
        .unwrap();
    client.binary(frame).await.unwrap();
    let answer = client
        .message("an answer", |message| {
            matches!(message, ServerMessage::UploadFailed { .. } | ServerMessage::UploadOk(_))
        })
        .await;
    match answer.unwrap() {
        ServerMessage::UploadFailed { code, error } => {
            assert!(error.len() > 10, "an error says what happened: {error}");
            code
        }
        other => panic!("bad audio is answered with {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_every_wrong_shape_are_refused_and_the_session_plays_on() {
    let program = Program::start(&[]).unwrap();
    let mut live = witness(&program).await;
    let good = PcmFrame::build(2, &song(2.0));
    let mut poisoned = song(2.0);
    poisoned[1000] = f32::NAN;
    let mut infinite = song(2.0);
    infinite[1000] = f32::INFINITY;
    let cases = [
        (good[..good.len() - 4].to_vec(), ErrorCode::BadAudio),
        ([good.clone(), vec![0; 8]].concat(), ErrorCode::BadAudio),
        (PcmFrame::build(0, &[]), ErrorCode::BadAudio),
        (PcmFrame::build(2, &[]), ErrorCode::TooShort),
        (vec![1, 2, 3], ErrorCode::BadAudio),
        (PcmFrame::build(2, &song(0.1)), ErrorCode::TooShort),
        (PcmFrame::build(2, &poisoned), ErrorCode::BadAudio),
        (PcmFrame::build(2, &infinite), ErrorCode::BadAudio),
    ];
    for (number, (frame, code)) in cases.into_iter().enumerate() {
        assert_eq!(upload_frame(&program, frame).await, code, "case {number}");
    }
    let many = PcmFrame::build(4, &song(4.0));
    let mut client = Client::connect(program.address()).await.unwrap();
    client
        .text(&json!({ "type": "upload_track", "name": "four.wav" }))
        .await
        .unwrap();
    client.binary(many).await.unwrap();
    client
        .message("an answer", |message| matches!(message, ServerMessage::UploadOk(_)))
        .await
        .unwrap();
    still_plays(&mut live).await;
    assert_eq!(program.errors(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn first_frames_that_are_none_close_4003_and_touch_nobody() {
    let program = Program::start(&[]).unwrap();
    let mut live = witness(&program).await;
    for first in ["", "[]", "null", "{", "hello"] {
        let mut client = Client::connect(program.address()).await.unwrap();
        client.raw_text(first).await.unwrap();
        assert_eq!(client.closed().await.unwrap(), Some(4003), "{first:?}");
    }
    let mut client = Client::connect(program.address()).await.unwrap();
    client.binary(vec![0; 64]).await.unwrap();
    assert_eq!(client.closed().await.unwrap(), Some(4003), "binary where a text is due");
    // A session whose audio is bad never touches the one that plays.
    let mut client = Client::connect(program.address()).await.unwrap();
    client.text(&json!({ "client_id": "bad" })).await.unwrap();
    client.binary(vec![9; 100]).await.unwrap();
    client
        .message("an error", |message| {
            matches!(
                message,
                ServerMessage::Error {
                    code: ErrorCode::BadAudio,
                    ..
                }
            )
        })
        .await
        .unwrap();
    assert_eq!(client.closed().await.unwrap(), Some(1011));
    still_plays(&mut live).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_frames_in_a_live_session_fail_their_operation_alone() {
    let program = Program::start(&[]).unwrap();
    let mut live = witness(&program).await;
    live.text(&json!({ "type": "swap_source", "fixture_name": "bad.wav" }))
        .await
        .unwrap();
    live.binary(vec![1; 50]).await.unwrap();
    live.message("swap_failed", |message| {
        matches!(message, ServerMessage::SwapFailed { .. })
    })
    .await
    .unwrap();
    live.text(&json!({ "type": "swap_source", "use_server_source": true, "fixture_name": "no such track" }))
        .await
        .unwrap();
    live.message("swap_failed", |message| {
        matches!(message, ServerMessage::SwapFailed { .. })
    })
    .await
    .unwrap();
    live.text(&json!({ "type": "set_timbre_source", "name": "a" }))
        .await
        .unwrap();
    live.audio(2, &song(2.0)).await.unwrap();
    live.message("timbre_failed", |message| {
        matches!(message, ServerMessage::TimbreFailed { .. })
    })
    .await
    .unwrap();
    live.binary(vec![7; 100]).await.unwrap();
    still_plays(&mut live).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_vanish_at_every_step_leave_no_trace() {
    let program = Program::start(&[]).unwrap();
    let mut live = witness(&program).await;
    for step in 0..6 {
        let mut client = Client::connect(program.address()).await.unwrap();
        if step >= 1 {
            client
                .text(&json!({ "type": "upload_track", "name": "gone.wav" }))
                .await
                .unwrap();
        }
        if step >= 2 {
            client.audio(2, &song(3.0)).await.unwrap();
        }
        if step >= 4 {
            tokio::time::sleep(std::time::Duration::from_millis(step * 10)).await;
        }
        drop(client);
    }
    still_plays(&mut live).await;
    assert_eq!(program.errors(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_music_and_names_that_are_no_names() {
    let program = Program::start(&[]).unwrap();
    let mut live = witness(&program).await;
    let url = format!("http://{}", program.address());
    let refused = |name: &str, bytes: &[u8]| post_track(&url, name, bytes).unwrap().unwrap_err();
    let (status, why) = refused("notes.mp3", b"these are only words, whatever the name says");
    assert_eq!((status, why.code), (400, ErrorCode::BadAudio), "{}", why.error);
    assert_eq!(refused("empty.wav", b"").1.code, ErrorCode::BadAudio);
    let mut wav = Vec::new();
    greenroom_audio::write_wav(
        &greenroom_audio::Pcm::new(48_000, 2, song(2.0)),
        greenroom_audio::WavFormat::Pcm16 { dither: false },
        &mut wav,
    )
    .unwrap();
    let mut torn = wav.clone();
    torn.truncate(30);
    assert_eq!(refused("torn.wav", &torn).1.code, ErrorCode::BadAudio);
    let long = "x".repeat(300);
    for name in [
        "../../etc/passwd",
        "a/b\\c",
        "nul\0byte.wav",
        long.as_str(),
        "CON",
        "",
        ".hidden",
        "sоng.wav",
        "\u{202e}gnp.wav",
    ] {
        let track = post_track(&url, name, &wav).unwrap().unwrap();
        assert!(
            !track.name.is_empty() && !track.name.contains(['/', '\\', '\0']) && track.name.len() <= 255,
            "{name:?} became {:?}",
            track.name
        );
    }
    let names = program.names("/api/user_uploads").unwrap();
    assert_eq!(names.len(), 9, "each got a name of its own: {names:?}");
    for file in program.audio_files() {
        assert!(file.starts_with(program.data()), "{} is outside", file.display());
    }
    still_plays(&mut live).await;
    assert_eq!(program.errors(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_minutes_are_trimmed_to_what_is_served() {
    let program = Program::start(&["--source-seconds-max", "20"]).unwrap();
    let track = upload(program.address(), "long.wav", &song(120.0))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((track.duration_s, track.samples), (20.0, 960_000));
}
