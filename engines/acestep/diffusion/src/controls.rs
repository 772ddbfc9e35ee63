//! What the knobs say (names, ranges and defaults are the wire's).

use std::ops::Range;

use candle_core::{Device, Result, Tensor};
use greenroom_generator::{KnobValue, Knobs};

use crate::{
    correction::{Correction, CorrectionMode, Faders},
    guidance::Guidance,
    wavelet::Wavelet,
};

/// Channels that one gain moves.
const GAIN_GROUP: usize = 8;
/// Latent frames a second.
const FRAME_RATE: f64 = 25.0;

/// What a generation is born with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Birth {
    pub(crate) seed: u64,
    pub(crate) denoise: f64,
    pub(crate) shift: f64,
    pub(crate) hint_strength: f64,
    pub(crate) feedback: f64,
    /// Generations back that feedback comes from; 1 is the newest.
    pub(crate) feedback_depth: usize,
    pub(crate) guidance: Guidance,
    pub(crate) guidance_scale: f64,
}

/// What every generation in flight takes at its next step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shared {
    pub(crate) cfg_rescale: f64,
    pub(crate) x0_target: f64,
    pub(crate) correction: Option<Correction>,
    /// How much of a fresh estimate, and not of the source, a stochastic step goes on with.
    pub(crate) sde_amplitude: f64,
    /// How often a second that swings between all and none of it; 0 where it does not.
    pub(crate) periodicity: f64,
}

/// Knobs as they stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Controls {
    knobs: Knobs,
}

impl Controls {
    pub(crate) fn new(knobs: &Knobs) -> Self {
        Self { knobs: knobs.clone() }
    }

    /// Steps of a generation, where the knob was turned.
    pub(crate) fn steps(&self) -> Option<usize> {
        match self.knobs.get("steps_override") {
            Some(KnobValue::Number(steps)) => Some((*steps as usize).max(1)),
            _ => None,
        }
    }

    pub(crate) fn birth(&self, sde: bool) -> Birth {
        Birth {
            seed: self.number("seed", 0.0) as u64,
            // A stochastic session always starts from noise; how far it leaves the source, its steps say.
            denoise: if sde { 1.0 } else { self.number("denoise", 0.0) },
            shift: self.number("shift", 3.5),
            hint_strength: self.number("hint_strength", 1.0),
            feedback: self.number("feedback", 0.0),
            feedback_depth: (self.number("feedback_depth", 1.0) as usize).max(1),
            guidance: self.choice("rcfg_mode", Guidance::named).unwrap_or(Guidance::Off),
            guidance_scale: self.number("guidance_scale", 1.0),
        }
    }

    pub(crate) fn shared(&self) -> Shared {
        let corrects = !matches!(self.knobs.get("dcw_enabled"), Some(KnobValue::Bool(false)));
        Shared {
            cfg_rescale: self.number("cfg_rescale", 0.0),
            x0_target: self.number("x0_target", 0.0),
            correction: corrects.then(|| Correction {
                mode: self
                    .choice("dcw_mode", CorrectionMode::named)
                    .unwrap_or(CorrectionMode::Double),
                wavelet: self.choice("dcw_wavelet", Wavelet::named).unwrap_or(Wavelet::Haar),
                scale: self.number("dcw_scaler", 0.05),
                high_scale: self.number("dcw_high_scaler", 0.02),
                faders: Faders {
                    multiplicative: self.number("dcw_mult_blend", 0.0),
                    analytic: self.number("dcw_mag_phase", 0.0),
                    threshold: self.number("dcw_soft_thresh", 0.0),
                },
            }),
            sde_amplitude: self.number("sde_amp", 0.0),
            periodicity: self.number("periodicity", 0.0),
        }
    }

    /// Gains of what the network hears of each channel; none where all are 1.
    pub(crate) fn gains(&self, channels: usize) -> Option<Vec<f32>> {
        let gain = |name: &str| self.number(name, 1.0);
        let gains: Vec<f32> = (0..channels)
            .map(|channel| (gain(&format!("ch_g{}", channel / GAIN_GROUP)) * gain(&format!("ch{channel}"))) as f32)
            .collect();
        gains.iter().any(|gain| *gain != 1.0).then_some(gains)
    }

    /// A curve over the whole source, resampled to its frames; of these the ones in `part`, as [frames, 1].
    pub(crate) fn curve(
        &self,
        name: &str,
        frames: usize,
        part: &Range<usize>,
        device: &Device,
    ) -> Result<Option<Tensor>> {
        let Some(KnobValue::Curve(values)) = self.knobs.get(name) else {
            return Ok(None);
        };
        if values.is_empty() {
            return Ok(None);
        }
        let values: Vec<f32> = part.clone().map(|frame| resampled(values, frame, frames)).collect();
        Tensor::from_vec(values, (part.len(), 1), device).map(Some)
    }

    fn number(&self, name: &str, default: f64) -> f64 {
        match self.knobs.get(name) {
            Some(KnobValue::Number(value)) => *value,
            _ => default,
        }
    }

    fn choice<T>(&self, name: &str, named: impl Fn(&str) -> Option<T>) -> Option<T> {
        match self.knobs.get(name) {
            Some(KnobValue::Choice(choice)) => named(choice),
            _ => None,
        }
    }
}

impl Shared {
    /// The amplitude of a stochastic step at each frame of a part, [frames, 1].
    pub(crate) fn sde_curve(&self, part: &Range<usize>, device: &Device) -> Result<Tensor> {
        let at = |frame: usize| {
            let angle = std::f64::consts::TAU * self.periodicity * frame as f64 / FRAME_RATE;
            (self.sde_amplitude * (0.5 + 0.5 * angle.cos())) as f32
        };
        let values: Vec<f32> = part.clone().map(at).collect();
        Tensor::from_vec(values, (part.len(), 1), device)
    }
}

/// Where a curve is at a frame of so many, ends on ends, straight between its values.
fn resampled(values: &[f32], frame: usize, frames: usize) -> f32 {
    let last = values.len() - 1;
    let place = if frames > 1 {
        frame as f64 / (frames - 1) as f64 * last as f64
    } else {
        0.0
    };
    let (before, share) = ((place as usize).min(last), place.fract() as f32);
    let after = (before + 1).min(last);
    values[before] + (values[after] - values[before]) * share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_straight_between_its_values() {
        let values = [0.0, 1.0, 0.0];
        let curve: Vec<f32> = (0..5).map(|frame| resampled(&values, frame, 5)).collect();
        assert_eq!(curve, [0.0, 0.5, 1.0, 0.5, 0.0]);
        assert_eq!(resampled(&[0.3], 7, 9), 0.3);
        assert_eq!(resampled(&values, 0, 1), 0.0);
    }

    #[test]
    fn gains_are_heard_only_where_a_knob_was_turned() {
        let knobs = |entries: &[(&str, f64)]| {
            let entries = entries
                .iter()
                .map(|(name, value)| ((*name).to_owned(), KnobValue::Number(*value)));
            Controls::new(&entries.collect())
        };
        assert_eq!(knobs(&[("ch_g0", 1.0)]).gains(64), None);
        let gains = knobs(&[("ch_g1", 2.0), ("ch13", 0.5)]).gains(64).unwrap();
        assert_eq!((gains[7], gains[8], gains[13], gains[16]), (1.0, 2.0, 1.0, 1.0));
    }

    #[test]
    fn nothing_said_is_the_wires_default() {
        let controls = Controls::default();
        let birth = controls.birth(false);
        assert_eq!((birth.denoise, birth.shift, birth.guidance), (0.0, 3.5, Guidance::Off));
        let correction = controls.shared().correction.unwrap();
        assert_eq!((correction.scale, correction.high_scale), (0.05, 0.02));
        assert_eq!(
            (correction.mode, correction.wavelet),
            (CorrectionMode::Double, Wavelet::Haar)
        );
        assert_eq!(controls.birth(true).denoise, 1.0);
    }
}
