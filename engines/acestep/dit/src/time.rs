//! How the network is told the time.

use candle_core::{Device, Result, Tensor};

use crate::config::TIME_FEATURES;

/// Times are between 0 and 1; the angles that stand for them are of so many times as much.
const SCALE: f64 = 1000.0;
/// Longest period over shortest.
const PERIODS: f64 = 10_000.0;

/// A linear layer in single precision.
pub(crate) struct Linear {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
}

impl Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)
    }
}

/// What makes a time into an embedding, and that into modulations.
pub(crate) struct TimeEmbedding {
    pub(crate) first: Linear,
    pub(crate) second: Linear,
    pub(crate) project: Linear,
}

impl TimeEmbedding {
    /// features: [times, 256] → the embeddings [times, width] and the modulations [times, 6 · width].
    pub(crate) fn forward(&self, features: &Tensor) -> Result<(Tensor, Tensor)> {
        let embedded = self.second.forward(&self.first.forward(features)?.silu()?)?;
        let projected = self.project.forward(&embedded.silu()?)?;
        Ok((embedded, projected))
    }
}

/// Cosines, then sines, of each time: [times, 256] f32.
pub(crate) fn features(times: &[f32], device: &Device) -> Result<Tensor> {
    Tensor::from_vec(values(times), (times.len(), TIME_FEATURES), device)
}

/// The same as values.
pub(crate) fn values(times: &[f32]) -> Vec<f32> {
    let half = TIME_FEATURES / 2;
    let mut values = Vec::with_capacity(times.len() * TIME_FEATURES);
    for time in times {
        let angles =
            (0..half).map(|index| SCALE * f64::from(*time) * (-PERIODS.ln() * index as f64 / half as f64).exp());
        values.extend(angles.clone().map(|angle| angle.cos() as f32));
        values.extend(angles.map(|angle| angle.sin() as f32));
    }
    values
}
