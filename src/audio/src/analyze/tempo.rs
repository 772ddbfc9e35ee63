//! Tempo: how strongly onsets repeat, weighed by how people tap.
//!
//! Onset strength (band-wise log-spectral flux) → autocorrelation, which answers at the beat's period and its
//! multiples, and its spectrum, which answers at the beat's rate and its multiples; their product answers only at the
//! beat. A log-normal prior settles what is left of the octave question.

use super::spectrum::{Spectra, inverse_of_real, power_spectrum};

/// The answer where there is no beat.
pub(super) const DEFAULT_BPM: f32 = 120.0;

const BPM_MIN: f32 = 40.0;
const BPM_MAX: f32 = 240.0;

/// Centre of the prior and its width in octaves (standard deviation), chosen by measuring: narrower ones mistake 3:2,
/// wider ones mistake octaves.
const PRIOR_BPM: f32 = 118.0;
const PRIOR_OCTAVES: f32 = 0.5;

/// Share of the strongest rate in the spectrum that makes a tempo half credible. Whether a rate is there matters, not
/// how strong it is: accents on every other beat make half the tempo stronger than the tempo itself.
const PRESENCE: f32 = 0.003;

/// Onset strengths per second.
const FRAMES_PER_SECOND: u32 = 100;

/// Longest lag that is looked at, in seconds: a few bars, short enough that a drifting tempo stays in step.
const LAG_SECONDS_MAX: f32 = 8.0;

/// Length of the transforms of the onset strength; longer than twice the window, so that nothing wraps around.
const TRANSFORM_LENGTH: usize = 16_384;

/// Mean autocorrelation at the beat's multiples below which there is no beat. Noise correlates with itself by chance, the
/// more the shorter it is: `REGULARITY_OF_NOISE / √frames` is never a beat either.
const REGULARITY_MIN: f32 = 0.06;
const REGULARITY_OF_NOISE: f32 = 4.0;

/// A tempo and how regular it is (0 to 1).
pub(super) struct Tempo {
    pub(super) bpm: f32,
    pub(super) confidence: f32,
}

/// Estimates the tempo of mono samples.
pub(super) fn estimate(samples: &[f32], rate: u32) -> Tempo {
    let none = Tempo {
        bpm: DEFAULT_BPM,
        confidence: 0.0,
    };
    let onsets = onset_strength(samples, rate);
    let Some(rhythm) = Rhythm::of(&onsets) else { return none };
    let best = candidates()
        .map(|bpm| (bpm, rhythm.score(bpm)))
        .fold(
            (DEFAULT_BPM, 0.0),
            |best, next| if next.1 > best.1 { next } else { best },
        );
    let bpm = rhythm.refined(best.0);
    let regularity = rhythm.comb(bpm, 4);
    let regularity_min = REGULARITY_MIN.max(REGULARITY_OF_NOISE / (onsets.len() as f32).sqrt());
    if best.1 <= 0.0 || regularity < regularity_min {
        return none;
    }
    Tempo {
        bpm,
        confidence: regularity.clamp(0.0, 1.0),
    }
}

/// Tempi to try: a geometric grid of half a percent.
fn candidates() -> impl Iterator<Item = f32> {
    std::iter::successors(Some(BPM_MIN), |bpm| Some(bpm * 1.005)).take_while(|bpm| *bpm <= BPM_MAX)
}

/// One value every 10 ms: how much louder, in log-magnitude, the bands became over the last 30 ms.
fn onset_strength(samples: &[f32], rate: u32) -> Vec<f32> {
    const LENGTH: usize = 1024;
    const FRAMES_BACK: usize = 3;
    let mut spectra = Spectra::new(samples, LENGTH, (rate / FRAMES_PER_SECOND) as usize);
    let edges = band_edges(rate as f32 / LENGTH as f32);
    let bands = edges.len() - 1;
    let mut magnitudes = vec![0.0; LENGTH / 2];
    let mut history = vec![vec![0.0_f32; bands]; FRAMES_BACK + 1];
    let mut onsets = Vec::with_capacity(spectra.len());
    for index in 0..spectra.len() {
        spectra.magnitudes(index, &mut magnitudes);
        history.rotate_right(1);
        for (level, edge) in history[0].iter_mut().zip(edges.windows(2)) {
            let sum: f32 = magnitudes[edge[0]..edge[1]].iter().sum();
            *level = (1.0 + 100.0 * sum / (edge[1] - edge[0]) as f32).ln();
        }
        let rise: f32 = history[0]
            .iter()
            .zip(&history[FRAMES_BACK])
            .map(|(now, before)| (now - before).max(0.0))
            .sum();
        onsets.push(rise / bands as f32);
    }
    // What the first frames rise from is the clip's edge, not an onset.
    let edge = onsets.len().min(FRAMES_BACK);
    onsets[..edge].fill(0.0);
    above_local_mean(&onsets)
}

/// First bins of the bands and the bin after the last: four bands an octave from 40 Hz up, at least one bin each.
fn band_edges(bin_hertz: f32) -> Vec<usize> {
    let mut edges: Vec<usize> = (0..=32)
        .map(|band| (40.0 * 2.0_f32.powf(band as f32 / 4.0) / bin_hertz).round() as usize)
        .collect();
    edges.retain(|edge| *edge >= 1 && *edge < 512);
    edges.dedup();
    edges
}

/// The signal less its mean over the surrounding second, so that loud passages count no more than quiet ones.
fn above_local_mean(signal: &[f32]) -> Vec<f32> {
    let reach = FRAMES_PER_SECOND as usize / 2;
    let mut sums = Vec::with_capacity(signal.len() + 1);
    sums.push(0.0_f64);
    for value in signal {
        sums.push(sums[sums.len() - 1] + f64::from(*value));
    }
    (0..signal.len())
        .map(|n| {
            let (from, to) = (n.saturating_sub(reach), (n + reach + 1).min(signal.len()));
            signal[n] - ((sums[to] - sums[from]) / (to - from) as f64) as f32
        })
        .collect()
}

/// How the onsets repeat.
struct Rhythm {
    /// Autocorrelation by lag in frames; 1 at lag 0.
    autocorrelation: Vec<f32>,
    /// Smoothed spectrum of the onsets by bin, at most 1.
    spectrum: Vec<f32>,
}

impl Rhythm {
    /// None where nothing ever begins.
    fn of(onsets: &[f32]) -> Option<Self> {
        let lags = (onsets.len() / 2).min((LAG_SECONDS_MAX * FRAMES_PER_SECOND as f32) as usize);
        let raw = inverse_of_real(&power_spectrum(onsets, TRANSFORM_LENGTH));
        if lags < 2 || raw[0] <= f32::EPSILON {
            return None;
        }
        let autocorrelation: Vec<f32> = (0..lags)
            .map(|lag| raw[lag] / raw[0] * onsets.len() as f32 / (onsets.len() - lag) as f32)
            .collect();
        let mut half = vec![0.0; TRANSFORM_LENGTH / 2 + 1];
        for (lag, (out, value)) in half.iter_mut().zip(&autocorrelation).enumerate() {
            *out = value * (0.5 + 0.5 * (std::f32::consts::PI * lag as f32 / lags as f32).cos());
        }
        let mut spectrum = inverse_of_real(&half);
        spectrum.truncate(TRANSFORM_LENGTH / 2);
        let greatest = spectrum.iter().copied().fold(f32::EPSILON, f32::max);
        spectrum
            .iter_mut()
            .for_each(|value| *value = (*value / greatest).max(0.0));
        Some(Self {
            autocorrelation,
            spectrum,
        })
    }

    /// How much a tempo explains, prior included.
    fn score(&self, bpm: f32) -> f32 {
        let octaves = (bpm / PRIOR_BPM).log2() / PRIOR_OCTAVES;
        let bin = bpm / 60.0 * TRANSFORM_LENGTH as f32 / FRAMES_PER_SECOND as f32;
        let strength = interpolated(&self.spectrum, bin);
        let presence = strength / (strength + PRESENCE);
        (-0.5 * octaves * octaves).exp() * self.pulse(bpm) * presence
    }

    /// Autocorrelation at the first four periods, odd and even ones by their geometric mean: a subdivision of the beat
    /// has strong even ones only.
    fn pulse(&self, bpm: f32) -> f32 {
        let period = 60.0 * FRAMES_PER_SECOND as f32 / bpm;
        let at = |multiple: f32| interpolated(&self.autocorrelation, multiple * period);
        let (odd, even) = (at(1.0) + at(3.0), at(2.0) + at(4.0));
        0.5 * (odd.max(0.0) * even.max(0.0)).sqrt()
    }

    /// Mean autocorrelation at the first `multiples` periods of the tempo, as far as the lags reach.
    fn comb(&self, bpm: f32, multiples: usize) -> f32 {
        let period = 60.0 * FRAMES_PER_SECOND as f32 / bpm;
        let reached = multiples.min(((self.autocorrelation.len() - 1) as f32 / period) as usize);
        if reached == 0 {
            return 0.0;
        }
        (1..=reached)
            .map(|k| interpolated(&self.autocorrelation, k as f32 * period))
            .sum::<f32>()
            / reached as f32
    }

    /// The tempo within 2 % that fits all lags best: many periods tell it to a tenth of a percent.
    fn refined(&self, bpm: f32) -> f32 {
        let steps = -100..=100;
        steps
            .map(|step| bpm * (1.0 + step as f32 * 2e-4))
            .map(|bpm| (bpm, self.comb(bpm, 24)))
            .fold((bpm, f32::MIN), |best, next| if next.1 > best.1 { next } else { best })
            .0
    }
}

/// The value at a fractional index, on the straight line between neighbours; 0 beyond the end.
fn interpolated(values: &[f32], index: f32) -> f32 {
    let (whole, fraction) = (index as usize, index.fract());
    match values.get(whole..whole + 2) {
        Some([before, after]) => before + fraction * (after - before),
        _ => 0.0,
    }
}
