//! Readers of whatever a socket brings: no bytes make them panic, and what they let through is within its range.

use greenroom_wire::{ClientMessage, FirstFrame, PcmFrame, fuzz, knobs};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Types and fields that the protocol has, so that random objects reach past the first look.
const TYPES: [&str; 18] = [
    "params",
    "loop_band",
    "prompt",
    "set_prompt_blend",
    "set_depth",
    "enable_lora",
    "disable_lora",
    "set_timbre_strength",
    "set_timbre_source",
    "set_structure_source",
    "set_timbre_fixture",
    "set_structure_fixture",
    "clear_timbre_source",
    "clear_structure_source",
    "swap_source",
    "upload_track",
    "session",
    "",
];
const FIELDS: [&str; 25] = [
    "raw",
    "playback_pos",
    "start_sec",
    "end_sec",
    "tags",
    "tags_b",
    "key",
    "time_signature",
    "value",
    "id",
    "strength",
    "name",
    "fixture_name",
    "stem_source_mode",
    "use_server_source",
    "sde",
    "depth",
    "steps",
    "walk_window_s",
    "enabled_loras",
    "lora_strengths",
    "prompt",
    "client_id",
    "wants",
    "use_server_fixture",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["full", "vocals", "4", "constant", "raw", "off"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(
                prop::sample::select(vec!["type", "value", "values", "denoise"]),
                inner,
                0..4
            )
            .prop_map(|fields| fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

fn message() -> impl Strategy<Value = Value> {
    let fields = prop::collection::btree_map(prop::sample::select(FIELDS.to_vec()), value(), 0..8);
    (prop::sample::select(TYPES.to_vec()), fields).prop_map(|(kind, fields)| {
        let mut object: Map<String, Value> = fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        object.insert("type".into(), kind.into());
        Value::Object(object)
    })
}

fn raw_knobs() -> impl Strategy<Value = Map<String, Value>> {
    let names: Vec<String> = knobs::KNOBS
        .iter()
        .map(|knob| knob.name.to_owned())
        .chain(["lora_str_a", "lora_str_", "nonsense"].map(str::to_owned))
        .collect();
    prop::collection::btree_map(prop::sample::select(names), value(), 0..12)
        .prop_map(|knobs| knobs.into_iter().collect())
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        fuzz::text_frame(&bytes);
        fuzz::pcm_frame(&bytes);
        fuzz::slice_frame(&bytes);
        fuzz::mirror(&bytes);
        fuzz::server_message(&bytes);
        fuzz::raw_knobs(&bytes);
    }

    #[test]
    fn no_object_makes_a_reader_panic(message in message()) {
        let text = message.to_string();
        fuzz::text_frame(text.as_bytes());
        // Any object is a valid first frame: an upload, or a session with its defaults.
        prop_assert!(FirstFrame::parse(&text).is_ok());
        let unknown = matches!(message["type"].as_str(), Some("upload_track" | "session" | ""));
        prop_assert!(!unknown || ClientMessage::parse(&text).is_err());
    }

    #[test]
    fn a_message_cut_anywhere_is_passed_over(message in message(), at in 0_usize..2_000) {
        let text = message.to_string();
        let at = at % text.len();
        if text.is_char_boundary(at) {
            prop_assert!(ClientMessage::parse(&text[..at]).is_err());
            prop_assert!(FirstFrame::parse(&text[..at]).is_err());
        }
    }

    #[test]
    fn every_knob_is_within_its_range_or_counted(raw in raw_knobs()) {
        fuzz::raw_knobs(Value::from(raw).to_string().as_bytes());
    }

    #[test]
    fn audio_of_any_channels_is_read_as_its_first_two(channels in 1_u32..6, frames in 1_usize..50) {
        let samples: Vec<f32> = (0..frames * channels as usize).map(|at| at as f32).collect();
        let frame = PcmFrame::parse(&PcmFrame::build(channels, &samples));
        let kept = channels.min(2) as usize;
        let expected: Vec<f32> = samples.chunks(channels as usize).flat_map(|frame| frame[..kept].to_vec()).collect();
        prop_assert_eq!(frame.map(|frame| (usize::from(frame.channels), frame.samples)), Ok((kept, expected)));
    }

    #[test]
    fn a_lying_header_is_refused(
        channels in prop_oneof![0_u32..4, any::<u32>()],
        frames in prop_oneof![0_u32..4, any::<u32>()],
        body in (0_usize..12, 0_usize..4).prop_map(|(words, rest)| words * 4 + rest / 3),
    ) {
        let bytes = [&channels.to_le_bytes()[..], &frames.to_le_bytes(), &vec![0; body]].concat();
        let honest = u128::from(channels) * u128::from(frames) * 4 == body as u128 && channels > 0 && frames > 0;
        prop_assert_eq!(PcmFrame::parse(&bytes).is_ok(), honest);
    }
}

#[test]
fn an_object_as_deep_as_the_limit_is_passed_over_without_a_crash() {
    for depth in [100, 10_000, 500_000] {
        let text = format!(
            "{{\"type\":\"params\",\"raw\":{}{}}}",
            "[".repeat(depth),
            "]".repeat(depth)
        );
        assert!(ClientMessage::parse(&text).is_err());
    }
    let long = json!({ "type": "prompt", "tags": "x".repeat(1 << 20) }).to_string();
    assert!(ClientMessage::parse(&long).is_err() && FirstFrame::parse(&long).is_err());
}
