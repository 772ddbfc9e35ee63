//! The whole network, from a piece of a track to its singing.

use candle_core::{DType, Result, Tensor};
use greenroom_kernels::{BandLayout, apply_masks, band_features, bias_glu, bias_tanh, linear, rms_norm, swap_leading};
use greenroom_weights::WeightSource;

use super::{
    bands::Bands,
    bridge::Bridge,
    config::MelbandConfig,
    error::MelbandError,
    fourier::Fourier,
    interruption::{Interruption, Look},
    transformer::{Axis, NORM_EPS, Transformer},
};

/// The modules of the weight group.
pub(crate) struct Network {
    bridge: Bridge,
    pub(super) bands: Bands,
    pub(super) layout: BandLayout,
    pub(super) fourier: Fourier,
    pub(super) split: BandSplit,
    pub(super) layers: Vec<[Transformer; 2]>,
    pub(super) masks: MaskEstimator,
}

/// Turns the bands of a spectrum into tokens.
pub(super) struct BandSplit {
    norm: Tensor,
    /// Of each group of bands.
    weights: Vec<Tensor>,
    bias: Tensor,
}

/// Turns tokens into the masks of their bands.
pub(super) struct MaskEstimator {
    hidden: [(Tensor, Tensor); 2],
    /// Of each group of bands.
    outputs: Vec<(Tensor, Tensor)>,
}

impl Network {
    /// Takes its tensors from `weights`, and computes on their device, so many pieces of a track at a time.
    pub(crate) fn new(
        config: &MelbandConfig,
        weights: &dyn WeightSource,
        pieces_a_batch: usize,
    ) -> std::result::Result<Self, MelbandError> {
        let bands = Bands::of(config);
        let layers = (0..config.depth)
            .map(|layer| {
                Ok([
                    Transformer::new(config, weights, layer, Axis::Time)?,
                    Transformer::new(config, weights, layer, Axis::Bands)?,
                ])
            })
            .collect::<std::result::Result<_, MelbandError>>()?;
        Ok(Self {
            bridge: Bridge::new(weights.device(), config.values_a_batch(pieces_a_batch))?,
            layout: bands.layout(weights.device())?,
            fourier: Fourier::new(config, weights)?,
            split: BandSplit::new(config, &bands, weights)?,
            layers,
            masks: MaskEstimator::new(config, &bands, weights)?,
            bands,
        })
    }

    /// The way to the device and back.
    pub(crate) fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    /// The singing in `sound`, both `[batch, 2, samples]`, single precision, at the network's rate. What does not fill a hop is left out.
    ///
    /// `look` is called after each transformer, with no more than it queued; it ends the work by an error.
    pub(crate) fn separate(&self, sound: &Tensor, look: Look<'_>) -> std::result::Result<Tensor, Interruption> {
        let spectra = self.fourier.spectra(sound)?;
        let masked = self.mask(&spectra, look)?;
        drop(spectra);
        Ok(self.sound(&masked)?)
    }

    pub(super) fn sound(&self, spectra: &Tensor) -> Result<Tensor> {
        let frames = spectra.dim(2)?;
        self.fourier.sound(spectra, (frames - 1) * self.fourier.hop())
    }

    /// Spectra of a sound, `[batch, 2, frames, bins, 2]`, times the masks of the singing.
    pub(super) fn mask(&self, spectra: &Tensor, look: Look<'_>) -> std::result::Result<Tensor, Interruption> {
        let (batch, _, frames, ..) = spectra.dims5()?;
        let mut tokens = self.split.forward(spectra, &self.layout, batch * frames)?;
        let mut normed = match self.layers.first() {
            Some([first, _]) => rms_norm(&tokens, first.input_norm(), NORM_EPS)?,
            None => tokens.clone(),
        };
        let mut pace = self.bridge.pace();
        let transformers: Vec<&Transformer> = self.layers.iter().flatten().collect();
        for (index, transformer) in transformers.iter().enumerate() {
            let next = transformers.get(index + 1).map(|next| next.input_norm());
            (tokens, normed) = transformer.forward(&tokens, &normed, next, (batch, frames))?;
            pace.step()?;
            look()?;
        }
        drop(normed);
        let masks = self.masks.forward(tokens, &self.bands, batch * frames)?;
        Ok(apply_masks(spectra, &masks, &self.layout)?)
    }
}

impl BandSplit {
    fn new(
        config: &MelbandConfig,
        bands: &Bands,
        weights: &dyn WeightSource,
    ) -> std::result::Result<Self, MelbandError> {
        Ok(Self {
            norm: weights.tensor("bands.norm", &[bands.padded()])?,
            weights: bands
                .groups
                .iter()
                .enumerate()
                .map(|(index, group)| {
                    weights.tensor(
                        &format!("bands.{index}.weight"),
                        &[group.count, config.dim, group.width],
                    )
                })
                .collect::<std::result::Result<_, _>>()?,
            bias: weights.tensor("bands.bias", &[config.bands, config.dim])?,
        })
    }

    /// `[rows · bands, dim]`, the bands of a spectrum one after another.
    pub(super) fn forward(&self, spectra: &Tensor, layout: &BandLayout, rows: usize) -> Result<Tensor> {
        let features = band_features(spectra, &self.norm, NORM_EPS, layout, self.dtype())?;
        let parts = self
            .weights
            .iter()
            .enumerate()
            .map(|(group, weight)| linear(&layout.group(&features, group, rows)?, weight))
            .collect::<Result<Vec<_>>>()?;
        drop(features);
        let tokens = swap_leading(&Tensor::cat(&parts, 0)?, Some(&self.bias))?;
        let (rows, bands, dim) = tokens.dims3()?;
        tokens.reshape((rows * bands, dim))
    }

    /// Type of the network's data.
    fn dtype(&self) -> DType {
        self.weights.first().map_or(DType::F32, Tensor::dtype)
    }
}

impl MaskEstimator {
    fn new(
        config: &MelbandConfig,
        bands: &Bands,
        weights: &dyn WeightSource,
    ) -> std::result::Result<Self, MelbandError> {
        let (count, hidden) = (config.bands, config.hidden());
        let layer = |index: usize, inputs: usize| -> std::result::Result<_, MelbandError> {
            Ok((
                weights.tensor(&format!("masks.{index}.weight"), &[count, hidden, inputs])?,
                weights.tensor(&format!("masks.{index}.bias"), &[count, hidden])?,
            ))
        };
        let outputs = bands.groups.iter().enumerate().map(|(index, group)| {
            let rows = 2 * group.width;
            Ok((
                weights.tensor(&format!("masks.4.{index}.weight"), &[group.count, rows, hidden])?,
                weights.tensor(&format!("masks.4.{index}.bias"), &[group.count, rows])?,
            ))
        });
        Ok(Self {
            hidden: [layer(0, config.dim)?, layer(2, hidden)?],
            outputs: outputs.collect::<std::result::Result<_, MelbandError>>()?,
        })
    }

    /// The masks of all bands, in the order that the kernels want them in.
    pub(super) fn forward(&self, tokens: Tensor, bands: &Bands, rows: usize) -> Result<Tensor> {
        let dim = tokens.dim(1)?;
        let mut x = swap_leading(&tokens.reshape((rows, bands.bands.len(), dim))?, None)?;
        drop(tokens);
        for (weight, bias) in &self.hidden {
            x = bias_tanh(linear(&x, weight)?, bias)?;
        }
        let parts = bands.groups.iter().zip(&self.outputs).map(|(group, (weight, bias))| {
            let members = x.narrow(0, group.first, group.count)?;
            bias_glu(&linear(&members, weight)?, bias)?.flatten_all()
        });
        Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)
    }
}
