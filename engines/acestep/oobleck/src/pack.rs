//! A checkpoint's tensors as the convolutions take them: weight-norm folded, taps outermost, Snakes out of their logarithms.

use candle_core::DType;
use greenroom_weights::{BuildError, ImageBuilder, Tensors};

use crate::{
    config::{DILATIONS, LAST_TAPS, OobleckConfig, Stage, TAPS},
    layout::{SOUND, Weights, convolution, snake, transposed, unit},
};

/// Number of what is packed here: changes whenever a name, a shape, the order or the folding does.
pub const LAYOUT_VERSION: u32 = 1;

/// What Snake adds to its divisor.
const SNAKE_EPS: f32 = 1e-9;

/// Packs everything that the autoencoder needs on its device; matrices are of `dtype`, what is small or meets the sound is f32.
///
/// # Errors
/// If a tensor cannot be read or written.
pub fn pack(
    config: &OobleckConfig,
    tensors: &dyn Tensors,
    dtype: DType,
    builder: &mut ImageBuilder<'_>,
) -> Result<(), BuildError> {
    config.check()?;
    let mut packer = Packer {
        tensors,
        dtype,
        builder,
    };
    packer.encoder(config)?;
    packer.decoder(config)
}

struct Packer<'a, 'b> {
    tensors: &'a dyn Tensors,
    dtype: DType,
    builder: &'a mut ImageBuilder<'b>,
}

impl Packer<'_, '_> {
    fn encoder(&mut self, config: &OobleckConfig) -> Result<(), BuildError> {
        let shape = [config.encoder_hidden_size, config.audio_channels, TAPS];
        self.convolution("encoder.conv1", shape, shape[0], true, DType::F32)?;
        let stages = config.encoder_stages();
        for (block, stage) in stages.iter().enumerate() {
            let prefix = format!("encoder.block.{block}");
            self.units(&prefix, stage.upper)?;
            self.snake(&format!("{prefix}.snake1"), stage.upper)?;
            let shape = [stage.lower, stage.upper, 2 * stage.ratio];
            self.convolution(&format!("{prefix}.conv1"), shape, stage.lower, true, self.dtype)?;
        }
        let (channels, latent) = (stages.last().map_or(0, |last| last.lower), config.latent_channels());
        self.snake("encoder.snake1", channels)?;
        // The second half of its outputs is the spread of the posterior, which nobody asks for.
        let shape = [2 * latent, channels, LAST_TAPS];
        self.convolution("encoder.conv2", shape, latent, true, self.dtype)
    }

    fn decoder(&mut self, config: &OobleckConfig) -> Result<(), BuildError> {
        let stages = config.decoder_stages();
        let channels = stages.first().map_or(0, |first| first.lower);
        let shape = [channels, config.latent_channels(), TAPS];
        self.convolution("decoder.conv1", shape, channels, true, self.dtype)?;
        for (block, stage) in stages.iter().enumerate() {
            let prefix = format!("decoder.block.{block}");
            self.snake(&format!("{prefix}.snake1"), stage.lower)?;
            self.transposed(&format!("{prefix}.conv_t1"), stage)?;
            self.units(&prefix, stage.upper)?;
        }
        self.snake("decoder.snake1", config.decoder_channels)?;
        let shape = [config.audio_channels, config.decoder_channels, TAPS];
        self.convolution(SOUND, shape, shape[0], false, DType::F32)
    }

    fn units(&mut self, block: &str, channels: usize) -> Result<(), BuildError> {
        for index in 0..DILATIONS.len() {
            let unit = unit(block, index);
            self.snake(&format!("{unit}.snake1"), channels)?;
            let shape = [channels, channels, TAPS];
            self.convolution(&format!("{unit}.conv1"), shape, channels, true, self.dtype)?;
            self.snake(&format!("{unit}.snake2"), channels)?;
            self.convolution(
                &format!("{unit}.conv2"),
                [channels, channels, 1],
                channels,
                true,
                self.dtype,
            )?;
        }
        Ok(())
    }

    /// Frequencies and weights of a Snake, [2, channels].
    fn snake(&mut self, name: &str, channels: usize) -> Result<(), BuildError> {
        let [alpha, beta] = snake(name, channels);
        let mut values: Vec<f32> = self.tensors.values(&alpha)?.into_iter().map(f32::exp).collect();
        let beta = self.tensors.values(&beta)?;
        values.extend(beta.into_iter().map(|beta| 1.0 / (beta.exp() + SNAKE_EPS)));
        Ok(self.builder.tensor(name, &[2, channels], DType::F32, &values)?)
    }

    /// Of a kernel [out, in, taps] the first `kept` outputs, as [kept, taps · in].
    fn convolution(
        &mut self,
        name: &str,
        shape: [usize; 3],
        kept: usize,
        biased: bool,
        dtype: DType,
    ) -> Result<(), BuildError> {
        let [_, inputs, taps] = shape;
        let keys = convolution(name, shape, biased);
        let kernel = self.folded(&keys)?;
        let mut weights = Vec::with_capacity(kept * taps * inputs);
        for row in kernel.chunks_exact(inputs * taps).take(kept) {
            weights.extend((0..taps).flat_map(|tap| (0..inputs).map(move |input| row[input * taps + tap])));
        }
        let shape = [kept, taps * inputs];
        self.builder
            .tensor(&format!("{name}.weight"), &shape, dtype, &weights)?;
        self.bias(name, &keys, kept)
    }

    /// Of a transposed kernel [in, out, 2 · ratio]: [ratio · out, 2 · in], see `Convolution::up`.
    fn transposed(&mut self, name: &str, stage: &Stage) -> Result<(), BuildError> {
        let Stage { upper, lower, ratio } = *stage;
        let keys = transposed(name, stage);
        let kernel = self.folded(&keys)?;
        let mut weights = Vec::with_capacity(kernel.len());
        for phase in 0..ratio {
            for out in 0..upper {
                for tap in [phase + ratio, phase] {
                    weights.extend((0..lower).map(|input| kernel[(input * upper + out) * 2 * ratio + tap]));
                }
            }
        }
        let shape = [ratio * upper, 2 * lower];
        self.builder
            .tensor(&format!("{name}.weight"), &shape, self.dtype, &weights)?;
        self.bias(name, &keys, upper)
    }

    fn bias(&mut self, name: &str, keys: &Weights, kept: usize) -> Result<(), BuildError> {
        if let Some(key) = &keys.bias {
            let bias = self.tensors.values(key)?;
            self.builder
                .tensor(&format!("{name}.bias"), &[kept], DType::F32, &bias[..kept])?;
        }
        Ok(())
    }

    /// Directions times lengths: what weight-norm makes of its two tensors. A direction is what shares a first index.
    fn folded(&self, keys: &Weights) -> Result<Vec<f32>, BuildError> {
        let mut kernel = self.tensors.values(&keys.direction)?;
        let lengths = self.tensors.values(&keys.length)?;
        let size = kernel.len() / lengths.len();
        for (direction, length) in kernel.chunks_exact_mut(size).zip(lengths) {
            let squares: f64 = direction.iter().map(|value| f64::from(*value).powi(2)).sum();
            let scale = f64::from(length) / squares.sqrt();
            for value in direction {
                *value = (f64::from(*value) * scale) as f32;
            }
        }
        Ok(kernel)
    }
}
