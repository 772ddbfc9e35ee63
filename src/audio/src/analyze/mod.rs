//! Tempo and key of a clip.
//!
//! Written for the answer within a quarter of a second that an upload waits for: a centred window, one resampling to
//! 24 kHz, two short-time spectra. No trained weights; the example `accuracy` measures it on music with known answers.

mod key;
mod spectrum;
mod tempo;

use crate::{Pcm, resample_channel, to_mono};

pub use key::KEY_LABELS;

/// Only this much of the clip, around its middle, is looked at, in seconds.
const WINDOW_SECONDS: f64 = 60.0;

/// Sample rate of the analysis, in hertz: keeps everything below 12 kHz, where beats and notes are.
const ANALYSIS_RATE: u32 = 24_000;

/// Mean power below which a clip is silence (−80 dB of full scale).
const SILENCE_POWER: f64 = 1e-8;

/// What a clip sounds like.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Analysis {
    /// Beats per minute, 40 to 240; 120 where there is no beat.
    pub bpm: f32,
    /// How regular the beat is, 0 (none: `bpm` is a default) to 1.
    pub bpm_confidence: f32,
    /// One of [`KEY_LABELS`], e.g. `"F# minor"`; `"C major"` where there is no harmony.
    pub key: &'static str,
    /// How well the notes fit the key and no other, 0 (not at all: `key` is a default) to 1.
    pub key_confidence: f32,
}

impl Analysis {
    /// The tempo as the wire wants it.
    #[must_use]
    pub fn bpm_rounded(&self) -> u32 {
        self.bpm.round() as u32
    }
}

/// Estimates tempo and key from the middle 60 s of the clip. Every clip has an answer: silence and noise give 120 BPM
/// and C major with confidence 0.
#[must_use]
pub fn analyze(pcm: &Pcm) -> Analysis {
    let samples = analysis_samples(pcm);
    let power = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len().max(1) as f64;
    // Also true of NaN: a clip that nobody checked is answered like silence.
    if !(power > SILENCE_POWER && power.is_finite()) {
        return Analysis {
            bpm: tempo::DEFAULT_BPM,
            bpm_confidence: 0.0,
            key: key::DEFAULT_KEY,
            key_confidence: 0.0,
        };
    }
    let scale = (1.0 / power.sqrt()) as f32;
    let samples: Vec<f32> = samples.iter().map(|sample| sample * scale).collect();
    let (tempo, key) = rayon::join(
        || tempo::estimate(&samples, ANALYSIS_RATE),
        || key::estimate(&samples, ANALYSIS_RATE),
    );
    Analysis {
        bpm: tempo.bpm,
        bpm_confidence: tempo.confidence,
        key: key.label,
        key_confidence: key.confidence,
    }
}

/// The centred window, mono, at the analysis rate.
fn analysis_samples(pcm: &Pcm) -> Vec<f32> {
    let frames = pcm
        .frames()
        .min((WINDOW_SECONDS * f64::from(pcm.sample_rate())) as usize);
    let first = (pcm.frames() - frames) / 2;
    let channels = usize::from(pcm.channels());
    let window = pcm.samples()[first * channels..(first + frames) * channels].to_vec();
    let mono = to_mono(&Pcm::new(pcm.sample_rate(), pcm.channels(), window));
    // A rate that cannot be converted is no rate that music has: answered like silence.
    resample_channel(&mono, pcm.sample_rate(), ANALYSIS_RATE).unwrap_or_default()
}
