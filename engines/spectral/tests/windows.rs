//! Windows fit together, whatever was asked for before, and a replaced source is gone.

#![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

mod support;

use std::sync::Arc;

use greenroom_audio::{Pcm, SAMPLE_RATE};
use greenroom_generator::{GenerateError, Generator, Prompt};
use greenroom_spectral::Spectral;
use greenroom_sync::CancelFlag;
use proptest::prelude::*;
use support::{decode, music, playing, rms};

const LIST: &[(&str, f64)] = &[
    ("denoise", 0.8),
    ("hint_strength", 0.5),
    ("seed", 4.0),
    ("feedback", 0.4),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_windows_equal_one(start in 0_u64..40_000, first in 1_usize..6_000, second in 1_usize..6_000, channels in 1_u16..3) {
        let audio = music(3, channels);
        let mut stream = playing(&audio, LIST);
        let length = audio.frames() as u64;
        let mut parts = decode(&mut *stream, start, first);
        parts.extend(decode(&mut *stream, (start + first as u64) % length, second));
        let whole = decode(&mut *stream, start, first + second);
        prop_assert_eq!(parts.len(), whole.len());
        for (part, whole) in parts.iter().zip(&whole) {
            prop_assert!((part - whole).abs() <= 1e-6);
        }
    }
}

#[test]
fn the_order_of_calls_does_not_matter() {
    let audio = music(5, 2);
    let mut forwards = playing(&audio, LIST);
    let mut backwards = playing(&audio, LIST);
    let places = [0, 777, 12_345, 47_990];
    let one = places.map(|place| decode(&mut *forwards, place, 4_801));
    let mut other = places.map(|_| Vec::new());
    for (index, place) in places.iter().enumerate().rev() {
        other[index] = decode(&mut *backwards, *place, 4_801);
    }
    assert_eq!(one, other);
}

#[test]
fn windows_wrap_and_may_be_longer_than_the_loop() {
    let audio = music(2, 1);
    let mut stream = playing(&audio, LIST);
    let once = decode(&mut *stream, 0, 19_200);
    let more = decode(&mut *stream, 19_200 * 3, 40_001);
    assert_eq!(more.len(), 40_001);
    assert!(
        more.iter()
            .zip(once.iter().cycle())
            .all(|(more, once)| (more - once).abs() < 1e-6)
    );
    assert!(decode(&mut *stream, 5, 0).is_empty());
    // The loop joins: the step over the seam is no larger than the largest within.
    let step = |pair: &[f32]| (pair[1] - pair[0]).abs();
    let largest = once.windows(2).map(step).fold(0.0, f32::max);
    assert!((once[0] - once[19_199]).abs() <= largest);
}

#[test]
fn nothing_of_a_replaced_source_is_heard() {
    let flag = CancelFlag::new();
    let generator = Spectral::new();
    let silence = Arc::new(Pcm::new(SAMPLE_RATE, 1, vec![0.0; 9_600]));
    let mut stream = playing(
        &music(10, 2),
        &[("denoise", 0.9), ("feedback", 1.0), ("feedback_depth", 8.0)],
    );
    let source = generator.prepare_source(silence, &flag).unwrap();
    let conditioning = generator
        .encode_prompt(&Prompt::default(), &source, None, &flag)
        .unwrap();
    stream.swap_source(source, conditioning);
    let out = decode(&mut *stream, 0, 30_000);
    assert_eq!(out.len(), 30_000);
    assert_eq!(rms(&out), 0.0);

    let next = music(4, 2);
    let source = generator.prepare_source(Arc::clone(&next), &flag).unwrap();
    let conditioning = generator
        .encode_prompt(
            &Prompt {
                tags: "instrumental music".into(),
                ..Prompt::default()
            },
            &source,
            None,
            &flag,
        )
        .unwrap();
    stream.swap_source(source, conditioning);
    for _ in 0..9 {
        stream.tick(0, &flag).unwrap();
    }
    let fresh = decode(
        &mut *playing(&next, &[("denoise", 0.9), ("feedback", 1.0), ("feedback_depth", 8.0)]),
        100,
        20_000,
    );
    assert_eq!(decode(&mut *stream, 100, 20_000), fresh);
}

#[test]
fn a_raised_flag_stops_a_window() {
    let mut stream = playing(&music(5, 1), LIST);
    let flag = CancelFlag::new();
    flag.raise();
    assert!(matches!(stream.decode(0, 17_280, &flag), Err(GenerateError::Cancelled)));
    assert!(matches!(stream.tick(0, &flag), Err(GenerateError::Cancelled)));
}

#[test]
fn a_foreign_sidecar_is_refused() {
    let generator = Spectral::new();
    assert!(generator.restore_source(music(1, 1), &[1, 2, 3]).is_err());
    assert!(generator.restore_source(music(1, 1), &[]).is_ok());
}
