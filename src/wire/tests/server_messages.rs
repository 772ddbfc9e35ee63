//! What the server says, field by field as the protocol names it: clients that were written for it read nothing else.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its own examples must stop")]

use std::collections::BTreeMap;

use greenroom_wire::{
    CloseCode, ErrorCode, Reaction, Ready, ServerMessage, StemState, UploadOk, Vram, VramEngine, VramGroup,
    http::{LoraEntry, LoraMetadata, Loras, ServerInfo},
};
use serde_json::{Value, json};

/// The message's text is that object, and that object is read as the message.
fn is(message: ServerMessage, object: Value) {
    assert_eq!(serde_json::from_str::<Value>(&message.to_text()).unwrap(), object);
    assert_eq!(serde_json::from_value::<ServerMessage>(object).unwrap(), message);
}

fn lora() -> (LoraEntry, Value) {
    let entry = LoraEntry {
        id: "dub".into(),
        name: "Dub".into(),
        path: "loras/dub.safetensors".into(),
        state: "registered".into(),
        strength: 0.5,
        materialized_bytes: 7,
        error: None,
        metadata: LoraMetadata {
            id: "dub".into(),
            base_model_scale: Some("2B".into()),
            ..LoraMetadata::default()
        },
    };
    let object = json!({
        "id": "dub", "name": "Dub", "path": "loras/dub.safetensors", "state": "registered", "strength": 0.5, "materialized_bytes": 7,
        "metadata": {
            "id": "dub", "name": "", "description": "", "primary_trigger_word": "", "trigger_words": [],
            "recommended_strength": null, "recommended_steps": null, "recommended_shift": null, "recommended_guidance": null,
            "primary_genre": "", "secondary_genres": [], "tags": [], "moods": [], "base_model": "", "base_model_scale": "2B",
            "has_metadata": false,
        },
    });
    (entry, object)
}

#[test]
fn a_session_starts_with_every_field_of_ready() {
    let (entry, object) = lora();
    let ready = Ready {
        duration: 119.8,
        sample_rate: 48_000,
        channels: 2,
        lora_dir: None,
        lora_catalog: vec![entry],
        lora_pending_enable: vec!["dub".into()],
        bpm: 120,
        key: "F# minor".into(),
        time_signature: "4".into(),
        checkpoint: "none".into(),
        checkpoint_scale: None,
        pipeline_depth: 4,
        max_pipeline_depth: 8,
        session_id: "7".into(),
        source_id: Some("3".into()),
    };
    is(
        ServerMessage::Ready(ready),
        json!({
            "type": "ready", "duration": 119.8, "sample_rate": 48000, "channels": 2, "lora_dir": null, "lora_catalog": [object],
            "lora_pending_enable": ["dub"], "bpm": 120, "key": "F# minor", "time_signature": "4", "checkpoint": "none",
            "checkpoint_scale": null, "pipeline_depth": 4, "max_pipeline_depth": 8, "session_id": "7",
            "source_id": "3",
        }),
    );
}

#[test]
fn a_refusal_carries_what_it_knows_and_nothing_else() {
    let error = |build_command: Option<&str>, duration_s| ServerMessage::Error {
        code: ErrorCode::EngineNotBuilt,
        message: "m".into(),
        build_command: build_command.map(str::to_owned),
        duration_s,
    };
    is(
        error(None, None),
        json!({"type": "error", "code": "engine_not_built", "message": "m"}),
    );
    is(
        error(Some("build"), Some(240.0)),
        json!({"type": "error", "code": "engine_not_built", "message": "m", "build_command": "build", "duration_s": 240.0}),
    );
}

#[test]
fn error_codes_have_the_protocols_words() {
    let words = [
        (ErrorCode::UnsupportedTrtCheckpoint, "unsupported_trt_checkpoint"),
        (ErrorCode::EngineNotBuilt, "engine_not_built"),
        (ErrorCode::StemExtractFailed, "stem_extract_failed"),
        (ErrorCode::BadAudio, "bad_audio"),
        (ErrorCode::TooLong, "too_long"),
        (ErrorCode::TooShort, "too_short"),
        (ErrorCode::OutOfMemory, "out_of_memory"),
        (ErrorCode::Busy, "busy"),
        (ErrorCode::DiskFull, "disk_full"),
        (ErrorCode::DeviceLost, "device_lost"),
        (ErrorCode::Superseded, "superseded"),
        (ErrorCode::Internal, "internal"),
    ];
    for (code, word) in words {
        assert_eq!(serde_json::to_value(code).unwrap(), json!(word));
    }
}

#[test]
fn a_swap_and_its_stems() {
    is(
        ServerMessage::SwapReady {
            duration: 60.0,
            sample_rate: 48_000,
            channels: 2,
            bpm: 90,
            key: "C major".into(),
            time_signature: "3".into(),
            fixture_name: "song.wav".into(),
            source_id: None,
        },
        json!({"type": "swap_ready", "duration": 60.0, "sample_rate": 48000, "channels": 2, "bpm": 90, "key": "C major",
            "time_signature": "3", "fixture_name": "song.wav"}),
    );
    is(
        ServerMessage::SwapFailed {
            error: "e".into(),
            code: ErrorCode::Superseded,
            build_command: None,
        },
        json!({"type": "swap_failed", "error": "e", "code": "superseded"}),
    );
    let index: Value = serde_json::from_str(include_str!("vectors/index.json")).unwrap();
    is(
        ServerMessage::StemAssets {
            fixture_name: "song.wav".into(),
            source_id: None,
            sample_rate: 48_000,
            channels: 2,
            frames: 9_600,
            stems: vec!["vocals".into(), "instruments".into()],
            source_mode: String::new(),
        },
        index["texts"]["stem_assets_late"].clone(),
    );
    is(
        ServerMessage::StemFailed {
            fixture_name: "song.wav".into(),
            source_id: Some("3".into()),
            error: "e".into(),
            code: ErrorCode::StemExtractFailed,
        },
        json!({"type": "stem_failed", "fixture_name": "song.wav", "source_id": "3", "error": "e", "code": "stem_extract_failed"}),
    );
    is(
        ServerMessage::StemProgress {
            fixture_name: "song.wav".into(),
            source_id: None,
            done: 1,
            total: 11,
            state: StemState::Ripping,
        },
        json!({"type": "stem_progress", "fixture_name": "song.wav", "done": 1, "total": 11, "state": "ripping"}),
    );
}

#[test]
fn an_upload_is_answered() {
    is(
        ServerMessage::UploadOk(UploadOk {
            name: "song.wav".into(),
            bpm: 120,
            key: "A minor".into(),
            time_signature: "4".into(),
            duration_s: 2.0,
            samples: 96_000,
            stems_pending: true,
        }),
        json!({"type": "upload_ok", "name": "song.wav", "bpm": 120, "key": "A minor", "time_signature": "4", "duration_s": 2.0,
            "samples": 96000, "stems_pending": true}),
    );
    is(
        ServerMessage::UploadFailed {
            error: "e".into(),
            code: ErrorCode::BadAudio,
        },
        json!({"type": "upload_failed", "error": "e", "code": "bad_audio"}),
    );
}

#[test]
fn answers_to_live_messages() {
    let (name, error, code) = ("n".to_owned(), "e".to_owned(), ErrorCode::Internal);
    let params = BTreeMap::from([("num_gens".to_owned(), json!(3)), ("_prompt".to_owned(), json!("dub"))]);
    let raw = BTreeMap::from([("denoise".to_owned(), json!(0.5))]);
    let (entry, object) = lora();
    let answers = [
        (
            ServerMessage::ParamsUpdate { params },
            json!({"type": "params_update", "params": {"num_gens": 3, "_prompt": "dub"}}),
        ),
        (
            ServerMessage::ParamsEcho { raw },
            json!({"type": "params_echo", "raw": {"denoise": 0.5}}),
        ),
        (
            ServerMessage::PromptBlendEcho { value: 0.5 },
            json!({"type": "prompt_blend_echo", "value": 0.5}),
        ),
        (
            ServerMessage::PromptApplied { tags: "dub".into() },
            json!({"type": "prompt_applied", "tags": "dub"}),
        ),
        (
            ServerMessage::DepthApplied { value: 2 },
            json!({"type": "depth_applied", "value": 2}),
        ),
        (
            ServerMessage::LoraCatalog { catalog: vec![entry] },
            json!({"type": "lora_catalog", "catalog": [object]}),
        ),
        (
            ServerMessage::TimbreSet {
                name: name.clone(),
                duration: 1.5,
            },
            json!({"type": "timbre_set", "name": "n", "duration": 1.5}),
        ),
        (ServerMessage::TimbreCleared, json!({"type": "timbre_cleared"})),
        (
            ServerMessage::TimbreFailed {
                error: error.clone(),
                code,
            },
            json!({"type": "timbre_failed", "error": "e", "code": "internal"}),
        ),
        (
            ServerMessage::StructureSet { name, duration: 1.5 },
            json!({"type": "structure_set", "name": "n", "duration": 1.5}),
        ),
        (ServerMessage::StructureCleared, json!({"type": "structure_cleared"})),
        (
            ServerMessage::StructureFailed { error, code },
            json!({"type": "structure_failed", "error": "e", "code": "internal"}),
        ),
    ];
    for (message, object) in answers {
        is(message, object);
    }
}

#[test]
fn who_is_on_the_device() {
    let mut vram = Vram {
        phase: "parked".into(),
        groups: vec![VramGroup {
            name: "dit".into(),
            state: "parked".into(),
            bytes: 5,
        }],
        engines: Vec::new(),
        budget_bytes: 10,
        workspace_bytes: 1,
        resident_bytes: 0,
    };
    let mut expected = json!({"type": "vram", "phase": "parked", "groups": [{"name": "dit", "state": "parked", "bytes": 5}],
        "budget_bytes": 10, "workspace_bytes": 1, "resident_bytes": 0});
    is(ServerMessage::Vram(vram.clone()), expected.clone());
    vram.engines.push(VramEngine {
        component: "decoder".into(),
        name: "decoder-60".into(),
        bytes: 3,
    });
    expected["engines"] = json!([{"component": "decoder", "name": "decoder-60", "bytes": 3}]);
    is(ServerMessage::Vram(vram), expected);
}

#[test]
fn bodies_of_the_routes() {
    let info = ServerInfo {
        no_backend: false,
        kiosk: false,
        default_mode: None,
        warmup: None,
        server_side_fixtures: vec!["a.wav".into()],
    };
    assert_eq!(
        serde_json::to_value(info).unwrap(),
        json!({"no_backend": false, "kiosk": false, "default_mode": null, "warmup": null, "server_side_fixtures": ["a.wav"]})
    );
    let (entry, object) = lora();
    let loras = Loras {
        dir: None,
        extra_dirs: Vec::new(),
        checkpoint: "none".into(),
        checkpoint_scale: None,
        loras: vec![entry],
    };
    assert_eq!(
        serde_json::to_value(loras).unwrap(),
        json!({"dir": null, "extra_dirs": [], "checkpoint": "none", "checkpoint_scale": null, "loras": [object]})
    );
}

#[test]
fn close_codes_are_a_closed_set_and_a_takeover_is_final() {
    let numbers = CloseCode::ALL.map(CloseCode::number);
    assert_eq!(numbers, [1000, 1001, 1008, 1009, 1011, 4001, 4002, 4003]);
    for code in CloseCode::ALL {
        assert_eq!(CloseCode::numbered(code.number()), Some(code));
        assert!(code.reason().len() <= 123, "a close frame has no room for more");
    }
    for stranger in [0, 1005, 1006, 3000, 4000, 4004] {
        assert_eq!(CloseCode::numbered(stranger), None);
    }
    let reconnecting = CloseCode::ALL
        .into_iter()
        .filter(|code| code.reaction() == Reaction::Reconnect);
    assert_eq!(
        reconnecting.collect::<Vec<_>>(),
        [CloseCode::GoingAway, CloseCode::Broken, CloseCode::Stalled]
    );
}
