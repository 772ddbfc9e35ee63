//! Guidance away from a negative prompt: adaptive projected guidance (Sadat et al. 2024) over residual classifier-free guidance
//! (Kodaira et al. 2023), which saves most of the second forward.

use candle_core::{Result, Tensor};

/// Share of the last difference that the next one is pushed away from.
const MOMENTUM: f64 = -0.75;
/// Longest difference, over time, a channel.
const THRESHOLD: f64 = 2.5;
/// Keeps directions of silence finite.
const TINY: f64 = 1e-12;

/// Where the velocity of the negative prompt comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guidance {
    /// There is no guidance.
    Off,
    /// Of the first step of each generation, kept for the others.
    Initialize,
    /// It is the noise that the generation started from.
    SelfNegative,
    /// Of every step.
    Full,
}

impl Guidance {
    /// By its name on the wire.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "off" => Self::Off,
            "initialize" => Self::Initialize,
            "self" => Self::SelfNegative,
            "full" => Self::Full,
            _ => return None,
        })
    }
}

/// A guided velocity. All are [frames, channels]; `momentum` is what the last step of this generation left, and is replaced.
pub(crate) fn guided(
    positive: &Tensor,
    negative: &Tensor,
    momentum: &mut Option<Tensor>,
    scale: f64,
    rescale: f64,
) -> Result<Tensor> {
    let mut difference = (positive - negative)?;
    if let Some(before) = momentum {
        difference = (difference + (&*before * MOMENTUM)?)?;
    }
    *momentum = Some(difference.clone());
    let length = length(&difference)?;
    // No longer than the threshold, in the same direction.
    let shrunk = difference.broadcast_mul(&(length.recip()? * THRESHOLD)?.minimum(1.0)?)?;
    let direction = positive.broadcast_div(&self::length(positive)?)?;
    // What goes along with the velocity only makes it louder.
    let along = direction.broadcast_mul(&(&shrunk * &direction)?.sum_keepdim(0)?)?;
    let guided = (positive + ((shrunk - along)? * (scale - 1.0))?)?;
    if rescale == 0.0 {
        return Ok(guided);
    }
    let level = self::length(positive)?.broadcast_div(&self::length(&guided)?)?;
    (guided.broadcast_mul(&level)? * rescale)? + (guided * (1.0 - rescale))?
}

/// Of each channel over time, [1, channels]; never 0.
fn length(x: &Tensor) -> Result<Tensor> {
    x.sqr()?.sum_keepdim(0)?.sqrt()?.maximum(TINY)
}
