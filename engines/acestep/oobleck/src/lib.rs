//! The Oobleck autoencoder of ACE-Step 1.5: 48 kHz stereo to 64 channels at 25 Hz, and back.
//!
//! Sound is [samples, 2], latents are [frames, channels], both f32; between them the network has its own type. Its rows are moments, so that
//! a part of a sound is a part of memory: tiles and windows are views.
#![forbid(unsafe_code)]

mod config;
#[cfg(feature = "cuda")]
mod conformance;
mod decoder;
mod encoder;
mod error;
mod layers;
mod layout;
mod pack;
mod recorded;
#[cfg(test)]
mod tests;
mod window;

use candle_core::{Device, Result, Tensor, bail};
use greenroom_weights::WeightSource;

pub use config::OobleckConfig;
#[cfg(feature = "cuda")]
pub use conformance::conformance;
pub use error::OobleckError;
pub use layout::keys;
pub use pack::{LAYOUT_VERSION, pack};
pub use recorded::{WindowShape, Windows};
pub use window::Window;

use config::tiles;
use decoder::Decoder;
use encoder::{Encoder, Look};
use layers::Parts;

/// Latent frames that are encoded or decoded at once. What is around a tile is computed twice, and its workspace grows with it: on a GPU
/// 10 s keep every multiprocessor busy. On the CPU the work looks up after each layer of a tile.
const TILE_FRAMES_GPU: usize = 250;
const TILE_FRAMES_CPU: usize = 50;

/// Of the type that networks have on a GPU.
const VALUE_BYTES: usize = 2;

/// Latent frames that a window decodes on either side of those it keeps: less than the decoder looks at, but what is left out is below the
/// noise of 16-bit arithmetic.
pub const WINDOW_MARGIN: usize = 8;

/// An autoencoder whose weights are on a device. The caller holds a lease on them.
pub struct Oobleck {
    config: OobleckConfig,
    device: Device,
    encoder: Encoder,
    decoder: Decoder,
}

impl Oobleck {
    /// Takes its tensors from `weights`, and computes on their device.
    ///
    /// # Errors
    /// `Config`, `Weights`.
    pub fn new(config: &OobleckConfig, weights: &dyn WeightSource) -> std::result::Result<Self, OobleckError> {
        config.check()?;
        let parts = Parts(weights);
        Ok(Self {
            config: config.clone(),
            device: weights.device().clone(),
            encoder: Encoder::new(config, &parts)?,
            decoder: Decoder::new(config, &parts)?,
        })
    }

    /// Its shape.
    #[must_use]
    pub fn config(&self) -> &OobleckConfig {
        &self.config
    }

    /// Where it computes.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Latents of a stereo sound, left and right by turns, of whole latent frames: [frames, channels] f32 on the device. They are the means
    /// of the posterior: the same sound has the same latents.
    ///
    /// The sound goes through in tiles with as much around them as a latent depends on, so that their borders cannot be heard. `look` is
    /// called after each layer on the CPU and after each tile on a GPU, when that is done; its error ends the work.
    ///
    /// # Errors
    /// What `look` returned, or an error of candle: the sound is not of whole frames, or the device fails or has no room.
    pub fn encode<E: From<candle_core::Error>>(
        &self,
        sound: &[f32],
        look: Look<'_, E>,
    ) -> std::result::Result<Tensor, E> {
        self.encode_in_tiles(sound, self.tile_frames(), look)
    }

    /// The same, in tiles of so many frames.
    pub(crate) fn encode_in_tiles<E: From<candle_core::Error>>(
        &self,
        sound: &[f32],
        tile_frames: usize,
        look: Look<'_, E>,
    ) -> std::result::Result<Tensor, E> {
        let values = self.config.frame_samples() * self.config.audio_channels;
        let frames = self.whole_frames(sound.len(), values)?;
        let mut latents = Vec::new();
        for (part, around) in tiles(frames, tile_frames, self.config.encode_margin()) {
            let samples = around.len() * self.config.frame_samples();
            let tile = &sound[around.start * values..around.end * values];
            let tile = Tensor::from_slice(tile, (samples, self.config.audio_channels), &self.device)?;
            // On a GPU layers are only queued: there is nothing to look at before they are done.
            let queued = self.device.is_cuda();
            let mut each_layer = || if queued { Ok(()) } else { look() };
            let encoded = self.encoder.forward(&tile, &mut each_layer)?;
            latents.push(encoded.narrow(0, part.start - around.start, part.len())?.contiguous()?);
            self.device.synchronize()?;
            look()?;
        }
        Ok(Tensor::cat(&latents, 0)?)
    }

    fn whole_frames(&self, values: usize, frame: usize) -> Result<usize> {
        if values == 0 || !values.is_multiple_of(frame) {
            bail!(
                "a sound of {values} values is not of whole latent frames; trim it to a multiple of {} stereo samples",
                self.config.frame_samples()
            )
        }
        Ok(values / frame)
    }

    /// The sound of latents [frames, channels] f32 in one piece: [frames · samples a frame, 2] f32 on the device.
    ///
    /// # Errors
    /// If the latents have another shape, or the device fails or has no room.
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        self.decoder.forward(latents, &(0..latents.dim(0)?))
    }

    /// The same in tiles, so that the workspace does not grow with the length.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_in_tiles(&self, latents: &Tensor) -> Result<Tensor> {
        let margin = self.config.decode_margin();
        let sounds = tiles(latents.dim(0)?, self.tile_frames(), margin).map(|(part, around)| {
            let rows = latents.narrow(0, around.start, around.len())?;
            let kept = part.start - around.start..part.end - around.start;
            self.decoder.forward(&rows, &kept)
        });
        Tensor::cat(&sounds.collect::<Result<Vec<_>>>()?, 0)
    }

    fn tile_frames(&self) -> usize {
        match self.device {
            Device::Cpu => TILE_FRAMES_CPU,
            _ => TILE_FRAMES_GPU,
        }
    }
}

/// Bytes of a GPU's memory that [`Oobleck::encode`] takes at most in a type of two bytes, whatever the sound's length, besides the latents.
#[must_use]
pub fn encode_workspace_bytes(config: &OobleckConfig) -> u64 {
    let frames = TILE_FRAMES_GPU + 2 * config.encode_margin();
    config.workspace_bytes(&config.encoder_stages(), frames, VALUE_BYTES) as u64
}

/// Bytes of a GPU's memory that [`Oobleck::decode_window`] of so many frames takes at most in a type of two bytes.
#[must_use]
pub fn window_workspace_bytes(config: &OobleckConfig, frames: usize) -> u64 {
    // Stages of the same rates and channels as the decoder's, from the sound down.
    let stages: Vec<_> = config.decoder_stages().into_iter().rev().collect();
    config.workspace_bytes(&stages, frames + 2 * WINDOW_MARGIN, VALUE_BYTES) as u64
}
