//! Bodies of the fuzz targets: ordinary functions, run on their corpora by the plain tests.

use crate::{
    ClientMessage, FirstFrame, KnobValue, Mirror, PcmFrame, ServerMessage, SliceHeader, is_time_signature,
    knobs::{self, Kind},
    slice,
};

/// Any text as a first frame and as a live message: what is let through is within its range.
pub fn text_frame(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let meter_fits = |meter: &Option<String>| meter.as_deref().is_none_or(is_time_signature);
    match FirstFrame::parse(&text) {
        Ok(FirstFrame::Session(config)) => {
            assert!((1..=64).contains(&config.depth) && (1..=64).contains(&config.steps));
            assert!(config.walk_window_s.is_finite() && meter_fits(&config.time_signature));
        }
        Ok(FirstFrame::Upload(header)) => assert!(meter_fits(&header.time_signature)),
        Err(_) => {}
    }
    match ClientMessage::parse(&text) {
        Ok(ClientMessage::Params(params)) => {
            assert!(params.knobs.iter().all(|(name, value)| fits(name, value)));
            assert!(params.playback_pos.is_none_or(|at| at >= 0.0 && at.is_finite()));
        }
        Ok(ClientMessage::LoopBand(Some((start, end)))) => assert!(0.0 <= start && start < end && end.is_finite()),
        Ok(ClientMessage::SetPromptBlend(value) | ClientMessage::SetTimbreStrength(value)) => {
            assert!((0.0..=1.0).contains(&value));
        }
        Ok(ClientMessage::SetDepth(value)) => assert!(value.is_finite()),
        Ok(ClientMessage::EnableLora { id, strength }) => {
            assert!(!id.is_empty() && strength.is_none_or(|strength| (0.0..=2.0).contains(&strength)));
        }
        Ok(ClientMessage::Prompt(prompt)) => assert!(meter_fits(&prompt.time_signature)),
        Ok(ClientMessage::SwapSource(swap)) => assert!(meter_fits(&swap.time_signature)),
        Ok(_) | Err(_) => {}
    }
}

/// Any text as the knobs of `params.raw`: each is held within its range, or counted.
pub fn raw_knobs(bytes: &[u8]) {
    let Ok(raw) = serde_json::from_slice(bytes) else { return };
    let (held, ignored) = knobs::read_raw(&raw);
    assert_eq!(held.len() + ignored as usize, raw.len());
    for (name, value) in held {
        assert!(fits(&name, &value), "{name} = {value:?}");
    }
}

/// Whether a value is one that the knob may have.
fn fits(name: &str, value: &KnobValue) -> bool {
    let lora = Kind::Number {
        min: 0.0,
        max: 2.0,
        default: 0.0,
    };
    match (value, knobs::knob(name).map_or(lora, |knob| knob.kind)) {
        (KnobValue::Number(number), Kind::Number { min, max, .. }) => (min..=max).contains(number),
        (KnobValue::Number(number), Kind::Integer { min, max, .. }) => {
            (min..=max).contains(number) && number.fract() == 0.0
        }
        (KnobValue::Choice(word), Kind::Choice { words, .. }) => words.contains(&word.as_str()),
        (KnobValue::Switch(_), Kind::Switch { .. }) => true,
        (KnobValue::Curve(values), Kind::Curve) => !values.is_empty() && values.iter().all(|value| value.is_finite()),
        _ => false,
    }
}

/// Any text as a message of the server: what is read is written so that it is read as the same.
pub fn server_message(bytes: &[u8]) {
    if let Ok(message) = serde_json::from_slice::<ServerMessage>(bytes) {
        let again = serde_json::from_str::<ServerMessage>(&message.to_text());
        assert_eq!(again.ok(), Some(message));
    }
}

/// Any bytes as a PCM frame; what is read is as long as its header said.
pub fn pcm_frame(bytes: &[u8]) {
    if let Ok(frame) = PcmFrame::parse(bytes) {
        assert!(frame.samples.iter().all(|sample| sample.is_finite()));
        assert!(frame.samples.len().is_multiple_of(usize::from(frame.channels)));
    }
}

/// Any bytes as a slice, onto a small buffer.
pub fn slice_frame(bytes: &[u8]) {
    let _ = slice::decode(bytes);
    let mut mirror = Mirror::from_source(&[0.25; 256], 2);
    let _ = mirror.apply(bytes);
}

/// Any bytes as regions of any floats, one after another: what the client computes is what the mirror says, and stays audio. A region is
/// a start (two bytes, little-endian), a length in samples (one byte), and the samples.
pub fn mirror(mut bytes: &[u8]) {
    let mut server = Mirror::from_source(&[0.1; 256], 2);
    let mut client = server.clone();
    while let [low, high, samples, rest @ ..] = bytes {
        let (region, rest) = rest.split_at((usize::from(*samples) * 4).min(rest.len()));
        bytes = rest;
        let (words, _) = region.as_chunks();
        let region: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
        let header = SliceHeader {
            start_sample: u16::from_le_bytes([*low, *high]).into(),
            ..SliceHeader::default()
        };
        let end = header.start_sample as usize * 2 + region.len();
        let slice = server.encode(header, &region);
        assert_eq!(slice.is_some(), region.len().is_multiple_of(2) && end <= 256);
        if let Some(slice) = slice {
            assert!(client.apply(&slice).is_ok());
        }
        assert_eq!(server, client);
        assert!(server.samples().iter().all(|sample| sample.is_finite()));
    }
}
