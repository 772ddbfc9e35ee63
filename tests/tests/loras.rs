//! LoRAs over the wire: listed, enabled, turned, heard, kept over a swap and taken out again, on a tiny ACE-Step of random weights.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use greenroom_tests::{Client, Program, song, tiny_checkpoint, tiny_lora, upload, weights_are_there};
use greenroom_wire::{
    ServerMessage,
    http::{LoraEntry, Loras},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A pod with the LoRAs `strange` and `stranger`, and half of a file.
struct Pod {
    program: Program,
    _checkpoint: TempDir,
    _loras: TempDir,
}

impl Pod {
    fn start() -> Self {
        let (checkpoint, loras) = (tiny_checkpoint().unwrap(), TempDir::new().unwrap());
        tiny_lora(&loras.path().join("strange.safetensors"), 1).unwrap();
        tiny_lora(&loras.path().join("stranger.safetensors"), 2).unwrap();
        let whole = std::fs::read(loras.path().join("strange.safetensors")).unwrap();
        std::fs::write(loras.path().join("half.safetensors"), &whole[..whole.len() / 2]).unwrap();
        let (models, folder) = (checkpoint.path().to_string_lossy(), loras.path().to_string_lossy());
        let options = [
            "--generator",
            "acestep",
            "--acestep-models-dir",
            &*models,
            "--lora-dir",
            &*folder,
        ];
        Self {
            program: Program::start(&options).unwrap(),
            _checkpoint: checkpoint,
            _loras: loras,
        }
    }

    async fn session(&self, config: Value) -> (Client, Vec<LoraEntry>) {
        let mut client = Client::session(self.program.address(), &config, &song(6.0))
            .await
            .unwrap();
        client.ready().await.unwrap();
        let ready = client.texts.iter().find_map(|text| match text {
            ServerMessage::Ready(ready) => Some(ready.lora_catalog.clone()),
            _ => None,
        });
        (client, ready.unwrap())
    }
}

fn states(catalogue: &[LoraEntry]) -> Vec<(&str, &str, f64)> {
    let state = |entry: &'_ LoraEntry| (entry.strength * 100.0).round() / 100.0;
    catalogue
        .iter()
        .map(|entry| (&*entry.id, &*entry.state, state(entry)))
        .collect()
}

/// Waits for a catalogue in which the LoRA has that state.
async fn becomes(client: &mut Client, id: &str, state: &str) -> Vec<LoraEntry> {
    let is_it = |catalog: &[LoraEntry]| catalog.iter().any(|entry| entry.id == id && entry.state == state);
    let told = client
        .message(
            "the catalogue",
            |message| matches!(message, ServerMessage::LoraCatalog { catalog } if is_it(catalog)),
        )
        .await;
    match told.unwrap() {
        ServerMessage::LoraCatalog { catalog } => catalog,
        other => panic!("{other:?} is no catalogue"),
    }
}

async fn turn(client: &mut Client, raw: Value) {
    let params = json!({ "type": "params", "raw": raw, "playback_pos": 0.5 });
    client.text(&params).await.unwrap();
}

/// The next `params_update` after a knob was turned: another seed each time tells that it is later.
async fn update(client: &mut Client) -> Value {
    let feedback_depth = 1 + client.texts.len() % 8;
    turn(client, json!({ "feedback_depth": feedback_depth })).await;
    let told = client.message("an update", |message| {
        matches!(message, ServerMessage::ParamsUpdate { params } if params["feedback_depth"] == json!(feedback_depth as f64))
    });
    match told.await.unwrap() {
        ServerMessage::ParamsUpdate { params } => serde_json::to_value(params).unwrap(),
        other => panic!("{other:?} is no update"),
    }
}

/// What the client holds of the band that is played, once all of it is of newer generations than those in flight now.
async fn settled(client: &mut Client) -> Vec<f32> {
    let generations = |value: &Value| value["num_gens"].as_f64().unwrap();
    let before = generations(&update(client).await);
    while generations(&update(client).await) < before + 12.0 {}
    for _ in 0..12 {
        client.slice().await.unwrap();
    }
    client.mirror.as_ref().unwrap().samples()[..2 * 48_000].to_vec()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    let squares: f32 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    (squares / a.len() as f32).sqrt()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_enabled_turned_kept_over_a_swap_and_disabled() {
    let pod = Pod::start();
    let (mut client, listed) = pod.session(json!({ "prompt": "dub techno", "steps": 4 })).await;
    let registered = [
        ("half", "failed", 1.0),
        ("strange", "registered", 0.8),
        ("stranger", "registered", 0.8),
    ];
    assert_eq!(states(&listed), registered);
    let problem = listed[0].error.clone().unwrap();
    assert!(problem.contains("half.safetensors"), "{problem}");

    client
        .text(&json!({ "type": "enable_lora", "id": "strange" }))
        .await
        .unwrap();
    let catalogue = becomes(&mut client, "strange", "enabled").await;
    assert!(catalogue[1].materialized_bytes > 1_000);
    assert_eq!(update(&mut client).await["lora_str_strange"], json!(0.8));
    turn(
        &mut client,
        json!({ "lora_str_strange": 0.81, "lora_str_stranger": 1.0 }),
    )
    .await;
    let told = update(&mut client).await;
    assert_eq!(told["lora_str_strange"], json!(0.8), "so small a move is none");
    assert_eq!(told.get("lora_str_stranger"), None, "only what is enabled is told");
    turn(&mut client, json!({ "lora_str_strange": 1.5 })).await;
    assert_eq!(update(&mut client).await["lora_str_strange"], json!(1.5));

    let swap = json!({ "type": "swap_source", "fixture_name": "sent.wav", "stem_source_mode": "full" });
    client.text(&swap).await.unwrap();
    client.audio(2, &song(5.0)).await.unwrap();
    client.ready().await.unwrap();
    assert_eq!(update(&mut client).await["lora_str_strange"], json!(1.5));

    client
        .text(&json!({ "type": "enable_lora", "id": "half" }))
        .await
        .unwrap();
    becomes(&mut client, "half", "failed").await;
    client
        .text(&json!({ "type": "disable_lora", "id": "strange" }))
        .await
        .unwrap();
    let catalogue = becomes(&mut client, "strange", "registered").await;
    assert_eq!(states(&catalogue), registered);
    assert_eq!(update(&mut client).await.get("lora_str_strange"), None);
    client.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_heard_while_it_is_enabled_and_no_longer() {
    let pod = Pod::start();
    let (mut client, _) = pod.session(json!({ "prompt": "dub techno", "steps": 4 })).await;
    client
        .text(&json!({ "type": "loop_band", "start_sec": 0.0, "end_sec": 1.0 }))
        .await
        .unwrap();
    turn(&mut client, json!({ "denoise": 0.9, "seed": 7 })).await;
    let without = settled(&mut client).await;
    let enable = json!({ "type": "enable_lora", "id": "strange", "strength": 1.0 });
    client.text(&enable).await.unwrap();
    becomes(&mut client, "strange", "enabled").await;
    let with = settled(&mut client).await;
    client
        .text(&json!({ "type": "disable_lora", "id": "strange" }))
        .await
        .unwrap();
    let again = settled(&mut client).await;
    let (heard, left) = (distance(&without, &with), distance(&without, &again));
    assert!(
        heard > 1e-4 && heard > 10.0 * left,
        "with it {heard:.1e} apart, after it {left:.1e}"
    );
}

/// Waits for the stems of a source.
async fn stems(client: &mut Client, whose: &str) {
    let are_they = |message: &ServerMessage| matches!(message, ServerMessage::StemAssets { fixture_name, .. } if fixture_name == whose);
    if !client.texts.iter().any(are_they) {
        client.message("stems", are_they).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_heard_again_after_a_rip_that_parked_the_weights() {
    assert!(weights_are_there(), "run `greenroom models fetch`");
    let pod = Pod::start();
    let config = json!({ "prompt": "dub techno", "steps": 4, "fixture_name": "own.wav", "stem_source_mode": "full" });
    let (mut client, _) = pod.session(config).await;
    stems(&mut client, "own.wav").await;
    client
        .text(&json!({ "type": "loop_band", "start_sec": 0.0, "end_sec": 1.0 }))
        .await
        .unwrap();
    turn(&mut client, json!({ "denoise": 0.9, "seed": 7 })).await;
    let without = settled(&mut client).await;
    let enable = json!({ "type": "enable_lora", "id": "strange", "strength": 1.0 });
    client.text(&enable).await.unwrap();
    becomes(&mut client, "strange", "enabled").await;
    let before = settled(&mut client).await;
    let parkings = || pod.program.metric(&["jobs_ended_total", r#"task="park""#]).unwrap();
    let parked = parkings();
    upload(pod.program.address(), "next.wav", &song(6.0))
        .await
        .unwrap()
        .unwrap();
    stems(&mut client, "next.wav").await;
    assert!(parkings() > parked, "nothing was parked");
    let after = settled(&mut client).await;
    let (heard, off) = (distance(&without, &before), distance(&before, &after));
    assert!(
        heard > 10.0 * off,
        "heard by {heard:.1e}, and after the rip {off:.1e} off"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_opens_with_those_it_names_and_passes_over_those_it_cannot_have() {
    let pod = Pod::start();
    let config = json!({
        "enabled_loras": ["stranger", "half", "nobody"], "lora_strengths": { "stranger": 0.5 }, "prompt": "dub techno",
    });
    let (mut client, listed) = pod.session(config).await;
    let expected = [
        ("half", "failed", 1.0),
        ("strange", "registered", 0.8),
        ("stranger", "enabled", 0.5),
    ];
    assert_eq!(states(&listed), expected);
    assert_eq!(update(&mut client).await["lora_str_stranger"], json!(0.5));

    let answer = ureq::get(pod.program.url("/api/loras")).call().unwrap();
    let loras: Loras = serde_json::from_str(&answer.into_body().read_to_string().unwrap()).unwrap();
    let ids: Vec<_> = loras.loras.iter().map(|entry| &*entry.id).collect();
    assert_eq!(ids, ["half", "strange", "stranger"]);
    assert!(loras.dir.is_some());
    assert_eq!(loras.loras[1].metadata.trigger_words, ["random 1"]);
    client.close().await.unwrap();
}
