//! What a generator keeps of stems is written beside them, and a later swap to one of them encodes nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use std::{fs, time::Duration};

use greenroom_tests::{Client, Program, song, upload, weights_are_there};
use greenroom_wire::{ServerMessage, StemState};
use serde_json::{Value, json};

const TRACK: &str = "kept.wav";

/// Uploads, and waits for the stems without a session.
async fn with_stems(options: &[&str]) -> Program {
    let program = Program::start(&[options, &["--uploads", "keep"]].concat()).unwrap();
    upload(program.address(), TRACK, &song(12.0)).await.unwrap().unwrap();
    let has_stems = || {
        program
            .manifest(TRACK)
            .is_ok_and(|(_, manifest)| manifest["stems"]["state"] == "ready")
    };
    for _ in 0..600 {
        if has_stems() {
            return program;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no stems: {}", program.log());
}

fn sidecars(program: &Program) -> Vec<String> {
    let (_, manifest) = program.manifest(TRACK).unwrap();
    let kinds = manifest["sidecars"].as_array().unwrap().iter();
    let mut kinds: Vec<String> = kinds
        .map(|sidecar| sidecar["kind"].as_str().unwrap().to_owned())
        .collect();
    kinds.sort();
    kinds
}

/// Plays all of the track, then each stem; gives how many were read from a sidecar and how many encoded.
async fn plays_all(program: &Program) -> (f64, f64) {
    let mut session = Client::session_on(program.address(), TRACK, "anyone", None)
        .await
        .unwrap();
    session.ready().await.unwrap();
    for mode in ["vocals", "instruments"] {
        let swap = json!({ "type": "swap_source", "use_server_source": true, "fixture_name": TRACK, "stem_source_mode": mode });
        session.text(&swap).await.unwrap();
        session.ready().await.unwrap();
        session.still_plays().await.unwrap();
    }
    let made = |from: &str| program.metric(&["sources_total", from]).unwrap();
    (made("sidecar"), made("audio"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_to_stems_after_a_restart_encodes_nothing() {
    assert!(weights_are_there(), "run `greenroom models fetch`");
    let weighted = ["--generator", "weighted", "--uploads", "keep"];
    let program = with_stems(&weighted[..2]).await;
    assert_eq!(sidecars(&program), ["instruments", "source", "vocals"]);
    let (code, data) = program.end().unwrap();
    assert_eq!(code, Some(0));
    let program = Program::start_in(data, &weighted).unwrap();
    assert_eq!(plays_all(&program).await, (3.0, 0.0));
    let (_, data) = program.end().unwrap();

    // One that was damaged is encoded anew, and one of the other stem's is never taken for it.
    let program = Program::start_in(data, &weighted).unwrap();
    let (folder, manifest) = program.manifest(TRACK).unwrap();
    let of = |kind: &str| {
        let sidecars = manifest["sidecars"].as_array().unwrap();
        let sidecar: &Value = sidecars.iter().find(|sidecar| sidecar["kind"] == kind).unwrap();
        folder.join(format!("sidecars/{kind}-{}.bin", sidecar["revision"]))
    };
    fs::copy(of("instruments"), of("vocals")).unwrap();
    assert_eq!(plays_all(&program).await, (2.0, 1.0));
    assert_eq!(program.errors(), Vec::<String>::new());
}

/// Where nothing is kept nothing is made: the embedded generator prepares a source quicker than it could be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_generator_that_keeps_nothing_costs_nothing() {
    assert!(weights_are_there(), "run `greenroom models fetch`");
    let program = with_stems(&[]).await;
    assert_eq!(sidecars(&program), Vec::<String>::new());
    assert_eq!(program.metric(&["jobs_started_total", "encode_stems"]).unwrap(), 0.0);
    // Phase 1 alone.
    assert_eq!(program.metric(&["sources_total"]).unwrap(), 1.0);
}

/// A wipe while stems are being encoded, or just before: nothing of them reaches the disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_wipe_while_stems_are_encoded_leaves_nothing() {
    assert!(weights_are_there(), "run `greenroom models fetch`");
    let program = Program::start(&["--generator", "weighted"]).unwrap();
    let config = json!({ "client_id": "owner", "wants": ["stem_progress"] });
    let mut owner = Client::session(program.address(), &config, &song(2.0)).await.unwrap();
    owner.ready().await.unwrap();
    upload(program.address(), "secret.wav", &song(60.0))
        .await
        .unwrap()
        .unwrap();
    let made = |message: &ServerMessage| matches!(message, ServerMessage::StemProgress { fixture_name, state: StemState::Saving, .. } if fixture_name == "secret.wav");
    owner.message("stems that are made", made).await.unwrap();
    owner.close().await.unwrap();
    let mut stranger = Client::session(program.address(), &json!({ "client_id": "stranger" }), &song(2.0))
        .await
        .unwrap();
    stranger.ready().await.unwrap();
    for _ in 0..20 {
        let left = fs::read_dir(program.data().join("tracks")).unwrap().count();
        assert_eq!(left, 0, "nothing of it comes back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(program.errors(), Vec::<String>::new());
}
