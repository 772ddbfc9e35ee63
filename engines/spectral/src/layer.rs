//! One generation's resynthesis of a spectrum.
//!
//! The result is a sum of voices that share no partials, so that none can cancel another on the way from the source to the new sound:
//! the source's own partials turned by a slowly wandering phase, their octave and twelfth under the source's envelope, and noise
//! under the same envelope. After each step the energy of every band is brought back to the source's.

use realfft::num_complex::Complex32;

use crate::{
    controls::Controls,
    random::{Grid, RandomField, WanderField},
    source::Attacks,
    spectrum::{BIN_HZ, BINS, Bands, FRAME},
};

/// Most that a band is raised to reach the source's energy: 12 dB.
const BAND_GAIN_MAX: f32 = 4.0;
/// Furthest that the phase of a partial wanders to either side, in radians.
const ROTATION_MAX: f32 = 1.5 * std::f32::consts::PI;
/// Variance of a uniform value in −1..1.
const NOISE_VARIANCE: f32 = 1.0 / 3.0;

/// A generation, ready to be applied to any spectrum of its source.
pub(crate) struct Layer {
    pub(crate) controls: Controls,
    rotation: WanderField,
    grain: WanderField,
    /// Noise of each channel, and then the noise that both share.
    noises: Vec<RandomField>,
    /// State of the frame sought: how far from the source, and what each bin's partial is multiplied with.
    strength: f32,
    turns: Vec<Complex32>,
    scratch: Scratch,
}

/// Amplitudes of the voices at one strength.
struct Voices {
    own: f32,
    octave: f32,
    twelfth: f32,
    noise: f32,
}

#[derive(Default)]
struct Scratch {
    energies: Vec<f32>,
    envelope: Vec<f32>,
    gains: Vec<f32>,
    /// The source's envelope at every bin.
    envelope_bins: Vec<f32>,
    turned: Vec<Complex32>,
    /// Of the lower half of the spectrum: direction of each turned partial, and how far it stands over the envelope.
    standing: Vec<(Complex32, f32)>,
}

impl Layer {
    /// A generation over a loop of `loop_s` seconds.
    pub(crate) fn new(controls: Controls, loop_s: f32, bands: &Bands) -> Self {
        let grid = Grid {
            bins: BINS,
            bin_hz: BIN_HZ,
            loop_s,
        };
        let seed = controls.seed;
        // Slow in the bass, where the same turn is heard as more detuning.
        let rotation = WanderField::new(
            &grid,
            1.0 / 6.0,
            4.0,
            |hz| (1.2 * (100.0 / hz).sqrt()).clamp(0.12, 1.2),
            RandomField::new(seed, 0),
        );
        let grain = WanderField::new(&grid, 1.0 / 12.0, 3.0, |_| 0.35, RandomField::new(seed, 1));
        let noises = (2..5).map(|stream| RandomField::new(seed, stream)).collect();
        let scratch = Scratch {
            energies: vec![0.0; bands.count()],
            envelope: vec![0.0; bands.count()],
            gains: vec![0.0; bands.count()],
            envelope_bins: vec![0.0; BINS],
            turned: vec![Complex32::default(); BINS],
            standing: vec![(Complex32::default(), 0.0); BINS / 2 + 1],
        };
        Self {
            controls,
            rotation,
            grain,
            noises,
            strength: 0.0,
            turns: vec![Complex32::new(1.0, 0.0); BINS],
            scratch,
        }
    }

    /// White noise of variance about one for a stretch of a channel, bunched where the source has its attacks.
    pub(crate) fn noise(&self, attacks: &Attacks, channel: usize, frames: impl Iterator<Item = u64>) -> Vec<f32> {
        // Mostly shared, so that what sits in the middle stays there, with some air to the sides.
        const SHARED: f32 = 0.8;
        const OWN: f32 = 0.6;
        let (own, shared) = (self.noises[channel], self.noises[2]);
        let scale = NOISE_VARIANCE.sqrt().recip();
        frames
            .map(|frame| (shared.at(frame) * SHARED + own.at(frame) * OWN) * scale * attacks.at(frame))
            .collect()
    }

    /// Moves to a frame, given as the part of the loop that has passed. Whether anything changes there.
    pub(crate) fn seek(&mut self, loop_part: f64) -> bool {
        self.strength = self.controls.strength_at(loop_part);
        if self.strength == 0.0 {
            return false;
        }
        self.rotation.seek(loop_part);
        self.grain.seek(loop_part);
        let angle = ROTATION_MAX * self.strength;
        let depth = self.strength * (0.8 + 0.5 * self.controls.texture.grain);
        for (bin, turn) in self.turns.iter_mut().enumerate() {
            *turn = Complex32::from_polar((depth * self.grain.at(bin)).exp(), angle * self.rotation.at(bin));
        }
        true
    }

    /// Resynthesises a spectrum at the frame sought; `noise` is the spectrum of this layer's noise there.
    /// Spectra are centred: phases count from the middle of the frame.
    pub(crate) fn apply(&mut self, bands: &Bands, spectrum: &mut [Complex32], noise: &[Complex32]) {
        if self.strength == 0.0 {
            return;
        }
        let voices = self.voices();
        let scratch = &mut self.scratch;
        bands.energies(spectrum, &mut scratch.energies);
        for (band, level) in scratch.envelope.iter_mut().enumerate() {
            *level = (scratch.energies[band] / bands.width(band) as f32).sqrt();
        }
        for (bin, level) in scratch.envelope_bins.iter_mut().enumerate() {
            *level = bands.between(&scratch.envelope, bin);
        }
        let partials = spectrum.iter().zip(&self.turns);
        for (turned, (partial, turn)) in scratch.turned.iter_mut().zip(partials) {
            *turned = partial * turn;
        }
        for (bin, standing) in scratch.standing.iter_mut().enumerate() {
            let norm = scratch.turned[bin].norm();
            let floor = scratch.envelope_bins[bin];
            let heard = norm > f32::MIN_POSITIVE && floor > f32::MIN_POSITIVE;
            *standing = if heard {
                (scratch.turned[bin] / norm, norm / floor)
            } else {
                Default::default()
            };
        }
        // A frame of white noise has this much energy in each bin: its variance times the window's energy.
        let noise_scale = voices.noise * (FRAME as f32 / 2.0).sqrt().recip();
        for (bin, value) in spectrum.iter_mut().enumerate() {
            let level = scratch.envelope_bins[bin];
            let mut sum = scratch.turned[bin] * voices.own + noise[bin] * (noise_scale * level);
            // In a centred spectrum the nth power of a phase is that of the nth harmonic, so raised partials go on steadily.
            let (direction, ratio) = scratch.standing[bin / 2];
            sum += direction * direction * (voices.octave * level * ratio);
            let (direction, ratio) = scratch.standing[bin / 3];
            sum += direction * direction * direction * (voices.twelfth * level * ratio);
            *value = sum;
        }
        self.restore_energies(bands, spectrum);
    }

    /// What the overlap of frames with turned phases loses, to be given back once, after the last generation.
    pub(crate) fn makeup(&self) -> f32 {
        1.0 + self.strength * (0.05 + 0.08 * self.controls.hint)
    }

    /// Powers of the voices always add up to one, and only the source's own is left at strength 0.
    fn voices(&self) -> Voices {
        let (strength, hint, texture) = (self.strength, self.controls.hint, &self.controls.texture);
        // Squared, since noise covers partials long before it outweighs them.
        let dissolved = (1.0 - hint) * (1.0 - hint);
        let noise = strength * strength * (dissolved + hint * (0.08 + 0.06 * texture.breath));
        let structure = 1.0 - noise;
        let octave = structure * strength * strength * (0.16 + 0.14 * texture.octave);
        let twelfth = structure * strength * strength * (0.10 + 0.09 * texture.twelfth);
        let own = (structure - octave - twelfth).max(0.0);
        Voices {
            own: own.sqrt(),
            octave: octave.sqrt(),
            twelfth: twelfth.sqrt(),
            noise: noise.sqrt(),
        }
    }

    /// Brings every band back to the energy it had, but for the prompt's tilt.
    fn restore_energies(&mut self, bands: &Bands, spectrum: &mut [Complex32]) {
        let scratch = &mut self.scratch;
        bands.energies(spectrum, &mut scratch.gains);
        // Octaves from 1 kHz, at most 1.2 dB for each.
        let slope = self.strength * self.controls.texture.tilt * 0.2;
        for (band, gain) in scratch.gains.iter_mut().enumerate() {
            let tilt = (slope * (bands.centre_hz(band) / 1_000.0).log2()).exp2();
            *gain = ((scratch.energies[band] / (*gain + f32::MIN_POSITIVE)).sqrt() * tilt).min(BAND_GAIN_MAX);
        }
        for (bin, value) in spectrum.iter_mut().enumerate() {
            *value *= bands.between(&scratch.gains, bin);
        }
    }
}

/// Mixes a share of an earlier result into a spectrum: powers are mixed, so that opposed phases leave no hole.
pub(crate) fn mix_feedback(spectrum: &mut [Complex32], earlier: &[Complex32], share: f32) {
    for (value, earlier) in spectrum.iter_mut().zip(earlier) {
        let level = ((1.0 - share) * value.norm_sqr() + share * earlier.norm_sqr()).sqrt();
        let direction = *value * (1.0 - share) + *earlier * share;
        let norm = direction.norm();
        *value = if norm > f32::MIN_POSITIVE {
            direction * (level / norm)
        } else {
            Complex32::new(level, 0.0)
        };
    }
}
