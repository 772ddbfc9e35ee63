//! Music that is made, not recorded: drums, bass, chords and a voice-like tone, the same every time.

use std::f32::consts::TAU;

const RATE: f32 = 48_000.0;

/// Interleaved stereo at 48 kHz, 120 BPM, A minor.
#[must_use]
pub fn song(seconds: f32) -> Vec<f32> {
    let frames = (seconds * RATE) as usize;
    let mut noise: u32 = 1;
    let mut samples = Vec::with_capacity(frames * 2);
    for frame in 0..frames {
        let time = frame as f32 / RATE;
        let beat = (time * 2.0).fract() / 2.0;
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let hiss = (noise >> 8) as f32 / 8_388_608.0 - 1.0;
        let kick = (TAU * 55.0 * beat).sin() * (-beat * 18.0).exp() * 0.5;
        let hat = hiss * (-((time * 4.0).fract() / 4.0) * 60.0).exp() * 0.08;
        let root = [220.0, 174.61, 261.63, 196.0][(time / 2.0) as usize % 4];
        let chord: f32 = [1.0, 1.2, 1.5]
            .iter()
            .map(|ratio| (TAU * root * ratio * time).sin())
            .sum::<f32>()
            * 0.06;
        let wobble = 1.0 + 0.01 * (TAU * 5.5 * time).sin();
        let voice = (TAU * root * 2.0 * wobble * time).sin() * (0.5 + 0.5 * (TAU * 0.25 * time).sin()) * 0.12;
        let bass = (TAU * root * 0.25 * time).sin() * 0.15;
        let middle = kick + bass + voice;
        samples.push(middle + hat + chord);
        samples.push(middle - hat * 0.5 + chord * 0.8);
    }
    samples
}
