//! Whose uploads they are: a reload keeps them, another client finds none, and a wipe is final.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use std::time::Duration;

use greenroom_tests::{Client, GENERATORS, Program, song, upload, weights_are_there};
use greenroom_wire::ServerMessage;
use serde_json::json;

/// What is in a directory of the pod's data.
fn names_in(program: &Program, directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(program.data().join(directory)).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_the_upload_and_another_client_finds_none() {
    for options in GENERATORS {
        let program = Program::start(options).unwrap();
        let mut first = Client::session(program.address(), &json!({ "client_id": "owner" }), &song(2.0))
            .await
            .unwrap();
        first.ready().await.unwrap();
        upload(program.address(), "mine.wav", &song(10.0))
            .await
            .unwrap()
            .unwrap();
        first.close().await.unwrap();

        let mut reloaded = Client::session_on(program.address(), "mine.wav", "owner", None)
            .await
            .unwrap();
        reloaded.ready().await.unwrap();
        assert_eq!(program.names("/api/user_uploads").unwrap(), ["mine.wav"]);
        reloaded.close().await.unwrap();

        let mut stranger = Client::session(program.address(), &json!({ "client_id": "stranger" }), &song(2.0))
            .await
            .unwrap();
        stranger.ready().await.unwrap();
        assert_eq!(program.names("/api/user_uploads").unwrap(), Vec::<String>::new());
        assert_eq!(names_in(&program, "tracks"), Vec::<String>::new(), "wiped before ready");
        assert_eq!(program.errors(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wipe_in_mid_rip_leaves_nothing_on_disk() {
    assert!(weights_are_there(), "run `greenroom models fetch`");
    for options in GENERATORS {
        let program = Program::start(options).unwrap();
        let config = json!({ "client_id": "owner", "wants": ["stem_progress"] });
        let mut owner = Client::session(program.address(), &config, &song(2.0)).await.unwrap();
        owner.ready().await.unwrap();
        upload(program.address(), "secret.wav", &song(120.0))
            .await
            .unwrap()
            .unwrap();
        let begun = |message: &ServerMessage| matches!(message, ServerMessage::StemProgress { fixture_name, done: 1.., .. } if fixture_name == "secret.wav");
        owner.message("a rip under way", begun).await.unwrap();
        owner.close().await.unwrap();

        let mut stranger = Client::session(program.address(), &json!({ "client_id": "stranger" }), &song(2.0))
            .await
            .unwrap();
        stranger.ready().await.unwrap();
        assert_eq!(names_in(&program, "tracks"), Vec::<String>::new());
        // Nothing of the rip that was under way comes back.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(names_in(&program, "tracks"), Vec::<String>::new());
        assert_eq!(names_in(&program, "tmp"), Vec::<String>::new());
        assert_eq!(program.errors(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_uploads_survive_a_restart_and_owed_stems_are_made() {
    assert!(weights_are_there(), "run `greenroom models fetch`");
    for options in GENERATORS {
        let options = [options, &["--uploads", "keep"]].concat();
        let program = Program::start(&options).unwrap();
        upload(program.address(), "kept.wav", &song(20.0))
            .await
            .unwrap()
            .unwrap();
        let (code, data) = program.end().unwrap();
        assert_eq!(code, Some(0));
        let program = Program::start_in(data, &options).unwrap();
        assert_eq!(program.names("/api/user_uploads").unwrap(), ["kept.wav"]);
        let mut session = Client::session_on(program.address(), "kept.wav", "anyone", Some("vocals"))
            .await
            .unwrap();
        session.ready().await.unwrap();
        assert!(
            program
                .audio_files()
                .iter()
                .any(|file| file.ends_with("stems/vocals.wav"))
        );
        let (code, _) = program.end().unwrap();
        assert_eq!(code, Some(0));
    }
}
