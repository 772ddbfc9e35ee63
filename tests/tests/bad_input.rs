//! Bad input of every kind: each gets its answer, and none harms the session that plays.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use std::{collections::BTreeSet, time::Duration};

use greenroom_tests::{Client, GENERATORS, Program, WITHOUT_STEMS, post_track, song, upload, wav};
use greenroom_wire::{ErrorCode, PcmFrame, ServerMessage};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

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
    let mut live = Client::witness(program.address()).await.unwrap();
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
    for channels in [1, 3, 4] {
        let mut client = Client::connect(program.address()).await.unwrap();
        let header = json!({ "type": "upload_track", "name": format!("{channels} channels.wav") });
        client.text(&header).await.unwrap();
        client.audio(channels, &song(6.0)).await.unwrap();
        client
            .message("an answer", |message| {
                matches!(message, ServerMessage::UploadOk(track) if track.duration_s == 12.0 / f64::from(channels))
            })
            .await
            .unwrap();
    }
    live.still_plays().await.unwrap();
    assert_eq!(program.errors(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn first_frames_that_are_none_close_4003_and_touch_nobody() {
    let program = Program::start(&[]).unwrap();
    let mut live = Client::witness(program.address()).await.unwrap();
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
    live.still_plays().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_where_the_audio_is_due_is_answered_as_the_operation_that_failed() {
    let program = Program::start(&[]).unwrap();
    let mut live = Client::witness(program.address()).await.unwrap();

    let mut upload = Client::connect(program.address()).await.unwrap();
    let header = json!({ "type": "upload_track", "name": "a.wav" });
    upload.text(&header).await.unwrap();
    upload.text(&header).await.unwrap();
    let bad_audio = |message: &ServerMessage| matches!(message, ServerMessage::UploadFailed { code: ErrorCode::BadAudio, error } if error.contains("text"));
    upload.message("upload_failed", bad_audio).await.unwrap();
    assert_eq!(upload.closed().await.unwrap(), Some(1000));

    let mut session = Client::connect(program.address()).await.unwrap();
    session.text(&json!({ "client_id": "another" })).await.unwrap();
    session.text(&json!({ "type": "params", "raw": {} })).await.unwrap();
    let bad_audio = |message: &ServerMessage| matches!(message, ServerMessage::Error { code: ErrorCode::BadAudio, message, .. } if message.contains("text"));
    session.message("an error", bad_audio).await.unwrap();
    assert_eq!(session.closed().await.unwrap(), Some(1011));

    live.text(&json!({ "type": "swap_source", "fixture_name": "a.wav" }))
        .await
        .unwrap();
    // The playhead is told between a request and its audio, too; another request means that no audio comes.
    live.text(&json!({ "type": "params", "raw": {}, "playback_pos": 0.1 }))
        .await
        .unwrap();
    live.text(&json!({ "type": "set_depth", "value": 2 })).await.unwrap();
    let bad_audio = |message: &ServerMessage| {
        matches!(
            message,
            ServerMessage::SwapFailed {
                code: ErrorCode::BadAudio,
                ..
            }
        )
    };
    live.message("swap_failed", bad_audio).await.unwrap();
    live.still_plays().await.unwrap();
    assert_eq!(program.errors(), Vec::<String>::new());
}

/// One byte more than a frame may have, and the first bytes of audio that would fill it.
const TOO_LARGE: u64 = (256 << 20) + 1;

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_over_the_limit_is_closed_1009_before_it_comes_and_the_session_beside_it_plays_on() {
    let program = Program::start(&[]).unwrap();
    let mut live = Client::witness(program.address()).await.unwrap();
    let audio = [2_u32.to_le_bytes(), (32_u32 << 20).to_le_bytes()].concat();
    let beginnings = [
        None,
        Some(json!({ "type": "upload_track", "name": "large.wav" })),
        Some(json!({ "client_id": "large" })),
    ];
    for first in &beginnings {
        // Whole, and (as browsers send it) in pieces of which the first tells of the rest.
        for (bytes, is_final) in [(TOO_LARGE, true), (1 << 16, false)] {
            if first.is_none() && !is_final {
                continue;
            }
            let mut client = Client::connect(program.address()).await.unwrap();
            if let Some(first) = first {
                client.text(first).await.unwrap();
            }
            client.begin_frame(bytes, is_final, &audio).await.unwrap();
            assert_eq!(
                client.closed().await.unwrap(),
                Some(1009),
                "{bytes} bytes after {first:?}"
            );
        }
    }
    live.still_plays().await.unwrap();

    // From a live session it ends that session alone: the pod is there for the next.
    live.begin_frame(TOO_LARGE, true, &audio).await.unwrap();
    assert_eq!(live.closed().await.unwrap(), Some(1009));
    let mut next = Client::witness(program.address()).await.unwrap();
    next.still_plays().await.unwrap();
    assert_eq!(program.errors(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_frames_in_a_live_session_fail_their_operation_alone() {
    let program = Program::start(&[]).unwrap();
    let mut live = Client::witness(program.address()).await.unwrap();
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
    live.still_plays().await.unwrap();
}

/// Where a client vanishes.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Vanishes {
    Connected,
    FirstFrameSent,
    AudioBegun,
    AudioSent,
    /// So many milliseconds after the audio: the pod is at work on it.
    Later(u64),
}

const STEPS: [Vanishes; 7] = [
    Vanishes::Connected,
    Vanishes::FirstFrameSent,
    Vanishes::AudioBegun,
    Vanishes::AudioSent,
    Vanishes::Later(10),
    Vanishes::Later(40),
    Vanishes::Later(120),
];

async fn vanish(program: &Program, first: &Value, step: Vanishes) {
    let mut client = Client::connect(program.address()).await.unwrap();
    if step >= Vanishes::FirstFrameSent {
        client.text(first).await.unwrap();
    }
    let audio = PcmFrame::build(2, &song(3.0));
    match step {
        Vanishes::AudioBegun => {
            let half = &audio[..audio.len() / 2];
            client.begin_frame(audio.len() as u64, true, half).await.unwrap();
            // Until the pod has let it begin; the rest never comes.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Vanishes::AudioSent => client.binary(audio).await.unwrap(),
        Vanishes::Later(milliseconds) => {
            client.binary(audio).await.unwrap();
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        }
        Vanishes::Connected | Vanishes::FirstFrameSent => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploaders_that_vanish_at_every_step_leave_no_trace_and_the_session_plays_on() {
    let program = Program::start(&[]).unwrap();
    let mut live = Client::witness(program.address()).await.unwrap();
    for step in STEPS {
        vanish(&program, &json!({ "type": "upload_track", "name": "gone.wav" }), step).await;
    }
    vanish_from_post(&program).await;
    live.still_plays().await.unwrap();
    // Whatever was finished is a whole track, and nothing lies about beside them.
    let track = upload(program.address(), "after.wav", &song(2.0))
        .await
        .unwrap()
        .unwrap();
    let names = program.names("/api/user_uploads").unwrap();
    assert!(names.contains(&track.name), "{names:?}");
    for name in &names {
        assert!(
            ureq::get(program.url(&format!("/user_uploads/{name}").replace(' ', "%20")))
                .call()
                .is_ok()
        );
    }
    assert_eq!(std::fs::read_dir(program.data().join("tmp")).unwrap().count(), 0);
    assert_eq!(program.errors(), Vec::<String>::new());
}

/// Half of a file's body, and then nothing more.
async fn vanish_from_post(program: &Program) {
    let mut stream = TcpStream::connect(program.address()).await.unwrap();
    let request = "POST /api/tracks?name=gone.wav HTTP/1.1\r\nHost: pod\r\nContent-Length: 100000\r\n\r\nRIFF";
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_vanish_at_every_step_leave_the_seat_to_the_next() {
    for options in GENERATORS {
        let program = Program::start(options).unwrap();
        for step in STEPS {
            vanish(&program, &json!({ "client_id": "gone" }), step).await;
            let mut next = Client::witness(program.address()).await.unwrap();
            next.still_plays().await.unwrap();
            // In mid-swap.
            next.text(&json!({ "type": "swap_source", "fixture_name": "gone.wav" }))
                .await
                .unwrap();
            if step > Vanishes::AudioBegun {
                next.audio(2, &song(3.0)).await.unwrap();
            }
        }
        assert_eq!(program.errors(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_music_and_names_that_are_no_names() {
    let program = Program::start(&[]).unwrap();
    let mut live = Client::witness(program.address()).await.unwrap();
    let url = format!("http://{}", program.address());
    let refused = |name: &str, bytes: &[u8]| post_track(&url, name, bytes).unwrap().unwrap_err();
    let (status, why) = refused("notes.mp3", b"these are only words, whatever the name says");
    assert_eq!((status, why.code), (400, ErrorCode::BadAudio), "{}", why.error);
    assert_eq!(refused("empty.wav", b"").1.code, ErrorCode::BadAudio);
    live.still_plays().await.unwrap();
    assert_eq!(program.names("/api/user_uploads").unwrap(), Vec::<String>::new());
    assert_eq!(program.errors(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_become_labels_of_their_own_and_never_paths() {
    let program = Program::start(&WITHOUT_STEMS).unwrap();
    let mut live = Client::witness(program.address()).await.unwrap();
    let url = format!("http://{}", program.address());
    let (file, audio, long) = (wav(2, &song(1.0)).unwrap(), song(1.0), "x".repeat(300));
    let names = [
        "../../etc/passwd",
        "a/b\\c",
        "nul\0byte.wav",
        long.as_str(),
        "CON",
        "con.wav",
        "",
        ".hidden",
        "song.wav",
        // With a Cyrillic о, a full-width s and a joiner within: one would be taken for the other.
        "sоng.wav",
        "ｓong.wav",
        "so\u{200d}ng.wav",
        "\u{202e}gnp.wav",
    ];
    for name in names {
        let posted = post_track(&url, name, &file).unwrap().unwrap();
        let sent = upload(program.address(), name, &audio).await.unwrap().unwrap();
        for label in [&posted.name, &sent.name] {
            let hostile = |letter: char| letter.is_control() || "/\\\u{200d}\u{202e}".contains(letter);
            assert!(
                !label.is_empty() && !label.contains(hostile) && !label.starts_with('.') && label.len() <= 255,
                "{name:?} became {label:?}"
            );
            let stem = label.split('.').next().unwrap().to_lowercase();
            assert_ne!(stem, "con", "{name:?} is a device somewhere");
        }
    }
    let listed: BTreeSet<String> = program.names("/api/user_uploads").unwrap().into_iter().collect();
    assert_eq!(listed.len(), 2 * names.len(), "each got a name of its own: {listed:?}");
    assert!(
        listed.contains("song.wav") && listed.contains("song (2).wav"),
        "{listed:?}"
    );
    assert!(
        !listed.contains("sоng.wav") && !listed.contains("ｓong.wav"),
        "look-alikes are told apart: {listed:?}"
    );
    assert!(ureq::get(program.url("/user_uploads/..%2F..%2F.lock")).call().is_err());
    let folders = std::fs::read_dir(program.data().join("tracks")).unwrap();
    let folders: Vec<String> = folders
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(folders.len(), listed.len());
    let is_number = |folder: &String| folder.len() == 8 && folder.bytes().all(|byte| byte.is_ascii_digit());
    assert!(folders.iter().all(is_number), "no name is part of a path: {folders:?}");
    live.still_plays().await.unwrap();
    assert_eq!(program.errors(), Vec::<String>::new());
}
