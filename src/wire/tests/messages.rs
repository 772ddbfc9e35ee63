//! What clients say, well and badly.

use greenroom_wire::{
    ClientMessage, FirstFrame, Ignored, KnobValue, PcmFrame, PcmFrameError, StemSourceMode,
    knobs::{self, KNOBS, Kind},
};

#[test]
fn every_live_message_of_the_protocol_is_read() {
    let examples = [
        r#"{"type":"params","raw":{"denoise":0.7},"playback_pos":1.5}"#,
        r#"{"type":"loop_band","start_sec":1,"end_sec":2}"#,
        r#"{"type":"loop_band","start_sec":null,"end_sec":null}"#,
        r#"{"type":"prompt","tags":"dub","tags_b":"techno","key":"C minor","time_signature":"3"}"#,
        r#"{"type":"set_prompt_blend","value":0.5}"#,
        r#"{"type":"set_depth","value":2}"#,
        r#"{"type":"enable_lora","id":"a","strength":0.5}"#,
        r#"{"type":"disable_lora","id":"a"}"#,
        r#"{"type":"set_timbre_strength","value":1}"#,
        r#"{"type":"set_timbre_source","name":"a"}"#,
        r#"{"type":"set_structure_source","name":"a"}"#,
        r#"{"type":"set_timbre_fixture","name":"a"}"#,
        r#"{"type":"set_structure_fixture","name":"a"}"#,
        r#"{"type":"clear_timbre_source"}"#,
        r#"{"type":"clear_structure_source"}"#,
        r#"{"type":"swap_source","fixture_name":"a","stem_source_mode":"vocals","use_server_source":true}"#,
    ];
    for example in examples {
        assert!(ClientMessage::parse(example).is_ok(), "{example}");
    }
    assert_eq!(
        ClientMessage::parse(r#"{"type":"from_the_future"}"#),
        Err(Ignored::UnknownType)
    );
    assert_eq!(ClientMessage::parse("{"), Err(Ignored::Malformed));
    assert_eq!(ClientMessage::parse("[]"), Err(Ignored::Malformed));
}

#[test]
fn knobs_are_clamped_and_wrong_ones_are_counted() {
    let text = r#"{"type":"params","raw":{"denoise":7,"seed":"x","rcfg_mode":"self","nonsense":1,"lora_str_a":9,
        "velocity_scale_curve":{"type":"raw","values":[0,0.5,1]}},"playback_pos":-1}"#;
    let Ok(ClientMessage::Params(params)) = ClientMessage::parse(text) else {
        panic!("it is one")
    };
    assert_eq!(params.ignored, 2);
    assert_eq!(params.playback_pos, None);
    assert_eq!(params.knobs["denoise"], KnobValue::Number(1.0));
    assert_eq!(params.knobs["lora_str_a"], KnobValue::Number(2.0));
    assert_eq!(params.knobs["rcfg_mode"], KnobValue::Choice("self".into()));
    assert_eq!(
        params.knobs["velocity_scale_curve"],
        KnobValue::Curve(vec![0.0, 0.5, 1.0])
    );
}

#[test]
fn a_first_frame_is_an_upload_a_session_or_nothing() {
    let upload = FirstFrame::parse(r#"{"type":"upload_track","name":"a.wav","key":"F# minor","time_signature":"7"}"#);
    let Ok(FirstFrame::Upload(header)) = upload else {
        panic!("it is an upload")
    };
    assert_eq!(
        (header.name.as_str(), header.key.as_deref(), header.time_signature),
        ("a.wav", Some("F# minor"), None)
    );
    let session = FirstFrame::parse(r#"{"depth":"four","prompt":null,"client_id":"me","future":{}}"#);
    let Ok(FirstFrame::Session(config)) = session else {
        panic!("it is a session")
    };
    assert_eq!(
        (
            config.depth,
            config.prompt.as_str(),
            config.client_id.as_str(),
            config.ignored
        ),
        (4, "instrumental music", "me", 1)
    );
    for nothing in ["", "[]", "null", "1", "{\"a\":"] {
        assert!(FirstFrame::parse(nothing).is_err(), "{nothing}");
    }
}

#[test]
fn bad_audio_frames_say_what_is_wrong() {
    let good = PcmFrame::build(2, &[0.0, 1.0, 0.5, -0.5]);
    assert_eq!(PcmFrame::parse(&good[..7]), Err(PcmFrameError::NoHeader { bytes: 7 }));
    assert_eq!(
        PcmFrame::parse(&good[..20]),
        Err(PcmFrameError::WrongLength {
            promised: 16,
            actual: 12
        })
    );
    assert_eq!(PcmFrame::parse(&PcmFrame::build(2, &[])), Err(PcmFrameError::Empty));
    assert_eq!(PcmFrame::parse(&[0; 8]), Err(PcmFrameError::NoChannels));
    for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(
            PcmFrame::parse(&PcmFrame::build(1, &[0.0, poison])),
            Err(PcmFrameError::NotFinite)
        );
    }
    let three = PcmFrame::parse(&PcmFrame::build(3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])).unwrap();
    assert_eq!((three.channels, three.samples), (2, vec![1.0, 2.0, 4.0, 5.0]));
}

#[test]
fn a_loop_band_is_set_lifted_or_left_as_it_is() {
    let band = |fields: &str| ClientMessage::parse(&format!(r#"{{"type":"loop_band"{fields}}}"#));
    assert_eq!(
        band(r#","start_sec":1,"end_sec":2.5"#),
        Ok(ClientMessage::LoopBand(Some((1.0, 2.5))))
    );
    assert_eq!(
        band(r#","start_sec":null,"end_sec":null"#),
        Ok(ClientMessage::LoopBand(None))
    );
    assert_eq!(band(""), Ok(ClientMessage::LoopBand(None)));
    for mistake in [
        r#","start_sec":2,"end_sec":1"#,
        r#","start_sec":-1,"end_sec":1"#,
        r#","start_sec":1,"end_sec":null"#,
        r#","start_sec":"1","end_sec":"2""#,
    ] {
        assert_eq!(band(mistake), Err(Ignored::BadFields), "{mistake}");
    }
}

#[test]
fn curves_are_constants_or_bounded_lists_of_finite_numbers() {
    let curve = |value: serde_json::Value| knobs::knob("x0_target_curve").and_then(|knob| knob.read(&value));
    let json = |text: &str| serde_json::from_str(text).unwrap_or_default();
    assert_eq!(
        curve(json(r#"{"type":"constant","value":1.5}"#)),
        Some(KnobValue::Curve(vec![1.5]))
    );
    for wrong in [
        r#"{"type":"constant","value":"1"}"#,
        // Finite as f64, and infinite as the f32 that the generator takes.
        r#"{"type":"constant","value":1e39}"#,
        r#"{"type":"raw","values":[0,1e39]}"#,
        r#"{"type":"raw","values":[]}"#,
        r#"{"type":"raw","values":[0,null]}"#,
        r#"{"type":"bezier","values":[0]}"#,
        "1e39",
        "true",
    ] {
        assert_eq!(curve(json(wrong)), None, "{wrong}");
    }
    let raw = |length: usize| serde_json::json!({"type": "raw", "values": vec![0.5; length]});
    assert_eq!(curve(raw(16_384)), Some(KnobValue::Curve(vec![0.5; 16_384])));
    assert_eq!(curve(raw(16_385)), None);
}

#[test]
fn every_knob_starts_within_its_own_range_and_has_a_name_of_its_own() {
    for knob in &KNOBS {
        let same = KNOBS.iter().filter(|other| other.name == knob.name).count();
        assert_eq!(same, 1, "{}", knob.name);
        match knob.kind {
            Kind::Number { min, max, default } | Kind::Integer { min, max, default } => {
                assert!(min < max && (min..=max).contains(&default), "{}", knob.name);
                for (sent, held) in [(min - 1.0, min), (max + 1.0, max), (default, default)] {
                    assert_eq!(
                        knob.read(&sent.into()),
                        Some(KnobValue::Number(held)),
                        "{} {sent}",
                        knob.name
                    );
                }
                assert_eq!(knob.read(&"1".into()), None);
            }
            Kind::Choice { words, default } => {
                assert!(words.contains(&default), "{}", knob.name);
                assert_eq!(knob.read(&"no such word".into()), None);
            }
            Kind::Switch { .. } => assert_eq!(knob.read(&1.into()), None),
            Kind::Curve => assert_eq!(knob.default_value(), None),
        }
    }
    assert_eq!(
        knobs::knob("seed").and_then(|seed| seed.read(&41.6.into())),
        Some(KnobValue::Number(42.0))
    );
}

#[test]
fn words_that_nobody_knows_fall_back_and_are_counted() {
    let text = r#"{"stem_source_mode":"drums","time_signature":"7","steps":1e9,"depth":-3,"wants":"vram","sde":1,"key":"C major"}"#;
    let Ok(FirstFrame::Session(config)) = FirstFrame::parse(text) else {
        panic!("it is a session")
    };
    assert_eq!((config.stem_source_mode, config.time_signature), (None, None));
    assert_eq!((config.steps, config.depth, config.sde), (64, 1, false));
    assert_eq!((config.key.as_deref(), config.ignored), (Some("C major"), 4));
    let Ok(FirstFrame::Session(config)) = FirstFrame::parse(r#"{"stem_source_mode":"vocals"}"#) else {
        panic!("it is a session")
    };
    assert_eq!(
        (config.stem_source_mode, config.ignored),
        (Some(StemSourceMode::Vocals), 0)
    );
}

#[test]
fn a_swap_asks_for_audio_unless_the_server_has_it() {
    let swap = |fields: &str| {
        ClientMessage::parse(&format!(r#"{{"type":"swap_source"{fields}}}"#)).is_ok_and(|m| m.expects_audio())
    };
    assert!(swap("") && swap(r#","use_server_source":"yes""#) && swap(r#","use_server_source":false"#));
    assert!(!swap(r#","use_server_source":true"#));
    assert!(ClientMessage::parse(r#"{"type":"set_timbre_source","name":"a"}"#).is_ok_and(|m| m.expects_audio()));
    assert!(!ClientMessage::parse(r#"{"type":"set_timbre_fixture","name":"a"}"#).is_ok_and(|m| m.expects_audio()));
}

#[test]
fn loud_audio_is_audio_and_every_channel_is_looked_at() {
    let loud = [f32::MAX, -f32::MAX, f32::MIN_POSITIVE, -0.0];
    assert_eq!(
        PcmFrame::parse(&PcmFrame::build(2, &loud)).map(|frame| frame.samples),
        Ok(loud.to_vec())
    );
    for at in 0..64 {
        let mut samples = [0.5; 64];
        samples[at] = f32::from_bits(0xffc0_0001);
        assert_eq!(
            PcmFrame::parse(&PcmFrame::build(2, &samples)),
            Err(PcmFrameError::NotFinite)
        );
    }
}

#[test]
fn the_protocols_own_texts_are_read() {
    let index: serde_json::Value = serde_json::from_str(include_str!("vectors/index.json")).unwrap_or_default();
    let Ok(FirstFrame::Upload(header)) = FirstFrame::parse(&index["texts"]["upload_header"].to_string()) else {
        panic!("it is an upload")
    };
    assert_eq!(
        serde_json::json!({"type": "upload_track", "name": header.name, "key": header.key, "time_signature": header.time_signature}),
        index["texts"]["upload_header"]
    );
    let Ok(ClientMessage::Params(params)) = ClientMessage::parse(&index["texts"]["params"].to_string()) else {
        panic!("they are params")
    };
    assert_eq!((params.ignored, params.playback_pos), (0, Some(12.34)));
    assert_eq!(params.knobs["denoise"], KnobValue::Number(0.7));
    assert_eq!(params.knobs["seed"], KnobValue::Number(42.0));
    assert_eq!(params.knobs["x0_target_curve"], KnobValue::Curve(vec![0.0, 0.5, 1.0]));
    assert_eq!(params.knobs["velocity_scale_curve"], KnobValue::Curve(vec![1.2]));
}

#[test]
fn a_knob_that_hardly_moves_has_not_been_moved() {
    for (name, from, to, is_none) in [
        ("shift", 3.5, 3.549, true),
        ("shift", 3.5, 3.55, false),
        ("hint_strength", 1.0, 0.981, true),
        ("hint_strength", 1.0, 0.98, false),
        ("lora_str_dub", 0.5, 0.51, true),
        ("lora_str_dub", 0.5, 0.6, false),
        ("denoise", 0.5, 0.5001, false),
        ("seed", 1.0, 2.0, false),
    ] {
        assert_eq!(knobs::is_no_move(name, from, to), is_none, "{name} from {from} to {to}");
    }
}
