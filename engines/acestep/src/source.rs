//! What is kept of a source: its latents, and the hints that the semantic tokenizer draws from them. In system RAM, since lanes share nothing.

use std::{collections::HashMap, sync::Arc};

use candle_core::{DType, Device, Tensor};
use greenroom_audio::Pcm;
use greenroom_generator::{GenerateError, PreparedSource};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::checkpoint::{FRAME_SAMPLES, LATENT_CHANNELS};

/// Names of the tensors in a sidecar, as the reference has them.
const LATENT: &str = "latent";
const HINTS: &str = "context_latent";
/// Whose weights made them, and of which audio.
const MADE_BY: &str = "made_by";
const MADE_OF: &str = "made_of";

/// A source as the networks take it; both [frames, 64] f32 on the CPU.
pub(crate) struct Encoded {
    pub(crate) latents: Tensor,
    pub(crate) hints: Tensor,
}

impl Encoded {
    /// Of what is on a device.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn from_device(latents: &Tensor, hints: &Tensor) -> candle_core::Result<Self> {
        Ok(Self {
            latents: to_host(latents)?,
            hints: to_host(hints)?,
        })
    }

    pub(crate) fn frames(&self) -> usize {
        self.latents.dims()[0]
    }

    /// The source with its sidecar.
    ///
    /// # Errors
    /// `Compute` if the sidecar cannot be made.
    pub(crate) fn prepared(self, audio: Arc<Pcm>, stamp: &str) -> Result<PreparedSource, GenerateError> {
        let sidecar = self.sidecar(&audio, stamp).map_err(|error| compute(&error))?;
        Ok(PreparedSource {
            audio,
            encoded: Arc::new(self),
            sidecar: Arc::new(sidecar),
        })
    }

    fn sidecar(&self, audio: &Pcm, stamp: &str) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let tensors = [(LATENT, &self.latents), (HINTS, &self.hints)]
            .map(|(name, tensor)| bytes(tensor).map(|bytes| (name, bytes)))
            .into_iter()
            .collect::<candle_core::Result<Vec<_>>>()?;
        let shape = vec![1, self.frames(), LATENT_CHANNELS];
        let views = tensors
            .iter()
            .map(|(name, bytes)| TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (*name, view)))
            .collect::<Result<Vec<_>, _>>()?;
        let about = HashMap::from([
            (MADE_BY.to_owned(), stamp.to_owned()),
            (MADE_OF.to_owned(), format!("{:016x}", audio.fingerprint())),
        ]);
        Ok(safetensors::serialize(views, Some(about))?)
    }

    /// What a sidecar keeps, if these weights made it of this audio.
    ///
    /// # Errors
    /// `Unsuitable`: the source has to be encoded anew.
    pub(crate) fn from_sidecar(sidecar: &[u8], audio: &Pcm, stamp: &str) -> Result<Self, GenerateError> {
        let unsuitable = |reason: &str| GenerateError::Unsuitable(format!("{reason}; prepare it anew"));
        let damaged = |_| unsuitable("its sidecar is damaged");
        let (_, header) = SafeTensors::read_metadata(sidecar).map_err(damaged)?;
        let about = header.metadata().clone().unwrap_or_default();
        if about.get(MADE_BY).map(String::as_str) != Some(stamp) {
            return Err(unsuitable("its sidecar was written with other weights"));
        }
        if about.get(MADE_OF) != Some(&format!("{:016x}", audio.fingerprint())) {
            return Err(unsuitable("its sidecar is of other audio"));
        }
        let file = SafeTensors::deserialize(sidecar).map_err(damaged)?;
        let frames = audio.frames() / FRAME_SAMPLES;
        let tensor = |name| {
            let view = file.tensor(name).map_err(damaged)?;
            if view.dtype() != Dtype::F32 || view.shape() != [1, frames, LATENT_CHANNELS] {
                return Err(unsuitable("its sidecar is of another length"));
            }
            Tensor::from_raw_buffer(view.data(), DType::F32, &[frames, LATENT_CHANNELS], &Device::Cpu)
                .map_err(|error| compute(&error))
        };
        Ok(Self {
            latents: tensor(LATENT)?,
            hints: tensor(HINTS)?,
        })
    }
}

/// The encoding of a prepared source.
///
/// # Errors
/// `Unsuitable` if another generator prepared it.
pub(crate) fn encoded(source: &PreparedSource) -> Result<Arc<Encoded>, GenerateError> {
    Arc::clone(&source.encoded)
        .downcast()
        .map_err(|_| GenerateError::Unsuitable("another generator prepared it".into()))
}

/// A copy in system RAM.
///
/// # Errors
/// If the device fails.
pub(crate) fn to_host(tensor: &Tensor) -> candle_core::Result<Tensor> {
    tensor.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.contiguous()
}

pub(crate) fn compute(error: &dyn std::fmt::Display) -> GenerateError {
    GenerateError::Compute(error.to_string())
}

fn bytes(tensor: &Tensor) -> candle_core::Result<Vec<u8>> {
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: usize = 30;

    fn audio() -> Arc<Pcm> {
        let samples = greenroom_weights::uniform("audio", 1, 2 * FRAMES * FRAME_SAMPLES);
        Arc::new(Pcm::new(48_000, 2, samples))
    }

    fn prepared() -> PreparedSource {
        let tensor = |name| {
            let values = greenroom_weights::uniform(name, 1, FRAMES * LATENT_CHANNELS);
            Tensor::from_vec(values, (FRAMES, LATENT_CHANNELS), &Device::Cpu).unwrap()
        };
        let encoded = Encoded {
            latents: tensor("latents"),
            hints: tensor("hints"),
        };
        encoded.prepared(audio(), "stamp").unwrap()
    }

    #[test]
    fn a_sidecar_gives_back_what_was_encoded() {
        let source = prepared();
        let restored = Encoded::from_sidecar(&source.sidecar, &source.audio, "stamp").unwrap();
        let original = encoded(&source).unwrap();
        for (restored, original) in [
            (&restored.latents, &original.latents),
            (&restored.hints, &original.hints),
        ] {
            assert_eq!(bytes(restored).unwrap(), bytes(original).unwrap());
        }
    }

    #[test]
    fn a_sidecar_of_other_weights_or_of_other_audio_is_not_used() {
        let source = prepared();
        let refusal = |sidecar: &[u8], audio: &Pcm, stamp| match Encoded::from_sidecar(sidecar, audio, stamp) {
            Ok(_) => panic!("it fits"),
            Err(error) => error.to_string(),
        };
        assert!(refusal(&source.sidecar, &source.audio, "other").contains("other weights"));
        let mut samples = source.audio.samples().to_vec();
        samples[17] += 0.5;
        assert!(refusal(&source.sidecar, &Pcm::new(48_000, 2, samples), "stamp").contains("other audio"));
        for length in [0, 20, source.sidecar.len() - 1] {
            assert!(refusal(&source.sidecar[..length], &source.audio, "stamp").contains("damaged"));
        }
    }
}
