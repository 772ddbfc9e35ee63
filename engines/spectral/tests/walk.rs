//! Walk mode: a part of the source is a source of its own.

#![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

mod support;

use std::sync::Arc;

use greenroom_audio::{Pcm, SAMPLE_RATE};
use greenroom_generator::{LiveStream, Walk};
use greenroom_sync::CancelFlag;
use support::{decode, knobs, music, open_with};

const SECOND: u64 = SAMPLE_RATE as u64;
const LIST: &[(&str, f64)] = &[
    ("denoise", 0.8),
    ("hint_strength", 0.5),
    ("seed", 4.0),
    ("feedback", 0.6),
];

/// Twelve seconds; parts are five.
fn source() -> Arc<Pcm> {
    music(60, 2)
}

/// The same, but for what is not in the second part.
fn other_around_it() -> Arc<Pcm> {
    let mut samples = source().samples().to_vec();
    for (index, sample) in samples.iter_mut().enumerate() {
        if !(5 * SECOND..10 * SECOND).contains(&(index as u64 / 2)) {
            *sample = 0.3 - *sample;
        }
    }
    Arc::new(Pcm::new(SAMPLE_RATE, 2, samples))
}

fn walking(audio: &Arc<Pcm>, seconds: Option<f64>, list: &[(&str, f64)], ticks: &[u64]) -> Box<dyn LiveStream> {
    let mut stream = open_with(audio, "instrumental music", seconds.map(Walk::new));
    stream.set_knobs(&knobs(list));
    for target in ticks {
        stream.tick(*target, &CancelFlag::new()).unwrap();
    }
    stream
}

#[test]
fn nothing_of_a_part_depends_on_what_is_around_it() {
    let places = [5 * SECOND, 7 * SECOND, 10 * SECOND - 17_280];
    let sound = |audio: &Arc<Pcm>, seconds| {
        let mut stream = walking(audio, seconds, LIST, &[6 * SECOND; 3]);
        places.map(|place| decode(&mut *stream, place, 17_280))
    };
    assert_eq!(sound(&source(), Some(5.0)), sound(&other_around_it(), Some(5.0)));
    let (one, other) = (sound(&source(), None), sound(&other_around_it(), None));
    assert_ne!(one[0], other[0], "without, the edges sound of their neighbours");
    assert_ne!(one[2], other[2]);
}

#[test]
fn entering_a_part_forgets_what_was_generated_for_another() {
    let there = [6 * SECOND; 3];
    let from_afar = [&[SECOND; 9][..], &there].concat();
    let mut fresh = walking(&source(), Some(5.0), LIST, &there);
    let mut walked = walking(&source(), Some(5.0), LIST, &from_afar);
    assert_eq!(
        decode(&mut *fresh, 6 * SECOND, 17_280),
        decode(&mut *walked, 6 * SECOND, 17_280)
    );
}

#[test]
fn untouched_it_is_the_source_bit_for_bit() {
    let audio = source();
    for target in [0, 6 * SECOND, 11 * SECOND] {
        let mut stream = walking(&audio, Some(5.0), &[("denoise", 0.0)], &[target]);
        let samples = &audio.samples()[target as usize * 2..][..17_280 * 2];
        assert_eq!(decode(&mut *stream, target, 17_280), samples);
    }
}

#[test]
fn a_source_no_longer_than_a_part_is_played_as_without() {
    let sound = |seconds| decode(&mut *walking(&source(), seconds, LIST, &[0; 3]), 11 * SECOND, 60_000);
    assert_eq!(sound(Some(12.0)), sound(None));
}
