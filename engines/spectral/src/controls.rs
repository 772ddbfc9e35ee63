//! The knobs that this generator answers to, as one generation holds them.

use std::sync::Arc;

use greenroom_generator::{KnobValue, Knobs};

use crate::texture::Texture;

/// Channels of the latent that the gain knobs speak of; here each is a slice of the spectrum.
pub(crate) const CHANNELS: usize = 64;
const CHANNELS_PER_GROUP: usize = 8;
/// Channels with a gain knob of their own.
const CHANNELS_SINGLE: [usize; 6] = [13, 14, 19, 23, 29, 56];

/// Everything that one generation was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Controls {
    /// 0 = the source, 1 = all of the structure below the envelope is new.
    denoise: f32,
    /// `sde_denoise_curve`: scales `denoise` along the source.
    denoise_curve: Option<Arc<Vec<f32>>>,
    /// How far the result is pulled back to the source.
    source_pull: f32,
    /// `x0_target_curve`: takes the place of `source_pull` along the source.
    source_pull_curve: Option<Arc<Vec<f32>>>,
    /// Which of all variations.
    pub(crate) seed: u64,
    /// Share of an earlier generation in this one's source.
    pub(crate) feedback: f32,
    /// How many generations earlier, 1..=8.
    pub(crate) feedback_depth: usize,
    /// How much of the source's own peaks is kept.
    pub(crate) hint: f32,
    /// The prompt's colour at the guidance asked for.
    pub(crate) texture: Texture,
    /// Gain of each slice of the spectrum.
    pub(crate) gains: [f32; CHANNELS],
}

impl Controls {
    /// Reads the knobs (already within their ranges; absent ones take the wire's default) and the prompt's colour.
    pub(crate) fn read(knobs: &Knobs, sde: bool, colour: Texture) -> Self {
        let number = |name: &str, default: f64| match knobs.get(name) {
            Some(KnobValue::Number(value)) => *value,
            _ => default,
        };
        let curve = |name: &str| match knobs.get(name) {
            Some(KnobValue::Curve(values)) if !values.is_empty() => Some(Arc::new(values.clone())),
            _ => None,
        };
        // 15 is the knob's end; beyond twice the default a prompt's colour would be all extremes.
        let guidance = number("guidance_scale", 1.0).min(2.0) as f32;
        Self {
            denoise: number(if sde { "sde_amp" } else { "denoise" }, 0.0) as f32,
            denoise_curve: curve("sde_denoise_curve"),
            source_pull: number("x0_target", 0.0) as f32,
            source_pull_curve: curve("x0_target_curve"),
            seed: number("seed", 0.0) as u64,
            feedback: number("feedback", 0.0) as f32,
            feedback_depth: number("feedback_depth", 1.0) as usize,
            hint: number("hint_strength", 1.0) as f32,
            texture: colour.at_strength(guidance),
            gains: gains(number),
        }
    }

    /// How far from the source the result is at a place in the loop (its part, 0..1): 0 = the source itself.
    pub(crate) fn strength_at(&self, loop_part: f64) -> f32 {
        let along = |curve: &Option<Arc<Vec<f32>>>, otherwise: f32| {
            curve
                .as_ref()
                .map_or(otherwise, |values| value_along(values, loop_part))
        };
        let denoise = self.denoise * along(&self.denoise_curve, 1.0);
        let pull = along(&self.source_pull_curve, self.source_pull);
        (denoise * (1.0 - pull)).clamp(0.0, 1.0)
    }

    /// Whether the result is the source everywhere, gains aside.
    pub(crate) fn keeps_source(&self) -> bool {
        self.denoise == 0.0
    }
}

fn gains(number: impl Fn(&str, f64) -> f64) -> [f32; CHANNELS] {
    let mut gains = [1.0; CHANNELS];
    for (channel, gain) in gains.iter_mut().enumerate() {
        *gain = number(&format!("ch_g{}", channel / CHANNELS_PER_GROUP), 1.0) as f32;
    }
    for channel in CHANNELS_SINGLE {
        gains[channel] *= number(&format!("ch{channel}"), 1.0) as f32;
    }
    gains
}

/// A curve's value at a part (0..1) of its length, between its points in a straight line.
fn value_along(values: &[f32], part: f64) -> f32 {
    let place = part.clamp(0.0, 1.0) * (values.len() - 1) as f64;
    let left = place as usize;
    let right = (left + 1).min(values.len() - 1);
    let way = (place - left as f64) as f32;
    values[left] * (1.0 - way) + values[right] * way
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knobs(list: &[(&str, f64)]) -> Knobs {
        list.iter()
            .map(|(name, value)| ((*name).to_owned(), KnobValue::Number(*value)))
            .collect()
    }

    #[test]
    fn absent_knobs_leave_the_source_alone() {
        let controls = Controls::read(&Knobs::new(), false, Texture::default());
        assert!(controls.keeps_source());
        assert_eq!(controls.gains, [1.0; CHANNELS]);
        assert_eq!(controls.hint, 1.0);
    }

    #[test]
    fn sde_sessions_read_their_own_amount() {
        let both = knobs(&[("denoise", 0.9), ("sde_amp", 0.3)]);
        assert_eq!(Controls::read(&both, false, Texture::default()).strength_at(0.0), 0.9);
        assert_eq!(Controls::read(&both, true, Texture::default()).strength_at(0.0), 0.3);
    }

    #[test]
    fn curves_and_pull_shape_the_strength() {
        let mut set = knobs(&[("denoise", 1.0), ("x0_target", 0.25)]);
        assert_eq!(Controls::read(&set, false, Texture::default()).strength_at(0.5), 0.75);
        set.insert("sde_denoise_curve".into(), KnobValue::Curve(vec![0.0, 1.0]));
        assert_eq!(Controls::read(&set, false, Texture::default()).strength_at(0.5), 0.375);
        set.insert("x0_target_curve".into(), KnobValue::Curve(vec![1.0]));
        assert_eq!(Controls::read(&set, false, Texture::default()).strength_at(0.5), 0.0);
    }

    #[test]
    fn group_and_single_gains_multiply() {
        let controls = Controls::read(&knobs(&[("ch_g1", 2.0), ("ch13", 0.5)]), false, Texture::default());
        assert_eq!(controls.gains[8], 2.0);
        assert_eq!(controls.gains[13], 1.0);
        assert_eq!(controls.gains[16], 1.0);
    }
}
