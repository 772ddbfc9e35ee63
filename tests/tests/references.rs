//! Timbre and structure of other sources, on real sockets: the production generator from a tiny checkpoint, and the embedded one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use std::time::Duration;

use greenroom_tests::{Client, Program, WITHOUT_STEMS, song, tiny_checkpoint, upload};
use greenroom_wire::{ErrorCode, ServerMessage};
use serde_json::{Value, json};

const TRACK: &str = "track.wav";

/// What is heard once everything that was asked for has reached all of the source: 2 s, gone round with the playhead.
async fn heard(session: &mut Client) -> Vec<f32> {
    for step in 0..30 {
        let position = f64::from(step % 10) * 0.2;
        let knobs = json!({ "type": "params", "raw": { "denoise": 1.0, "seed": 3 }, "playback_pos": position });
        session.text(&knobs).await.unwrap();
        let until = tokio::time::Instant::now() + Duration::from_millis(200);
        while let Ok(incoming) = tokio::time::timeout_at(until, session.next()).await {
            incoming.unwrap();
        }
    }
    session.mirror.as_ref().unwrap().samples().to_vec()
}

/// How far apart, as a share of how loud.
fn apart(one: &[f32], other: &[f32]) -> f32 {
    let energy = |samples: &mut dyn Iterator<Item = f32>| samples.map(|sample| sample * sample).sum::<f32>();
    let difference = energy(&mut one.iter().zip(other).map(|(one, other)| one - other));
    (difference / energy(&mut one.iter().copied())).sqrt()
}

async fn answered(session: &mut Client, asked: &Value, answer: &str) -> ServerMessage {
    session.text(asked).await.unwrap();
    told(session, answer).await
}

/// The next answer to a timbre or structure, which must be this one.
async fn told(session: &mut Client, answer: &str) -> ServerMessage {
    let kind = |message: &ServerMessage| {
        serde_json::to_value(message).unwrap()["type"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let message = session
        .message(answer, |message| {
            let kind = kind(message);
            kind.starts_with("timbre_") || kind.starts_with("structure_")
        })
        .await
        .unwrap();
    assert_eq!(kind(&message), answer, "{message:?}");
    message
}

async fn swap(session: &mut Client) {
    session
        .text(&json!({ "type": "swap_source", "use_server_source": true, "fixture_name": TRACK, "stem_source_mode": "full" }))
        .await
        .unwrap();
    session.ready().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_borrowed_is_heard_outlives_a_swap_and_is_given_back() {
    let checkpoint = tiny_checkpoint().unwrap();
    let folder = checkpoint.path().to_string_lossy().into_owned();
    let acestep = ["--generator", "acestep", "--acestep-models-dir", &folder];
    let program = Program::start(&[&acestep[..], &WITHOUT_STEMS].concat()).unwrap();
    let track = upload(program.address(), TRACK, &song(2.0)).await.unwrap().unwrap();
    let mut session = Client::session_on(program.address(), TRACK, "me", None).await.unwrap();
    session.ready().await.unwrap();
    let own = heard(&mut session).await;
    let bytes = || program.metric(&["track_cache_bytes"]).unwrap();
    let cached = bytes();

    // Audio that is sent along: only what is taken of it stays.
    session
        .text(&json!({ "type": "set_timbre_source", "name": "a voice" }))
        .await
        .unwrap();
    session.audio(2, &song(3.0)).await.unwrap();
    let set = told(&mut session, "timbre_set").await;
    assert!(
        matches!(&set, ServerMessage::TimbreSet { name, duration } if name == "a voice" && *duration == 3.0),
        "{set:?}"
    );
    assert_eq!(program.names("/api/user_uploads").unwrap(), [TRACK]);
    assert_eq!(bytes(), cached);
    let timbre = heard(&mut session).await;
    assert!(apart(&own, &timbre) > 0.01, "{}", apart(&own, &timbre));

    // It stays with a prompt and with another source, and nothing is encoded for it again.
    let encoded = || program.metric(&["sources_total", r#"from="audio""#]).unwrap();
    let before = encoded();
    session
        .text(&json!({ "type": "prompt", "tags": "brass band" }))
        .await
        .unwrap();
    let applied =
        |message: &ServerMessage| matches!(message, ServerMessage::PromptApplied { tags } if tags == "brass band");
    session.message("the prompt", applied).await.unwrap();
    swap(&mut session).await;
    let prompted = heard(&mut session).await;
    assert!(apart(&timbre, &prompted) > 0.01, "{}", apart(&timbre, &prompted));
    assert_eq!(encoded(), before);

    // A structure beside it, of a track of the pod: of the one that plays it changes nothing.
    let fixture = json!({ "type": "set_structure_fixture", "name": TRACK });
    let set = answered(&mut session, &fixture, "structure_set").await;
    assert!(
        matches!(&set, ServerMessage::StructureSet { name, duration } if name == TRACK && *duration == track.duration_s),
        "{set:?}"
    );
    let same = heard(&mut session).await;
    assert!(apart(&prompted, &same) < 0.01, "{}", apart(&prompted, &same));
    session
        .text(&json!({ "type": "set_structure_source", "name": "" }))
        .await
        .unwrap();
    session.audio(1, &song(1.0)).await.unwrap();
    told(&mut session, "structure_set").await;
    let structure = heard(&mut session).await;
    assert!(apart(&same, &structure) > 0.01, "{}", apart(&same, &structure));

    // Given back, one after the other, it sounds as it did.
    answered(
        &mut session,
        &json!({ "type": "clear_structure_source" }),
        "structure_cleared",
    )
    .await;
    let cleared = heard(&mut session).await;
    assert!(apart(&same, &cleared) < 0.01, "{}", apart(&same, &cleared));
    answered(
        &mut session,
        &json!({ "type": "clear_timbre_source" }),
        "timbre_cleared",
    )
    .await;
    assert!(apart(&cleared, &heard(&mut session).await) > 0.01);
    assert_eq!(program.errors(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_borrowed_is_said_and_the_session_lives_on() {
    let checkpoint = tiny_checkpoint().unwrap();
    let folder = checkpoint.path().to_string_lossy().into_owned();
    let acestep = ["--generator", "acestep", "--acestep-models-dir", &folder];
    let program = Program::start(&[&acestep[..], &WITHOUT_STEMS].concat()).unwrap();
    let mut session = Client::session(program.address(), &json!({ "client_id": "me" }), &song(2.0))
        .await
        .unwrap();
    session.ready().await.unwrap();
    let code = |message: ServerMessage| match message {
        ServerMessage::TimbreFailed { code, .. } | ServerMessage::StructureFailed { code, .. } => code,
        other => panic!("{other:?} is no failure"),
    };
    let unknown = json!({ "type": "set_timbre_fixture", "name": "no such track" });
    assert_eq!(
        code(answered(&mut session, &unknown, "timbre_failed").await),
        ErrorCode::BadAudio
    );
    let source = json!({ "type": "set_structure_source", "name": "a" });
    session.text(&source).await.unwrap();
    session.audio(2, &song(0.5)).await.unwrap();
    assert_eq!(code(told(&mut session, "structure_failed").await), ErrorCode::TooShort);
    session.text(&source).await.unwrap();
    session.binary(vec![7; 100]).await.unwrap();
    assert_eq!(code(told(&mut session, "structure_failed").await), ErrorCode::BadAudio);
    answered(
        &mut session,
        &json!({ "type": "clear_structure_source" }),
        "structure_cleared",
    )
    .await;
    session.still_plays().await.unwrap();
    assert_eq!(program.errors(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_generators_say_that_they_lend_nothing() {
    for generator in ["spectral", "weighted"] {
        let options = [&["--generator", generator][..], &WITHOUT_STEMS].concat();
        let program = Program::start(&options).unwrap();
        upload(program.address(), TRACK, &song(2.0)).await.unwrap().unwrap();
        let mut session = Client::session_on(program.address(), TRACK, "me", None).await.unwrap();
        session.ready().await.unwrap();
        for kind in ["timbre", "structure"] {
            let fixture = json!({ "type": format!("set_{kind}_fixture"), "name": TRACK });
            let refused = answered(&mut session, &fixture, &format!("{kind}_failed")).await;
            let words = serde_json::to_string(&refused).unwrap();
            assert!(words.contains(generator), "{words}");
            let clear = json!({ "type": format!("clear_{kind}_source") });
            answered(&mut session, &clear, &format!("{kind}_cleared")).await;
        }
        session.still_plays().await.unwrap();
    }
}
