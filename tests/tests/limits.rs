//! Limits, keys, origins, and machines that lack something.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use greenroom_tests::{Client, Program, post_track, song, upload};
use greenroom_wire::{ErrorCode, ServerMessage};
use serde_json::json;
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_nothing_but_the_page_and_health_answers() {
    let program = Program::start(&["--api-key", "sesame"]).unwrap();
    let mut stranger = Client::connect(program.address()).await.unwrap();
    assert_eq!(
        stranger.closed().await.unwrap(),
        Some(1008),
        "upgraded first, then closed: browsers cannot see a 401"
    );
    assert!(ureq::get(program.url("/api/user_uploads")).call().is_err());
    assert!(ureq::get(program.url("/healthz")).call().is_ok());
    assert!(ureq::get(program.url("/api/user_uploads?apiKey=sesame")).call().is_ok());
    let mut friend = Client::connect_with(program.address(), &[("path", "/ws?apiKey=sesame")])
        .await
        .unwrap();
    friend.text(&json!({ "client_id": "friend" })).await.unwrap();
    friend.audio(2, &song(2.0)).await.unwrap();
    friend.ready().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_origins_are_refused_unless_listed() {
    let program = Program::start(&["--allowed-origins", "https://friend.example"]).unwrap();
    let mut stranger = Client::connect_with(program.address(), &[("origin", "https://stranger.example")])
        .await
        .unwrap();
    assert_eq!(stranger.closed().await.unwrap(), Some(1008));
    let mut friend = Client::connect_with(program.address(), &[("origin", "https://friend.example")])
        .await
        .unwrap();
    friend.text(&json!({})).await.unwrap();
    friend.audio(2, &song(2.0)).await.unwrap();
    friend.ready().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_tracks_and_the_data_directory_have_limits() {
    let program = Program::start(&["--body-mb-max", "1", "--tracks-max", "2", "--data-gb-max", "0.01"]).unwrap();
    let (status, why) = post_track(&format!("http://{}", program.address()), "big.wav", &vec![0; 2 << 20])
        .unwrap()
        .unwrap_err();
    assert_eq!(status, 413, "{}", why.error);
    let refused = upload(program.address(), "does not fit.wav", &song(60.0))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(refused.code, ErrorCode::DiskFull, "{}", refused.error);
    for name in ["a.wav", "b.wav"] {
        upload(program.address(), name, &song(2.0)).await.unwrap().unwrap();
    }
    let refused = upload(program.address(), "c.wav", &song(2.0))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(refused.code, ErrorCode::DiskFull, "{}", refused.error);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_weights_plays_without_stems() {
    let empty = TempDir::new().unwrap();
    let models = empty.path().to_str().unwrap();
    let program = Program::start(&["--models-dir", models]).unwrap();
    let track = upload(program.address(), "a.wav", &song(3.0)).await.unwrap().unwrap();
    assert!(!track.stems_pending);
    let mut session = Client::session_on(program.address(), "a.wav", "me", None)
        .await
        .unwrap();
    session.ready().await.unwrap();
    session.text(&json!({ "type": "swap_source", "use_server_source": true, "fixture_name": "a.wav", "stem_source_mode": "vocals" })).await.unwrap();
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
                code: ErrorCode::StemExtractFailed,
                ..
            }
        ),
        "{failed:?}"
    );

    // Those that are not what they should be are said to be so, and are as good as none.
    let corrupted = [b"garbage".to_vec(), Vec::new(), vec![0; 20_000_000]];
    for content in corrupted {
        std::fs::write(empty.path().join("spleeter-2stems.safetensors"), content).unwrap();
        let program = Program::start(&["--models-dir", models]).unwrap();
        assert!(program.log().contains("damaged"), "{}", program.log());
        let track = upload(program.address(), "a.wav", &song(3.0)).await.unwrap().unwrap();
        assert!(!track.stems_pending);
        Client::witness(program.address())
            .await
            .unwrap()
            .still_plays()
            .await
            .unwrap();
        assert_eq!(program.errors(), Vec::<String>::new());
    }
}

#[test]
fn a_port_that_is_taken_and_a_directory_that_cannot_be_used_are_said_clearly() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let Err(error) = Program::start(&["--port", &port]) else {
        panic!("the port is taken")
    };
    let error = format!("{error:#}");
    for words in ["exit status: 1", "cannot listen", "--port"] {
        assert!(error.contains(words), "{error}");
    }

    let file = tempfile::NamedTempFile::new().unwrap();
    let Err(error) = Program::start(&["--data-dir", file.path().to_str().unwrap()]) else {
        panic!("that is a file")
    };
    let error = format!("{error:#}");
    for words in ["exit status: 1", "data directory"] {
        assert!(error.contains(words), "{error}");
    }
}
