//! Signals with known answers.
#![allow(dead_code, unreachable_pub)] // Every test file uses a part.

use std::f32::consts::TAU;

use greenroom_audio::Pcm;

/// A sine of the given amplitude, the same on every channel.
pub fn sine(rate: u32, channels: u16, seconds: f64, hertz: f64, amplitude: f32) -> Pcm {
    let frames = (seconds * f64::from(rate)).round() as usize;
    let samples = (0..frames)
        .flat_map(|n| {
            let phase = hertz * n as f64 / f64::from(rate);
            let sample = amplitude * (std::f64::consts::TAU * phase.fract()).sin() as f32;
            std::iter::repeat_n(sample, usize::from(channels))
        })
        .collect();
    Pcm::new(rate, channels, samples)
}

/// Uniform noise in −amplitude..amplitude.
pub fn noise(rate: u32, channels: u16, seconds: f64, amplitude: f32, seed: u64) -> Pcm {
    let mut random = Random(seed | 1);
    let samples = (seconds * f64::from(rate)) as usize * usize::from(channels);
    Pcm::new(
        rate,
        channels,
        (0..samples).map(|_| amplitude * random.signed()).collect(),
    )
}

/// A small xorshift generator.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Uniform in −1..1.
    pub fn signed(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Adds a decaying tone with a few overtones at a time.
pub fn pluck(samples: &mut [f32], rate: u32, at_seconds: f64, hertz: f32, seconds: f32, amplitude: f32) {
    let first = (at_seconds * f64::from(rate)) as usize;
    let frames = (seconds * rate as f32) as usize;
    for (n, sample) in samples.iter_mut().skip(first).take(frames).enumerate() {
        let t = n as f32 / rate as f32;
        let attack = (t * 200.0).min(1.0);
        let tone: f32 = (1..=5)
            .map(|k| (TAU * hertz * k as f32 * t).sin() / (k * k) as f32)
            .sum();
        *sample += amplitude * attack * (-t * 3.0 / seconds).exp() * tone;
    }
}

/// Adds a burst of noise, a drum or a click.
pub fn hit(samples: &mut [f32], rate: u32, at_seconds: f64, seconds: f32, amplitude: f32, random: &mut Random) {
    let first = (at_seconds * f64::from(rate)) as usize;
    for (n, sample) in samples
        .iter_mut()
        .skip(first)
        .take((seconds * rate as f32) as usize)
        .enumerate()
    {
        let t = n as f32 / rate as f32;
        *sample += amplitude * (-t * 5.0 / seconds).exp() * random.signed();
    }
}

/// Frequency of a note, in semitones above the C below middle C.
pub fn hertz_above_c3(semitones: i32) -> f32 {
    130.8128 * 2.0_f32.powf(semitones as f32 / 12.0)
}
