//! The production generator on real sockets, from a tiny checkpoint: what it plays, how its weights make room, and what is kept of a track.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use greenroom_tests::{Client, Program, song, tiny_checkpoint, upload, weights_are_there};
use greenroom_wire::ServerMessage;
use serde_json::json;

const TRACK: &str = "track.wav";
const EAGER: [&str; 4] = ["dit", "conditioner", "text_encoder", "vae"];

async fn swap(session: &mut Client, mode: &str) {
    session
        .text(&json!({ "type": "swap_source", "use_server_source": true, "fixture_name": TRACK, "stem_source_mode": mode }))
        .await
        .unwrap();
    session.ready().await.unwrap();
}

/// The phases of rips' turns, in the order in which the log has them.
fn phases(program: &Program) -> Vec<String> {
    let log = program.log();
    log.lines()
        .filter(|line| line.contains("stems_vram"))
        .filter_map(|line| {
            let names = ["before", "parked", "loaded", "separated", "released", "restored"];
            names
                .iter()
                .find(|name| line.contains(&format!("\"{name}\"")))
                .map(|name| (*name).to_owned())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_plays_on_while_its_weights_make_room_for_a_rip() {
    assert!(weights_are_there(), "run `greenroom models fetch`");
    let checkpoint = tiny_checkpoint().unwrap();
    let folder = checkpoint.path().to_string_lossy().into_owned();
    let program = Program::start(&["--generator", "acestep", "--acestep-models-dir", &folder]).unwrap();
    let source = song(6.0);
    let mut session = Client::session(program.address(), &json!({ "client_id": "me" }), &source)
        .await
        .unwrap();
    session.ready().await.unwrap();
    let generations = session.generation_after(0).await.unwrap();
    let mirror = session.mirror.as_ref().unwrap().samples();
    assert_eq!(mirror.len(), source.len());
    assert!(mirror != source, "what is heard is generated");

    let track = upload(program.address(), TRACK, &song(10.0)).await.unwrap().unwrap();
    assert!(track.stems_pending, "the weights are fetched before this test runs");
    let are_its_stems = |message: &ServerMessage| matches!(message, ServerMessage::StemAssets { fixture_name, .. } if fixture_name == TRACK);
    session.message("the stems", are_its_stems).await.unwrap();
    session.generation_after(generations).await.unwrap();

    // Parked before the separator came, and back when it was gone: again and again.
    let phases = phases(&program);
    for (index, phase) in phases.iter().enumerate() {
        match phase.as_str() {
            "loaded" => assert_eq!(phases[index - 1], "parked", "{phases:?}"),
            "restored" => assert_eq!(phases[index - 1], "released", "{phases:?}"),
            _ => {}
        }
    }
    assert!(phases.iter().any(|phase| phase == "restored"), "{phases:?}");
    for group in EAGER {
        let label = format!(r#"group="{group}""#);
        assert_eq!(program.metric(&["group_resident", &label]).unwrap(), 1.0, "{group}");
    }
    assert!(program.metric(&["tick_pauses_total"]).unwrap() >= 1.0);

    // All of it was encoded once; what swaps play is read back.
    let encoded = |from: &str| {
        program
            .metric(&["sources_total", &format!(r#"from="{from}""#)])
            .unwrap()
    };
    let before = encoded("audio");
    for mode in ["full", "vocals", "instruments"] {
        swap(&mut session, mode).await;
        session.generation_after(0).await.unwrap();
    }
    assert_eq!(encoded("audio"), before, "swaps encode nothing");
    assert_eq!(program.errors(), Vec::<String>::new());
}

#[test]
fn a_folder_without_a_checkpoint_is_named_before_anything_listens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_string_lossy().into_owned();
    let Err(error) = Program::start(&["--generator", "acestep", "--acestep-models-dir", &path]) else {
        panic!("a pod without its generator serves")
    };
    let error = format!("{error:#}");
    assert!(error.contains(&path), "{error}");
}
