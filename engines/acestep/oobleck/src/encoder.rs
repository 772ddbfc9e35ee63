//! From sound to latents.

use candle_core::{DType, Tensor};
use greenroom_kernels::{Convolution, ConvolutionLayer, ResidualUnit, convolve, convolve_sound, convolve_trunk};
use greenroom_weights::WeightsError;

use crate::{
    config::{LAST_TAPS, OobleckConfig, TAPS},
    layers::{Parts, first_snake},
};

/// Looks whether the work shall go on; an error ends it.
pub(crate) type Look<'a, E> = &'a mut dyn FnMut() -> Result<(), E>;

pub(crate) struct Encoder {
    sound: ConvolutionLayer,
    first: Tensor,
    pub(crate) blocks: Vec<EncoderBlock>,
    last: ConvolutionLayer,
}

/// Residual units, then a lower rate.
pub(crate) struct EncoderBlock {
    pub(crate) units: Vec<ResidualUnit>,
    down: ConvolutionLayer,
    /// The Snake that reads what comes out.
    next: Tensor,
}

impl Encoder {
    pub(crate) fn new(config: &OobleckConfig, parts: &Parts<'_>) -> Result<Self, WeightsError> {
        let stages = config.encoder_stages();
        let channels = stages.last().map_or(0, |last| last.lower);
        let block = |index: usize| format!("encoder.block.{index}");
        let mut blocks = Vec::with_capacity(stages.len());
        for (index, stage) in stages.iter().enumerate() {
            let prefix = block(index);
            let next = match stages.get(index + 1) {
                Some(_) => first_snake(&block(index + 1), 0),
                None => "encoder.snake1".into(),
            };
            let snake = parts.snake(&format!("{prefix}.snake1"), stage.upper)?;
            let (down, widths) = (Convolution::down(stage.ratio), [stage.upper, stage.lower]);
            blocks.push(EncoderBlock {
                units: parts.units(&prefix, stage.upper, &snake)?,
                down: parts.convolution(&format!("{prefix}.conv1"), down, widths, true)?,
                next: parts.snake(&next, stage.lower)?,
            });
        }
        let first = [config.audio_channels, config.encoder_hidden_size];
        let last = [channels, config.latent_channels()];
        Ok(Self {
            sound: parts.convolution("encoder.conv1", Convolution::same(TAPS, 1), first, true)?,
            first: parts.snake(&first_snake(&block(0), 0), config.encoder_hidden_size)?,
            blocks,
            last: parts.convolution("encoder.conv2", Convolution::same(LAST_TAPS, 1), last, true)?,
        })
    }

    /// The network's type.
    pub(crate) fn dtype(&self) -> DType {
        self.last.weight.dtype()
    }

    /// Latents [frames, channels] f32 of a sound [samples, 2] f32 of whole frames; looks before every layer.
    pub(crate) fn forward<E: From<candle_core::Error>>(&self, sound: &Tensor, look: Look<'_, E>) -> Result<Tensor, E> {
        let mut trunk = convolve_sound(sound, &self.sound, &self.first, self.dtype())?;
        for block in &self.blocks {
            trunk = block.forward(trunk, look)?;
        }
        look()?;
        Ok(convolve(&trunk.get(1)?, &self.last, None)?.to_dtype(DType::F32)?)
    }
}

impl EncoderBlock {
    /// The trunk of the next block.
    pub(crate) fn forward<E: From<candle_core::Error>>(
        &self,
        mut trunk: Tensor,
        look: Look<'_, E>,
    ) -> Result<Tensor, E> {
        for unit in &self.units {
            look()?;
            trunk = unit.forward(trunk)?;
        }
        look()?;
        Ok(convolve_trunk(&trunk.get(1)?, &self.down, &self.next)?)
    }
}
