//! Shape of the autoencoder, as its published `config.json` says it.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::OobleckError;

/// Dilations of the residual units in a block.
pub(crate) const DILATIONS: [usize; 3] = [1, 3, 9];
/// Taps of the convolutions that keep the rate.
pub(crate) const TAPS: usize = 7;
/// Taps of the encoder's last convolution.
pub(crate) const LAST_TAPS: usize = 3;
/// Rows of either side that a row looks at through the residual units of a block.
const UNITS_REACH: usize = (TAPS / 2) * (DILATIONS[0] + DILATIONS[1] + DILATIONS[2]);

/// Shape of an Oobleck autoencoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OobleckConfig {
    /// Channels of the encoder at the sound's rate.
    pub encoder_hidden_size: usize,
    /// By how much each block of the encoder lowers the rate; the decoder's raise it in reverse order.
    pub downsampling_ratios: Vec<usize>,
    /// Channels after each block of the encoder, and before each of the decoder in reverse order, as multiples of the channels at the
    /// sound's rate.
    pub channel_multiples: Vec<usize>,
    /// Channels of the decoder at the sound's rate.
    pub decoder_channels: usize,
    /// Channels of a latent. The encoder has twice as many outputs, of which the first half, the means, is used.
    pub decoder_input_channels: usize,
    /// Channels of a sound; 2.
    pub audio_channels: usize,
    /// Rate of a sound, in hertz.
    pub sampling_rate: u32,
}

/// A change of rate: between a block's channels at the higher rate and at the lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    /// Channels where the rate is higher.
    pub(crate) upper: usize,
    /// Channels where it is lower.
    pub(crate) lower: usize,
    pub(crate) ratio: usize,
}

impl OobleckConfig {
    /// The shape that ACE-Step 1.5 was published with: 168.7 million parameters, 25 latents of 64 channels a second.
    #[must_use]
    pub fn public() -> Self {
        Self {
            encoder_hidden_size: 128,
            downsampling_ratios: vec![2, 4, 4, 6, 10],
            channel_multiples: vec![1, 2, 4, 8, 16],
            decoder_channels: 128,
            decoder_input_channels: 64,
            audio_channels: 2,
            sampling_rate: 48_000,
        }
    }

    /// Says what of it does not fit together.
    ///
    /// # Errors
    /// `Config`.
    pub fn check(&self) -> Result<(), OobleckError> {
        let wrong = |reason: &str| Err(OobleckError::Config(reason.into()));
        if self.audio_channels != 2 {
            return wrong("a sound has two channels");
        }
        let sizes = [
            self.encoder_hidden_size,
            self.decoder_channels,
            self.decoder_input_channels,
        ];
        if sizes.contains(&0) || self.channel_multiples.contains(&0) || self.downsampling_ratios.is_empty() {
            return wrong("nothing in it may be 0 or missing");
        }
        if self.downsampling_ratios.len() != self.channel_multiples.len() {
            return wrong("every downsampling ratio needs a channel multiple");
        }
        // With an odd one, a latent would not stand for a whole number of samples.
        if self
            .downsampling_ratios
            .iter()
            .any(|ratio| *ratio == 0 || ratio % 2 == 1)
        {
            return wrong("downsampling ratios are even");
        }
        Ok(())
    }

    /// Samples of each channel that a latent stands for.
    #[must_use]
    pub fn frame_samples(&self) -> usize {
        self.downsampling_ratios.iter().product()
    }

    /// Channels of a latent.
    #[must_use]
    pub fn latent_channels(&self) -> usize {
        self.decoder_input_channels
    }

    /// The encoder's blocks.
    pub(crate) fn encoder_stages(&self) -> Vec<Stage> {
        self.stages(self.encoder_hidden_size)
    }

    /// The decoder's blocks.
    pub(crate) fn decoder_stages(&self) -> Vec<Stage> {
        let mut stages = self.stages(self.decoder_channels);
        stages.reverse();
        stages
    }

    fn stages(&self, channels: usize) -> Vec<Stage> {
        let uppers = [1].iter().chain(&self.channel_multiples);
        let lowers = uppers.clone().skip(1);
        let stages = uppers.zip(lowers).zip(&self.downsampling_ratios);
        stages
            .map(|((upper, lower), ratio)| Stage {
                upper: channels * upper,
                lower: channels * lower,
                ratio: *ratio,
            })
            .collect()
    }

    /// Latents of either side that a latent depends on through the encoder: with so many around it, a tile's latents are those of the whole.
    #[must_use]
    pub fn encode_margin(&self) -> usize {
        let rows = self
            .downsampling_ratios
            .iter()
            .rev()
            .fold(LAST_TAPS / 2, |reach, ratio| {
                reach * ratio + ratio.div_ceil(2) + UNITS_REACH
            });
        (rows + TAPS / 2).div_ceil(self.frame_samples())
    }

    /// Latents of either side that a sample depends on through the decoder.
    #[must_use]
    pub fn decode_margin(&self) -> usize {
        self.decoder_reaches().first().copied().unwrap_or(0) + TAPS / 2
    }

    /// For each of the decoder's blocks, input rows of either side that what comes out depends on.
    pub(crate) fn decoder_reaches(&self) -> Vec<usize> {
        let mut reach = TAPS / 2;
        let mut reaches: Vec<usize> = self
            .downsampling_ratios
            .iter()
            .map(|ratio| {
                reach = (reach + UNITS_REACH + ratio.div_ceil(2)).div_ceil(*ratio) + 1;
                reach
            })
            .collect();
        reaches.reverse();
        reaches
    }

    /// Bytes of device memory that encoding or decoding so many latents at once takes at most, weights and result left out; `value_bytes` is
    /// the size of the network's type.
    pub(crate) fn workspace_bytes(&self, stages: &[Stage], frames: usize, value_bytes: usize) -> usize {
        let mut rows = frames * self.frame_samples();
        let sound = rows * self.audio_channels * size_of::<f32>();
        let mut most = 0;
        for stage in stages {
            let (upper, lower) = (rows * stage.upper, rows / stage.ratio * stage.lower);
            // The trunks before and after a residual unit, or on either side of a change of rate.
            most = most.max(2 * upper + 2 * upper.max(lower));
            rows /= stage.ratio;
        }
        sound + most * value_bytes
    }
}

/// Cuts `0..length` into parts of at most `tile`, and gives each with what is around it: (part, part with its margins).
pub(crate) fn tiles(length: usize, tile: usize, margin: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    (0..length).step_by(tile.max(1)).map(move |start| {
        let end = (start + tile).min(length);
        (start..end, start.saturating_sub(margin)..(end + margin).min(length))
    })
}
