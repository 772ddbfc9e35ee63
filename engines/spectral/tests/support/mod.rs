//! A small piece of music and the ways to play it.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{f32::consts::TAU, sync::Arc};

use greenroom_audio::{POOL_FRAMES, Pcm, SAMPLE_RATE};
use greenroom_generator::{Generator, KnobValue, Knobs, LiveStream, Prompt, StreamSettings, Walk};
use greenroom_spectral::Spectral;
use greenroom_sync::CancelFlag;

/// Plucked chords that change, a bass, and a noise hit on every half second: `pools` × 0.2 s.
pub(crate) fn music(pools: usize, channels: u16) -> Arc<Pcm> {
    let frames = pools * POOL_FRAMES;
    let mut samples = Vec::with_capacity(frames * usize::from(channels));
    let mut noise = 0x1234_5678_u32;
    for frame in 0..frames {
        let time = frame as f32 / SAMPLE_RATE as f32;
        let beat = time % 0.5;
        let chord = if (time as u32).is_multiple_of(2) {
            [220.0, 277.18, 329.63]
        } else {
            [196.0, 246.94, 293.66]
        };
        let tones: f32 = chord
            .iter()
            .flat_map(|root| (1..6).map(move |partial| (root * partial as f32, partial)))
            .map(|(hz, partial)| (TAU * hz * time).sin() / (partial * partial) as f32)
            .sum();
        let tones = tones * (-beat * 3.0).exp();
        let bass = (TAU * chord[0] / 4.0 * time).sin() * (-beat * 4.0).exp();
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let hit = (noise >> 8) as f32 / 8_388_608.0 - 1.0;
        let hit = hit * (-beat * 40.0).exp();
        for channel in 0..channels {
            let side = if channel == 0 { 1.0 } else { 0.6 };
            samples.push(0.06 * tones * side + 0.2 * bass + 0.3 * hit);
        }
    }
    Arc::new(Pcm::new(SAMPLE_RATE, channels, samples))
}

pub(crate) fn knobs(list: &[(&str, f64)]) -> Knobs {
    list.iter()
        .map(|(name, value)| ((*name).to_owned(), KnobValue::Number(*value)))
        .collect()
}

pub(crate) fn open(audio: &Arc<Pcm>, tags: &str) -> Box<dyn LiveStream> {
    open_with(audio, tags, None)
}

pub(crate) fn open_with(audio: &Arc<Pcm>, tags: &str, walk: Option<Walk>) -> Box<dyn LiveStream> {
    let flag = CancelFlag::new();
    let generator = Spectral::new();
    let source = generator.prepare_source(Arc::clone(audio), &flag).unwrap();
    let prompt = Prompt {
        tags: tags.to_owned(),
        ..Prompt::default()
    };
    let conditioning = generator.encode_prompt(&prompt, &source, None, &flag).unwrap();
    generator
        .open(
            source,
            conditioning,
            &StreamSettings {
                depth: 4,
                steps: 8,
                sde: false,
                walk,
            },
        )
        .unwrap()
}

/// A stream on which these knobs have been in effect for some generations.
pub(crate) fn playing(audio: &Arc<Pcm>, list: &[(&str, f64)]) -> Box<dyn LiveStream> {
    let mut stream = open(audio, "instrumental music");
    stream.set_knobs(&knobs(list));
    for _ in 0..9 {
        stream.tick(0, &CancelFlag::new()).unwrap();
    }
    stream
}

pub(crate) fn decode(stream: &mut dyn LiveStream, start: u64, frames: usize) -> Vec<f32> {
    stream.decode(start, frames, &CancelFlag::new()).unwrap()
}

/// The whole loop under these knobs.
pub(crate) fn render(audio: &Arc<Pcm>, list: &[(&str, f64)]) -> Vec<f32> {
    decode(&mut *playing(audio, list), 0, audio.frames())
}

pub(crate) fn rms(samples: &[f32]) -> f32 {
    (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len().max(1) as f32).sqrt()
}

/// Pearson's correlation.
pub(crate) fn correlation(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    let mean = |values: &[f32]| values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
    let (left_mean, right_mean) = (mean(left), mean(right));
    let (mut both, mut left_sum, mut right_sum) = (0.0, 0.0, 0.0);
    for (left, right) in left.iter().zip(right) {
        let (left, right) = (f64::from(*left) - left_mean, f64::from(*right) - right_mean);
        both += left * right;
        left_sum += left * left;
        right_sum += right * right;
    }
    (both / (left_sum * right_sum).sqrt().max(1e-30)) as f32
}
