//! From latents to sound.

use std::ops::Range;

use candle_core::{DType, Result, Tensor, bail};
use greenroom_kernels::{Convolution, ConvolutionLayer, ResidualUnit, convolve, convolve_to_sound, convolve_trunk};
use greenroom_weights::WeightsError;

use crate::{
    config::{OobleckConfig, TAPS},
    layers::{Parts, first_snake},
    layout::SOUND,
};

pub(crate) struct Decoder {
    first: ConvolutionLayer,
    /// The Snake of the first block.
    snake: Tensor,
    pub(crate) blocks: Vec<DecoderBlock>,
    sound: ConvolutionLayer,
}

/// A higher rate, then residual units. The Snake that it begins with was applied by what is before it.
pub(crate) struct DecoderBlock {
    up: ConvolutionLayer,
    /// The Snake of the first unit.
    first: Tensor,
    units: Vec<ResidualUnit>,
    /// Input rows of either side that the sound depends on through this block and what follows.
    reach: usize,
}

impl Decoder {
    pub(crate) fn new(config: &OobleckConfig, parts: &Parts<'_>) -> std::result::Result<Self, WeightsError> {
        let (stages, reaches) = (config.decoder_stages(), config.decoder_reaches());
        let channels = stages.first().map_or(0, |first| first.lower);
        let block = |index: usize| format!("decoder.block.{index}");
        let mut blocks = Vec::with_capacity(stages.len());
        for (index, (stage, reach)) in stages.iter().zip(reaches).enumerate() {
            let prefix = block(index);
            let next = match stages.get(index + 1) {
                Some(_) => format!("{}.snake1", block(index + 1)),
                None => "decoder.snake1".into(),
            };
            let next = parts.snake(&next, stage.upper)?;
            let (up, widths) = (Convolution::up(stage.ratio), [stage.lower, stage.upper]);
            blocks.push(DecoderBlock {
                up: parts.convolution(&format!("{prefix}.conv_t1"), up, widths, true)?,
                first: parts.snake(&first_snake(&prefix, 0), stage.upper)?,
                units: parts.units(&prefix, stage.upper, &next)?,
                reach,
            });
        }
        let same = Convolution::same(TAPS, 1);
        let sound = [config.decoder_channels, config.audio_channels];
        Ok(Self {
            first: parts.convolution("decoder.conv1", same, [config.latent_channels(), channels], true)?,
            snake: parts.snake(&format!("{}.snake1", block(0)), channels)?,
            blocks,
            sound: parts.convolution(SOUND, same, sound, false)?,
        })
    }

    /// The sound of the frames `kept` of latents [frames, channels] f32: [samples, 2] f32.
    ///
    /// After each block, what no longer reaches the kept frames is left out: the rates are then high, and so is the price of a frame.
    pub(crate) fn forward(&self, latents: &Tensor, kept: &Range<usize>) -> Result<Tensor> {
        let (frames, _) = latents.dims2()?;
        if kept.is_empty() || kept.end > frames {
            bail!("frames {kept:?} cannot be decoded from {frames}")
        }
        let latents = latents.to_dtype(self.first.weight.dtype())?.contiguous()?;
        let mut rows = Rows {
            data: convolve(&latents, &self.first, Some(&self.snake))?,
            first: 0,
            kept: kept.clone(),
        };
        for block in &self.blocks {
            rows = rows.near_kept(block.reach)?;
            let trunk = block.forward(&rows.data)?;
            rows = rows.followed_by(trunk.get(1)?, block.up.shape.upsampling);
        }
        let rows = rows.near_kept(TAPS / 2)?;
        let sound = convolve_to_sound(&rows.data, &self.sound)?;
        rows.followed_by(sound, 1).near_kept(0)?.data.to_dtype(DType::F32)
    }
}

impl DecoderBlock {
    /// The trunk that the residual units leave, of rows that a Snake has curved.
    pub(crate) fn forward(&self, curved: &Tensor) -> Result<Tensor> {
        let mut trunk = convolve_trunk(curved, &self.up, &self.first)?;
        for unit in &self.units {
            trunk = unit.forward(trunk)?;
        }
        Ok(trunk)
    }
}

/// Rows at some rate, and which of them are asked for.
struct Rows {
    /// [rows, channels].
    data: Tensor,
    /// The number of its first row, counted at this rate from the beginning.
    first: usize,
    /// Numbers of rows that shall become sound.
    kept: Range<usize>,
}

impl Rows {
    /// Those that are kept and `reach` more on either side, as far as there are any.
    fn near_kept(&self, reach: usize) -> Result<Self> {
        let end = self.first + self.data.dim(0)?;
        let first = self.kept.start.saturating_sub(reach).max(self.first);
        let end = (self.kept.end + reach).min(end);
        Ok(Self {
            data: self.data.narrow(0, first - self.first, end - first)?,
            first,
            kept: self.kept.clone(),
        })
    }

    /// What a layer made of them, at a rate so many times as high.
    fn followed_by(&self, data: Tensor, ratio: usize) -> Self {
        Self {
            data,
            first: self.first * ratio,
            kept: self.kept.start * ratio..self.kept.end * ratio,
        }
    }
}
