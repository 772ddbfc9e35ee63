//! What clients say, well and badly.

use greenroom_wire::{ClientMessage, FirstFrame, Ignored, KnobValue, PcmFrame, PcmFrameError, fuzz};
use proptest::prelude::*;

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

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzz::text_frame(&bytes);
        fuzz::pcm_frame(&bytes);
        fuzz::slice_frame(&bytes);
        fuzz::round_trip(&bytes);
    }
}
