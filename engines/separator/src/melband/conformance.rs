//! Every step of the network on a GPU compared with the same step on the CPU, on the same input: what `greenroom conformance` runs, since
//! the golden tensors are compared on the CPU alone.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use greenroom_kernels::{Conformity, apply_masks, rms_norm};
use greenroom_stage::{Stage, Tenant};
use greenroom_weights::{DeviceLane, HostWeights};

use super::{
    GROUP, Melband, MelbandConfig, MelbandError, MelbandOptions, network::Network, noise, transformer::NORM_EPS,
};

/// The public network's widths, one pair of transformers deep, on a piece of 1.6 s.
const SHAPE: MelbandConfig = MelbandConfig {
    depth: 1,
    chunk: 70_560,
    ..MelbandConfig::PUBLIC
};

/// Compares in single and in half precision. Each time the network is on a stage of its own, which `stage` makes, and which has room for it.
///
/// # Errors
/// If the device fails, or a stage does; a wrong result is no error but a [`Conformity`] that does not hold.
pub fn conformance(
    lane: &Arc<dyn DeviceLane>,
    stage: &dyn Fn() -> std::result::Result<Arc<dyn Stage>, String>,
    pool: &Arc<rayon::ThreadPool>,
) -> std::result::Result<Vec<Conformity>, MelbandError> {
    let mut found = Vec::new();
    for (dtype, bound) in [(DType::F32, 1e-4), (DType::F16, 1e-2), (DType::BF16, 5e-2)] {
        let options = MelbandOptions {
            dtype,
            lane: Some(Arc::clone(lane)),
            pieces_a_batch: 1,
            pool: Arc::clone(pool),
        };
        let melband = Melband::random(SHAPE, 3, options)?;
        let stage = stage().map_err(MelbandError::Options)?;
        let moved = |error: greenroom_stage::StageError| MelbandError::Options(error.to_string());
        stage.register(Arc::clone(&melband) as Arc<dyn Tenant>).map_err(moved)?;
        stage.restore(GROUP).map_err(moved)?;
        let there = melband
            .core
            .slot
            .lease()
            .map_err(|error| MelbandError::Options(error.to_string()))?;
        let here = Network::new(&SHAPE, &HostWeights::new(&melband.image), 1)?;
        let steps = Steps {
            here: &here,
            there: &there,
            device: lane.device(),
            dtype,
        };
        for (step, error) in pool.install(|| steps.run()).map_err(MelbandError::Build)? {
            found.push(Conformity {
                name: format!("melband, {step} {}", dtype.as_str()),
                error,
                bound,
            });
        }
        drop(there);
        stage.park(GROUP).map_err(moved)?;
    }
    Ok(found)
}

/// The network in both places.
struct Steps<'a> {
    here: &'a Network,
    there: &'a Network,
    device: &'a Device,
    dtype: DType,
}

impl Steps<'_> {
    /// Each step's error; the input of each is what the CPU made before.
    fn run(&self) -> Result<Vec<(&'static str, f64)>> {
        let (frames, values) = (SHAPE.frames(), SHAPE.values_a_batch(1));
        let sound = Tensor::from_vec(noise(5, values), (1, 2, SHAPE.chunk), &Device::Cpu)?;
        let mut found = Vec::new();
        let mut note = |step, here: &Tensor, there: &Tensor| -> Result<()> {
            found.push((step, distance(here, there)?));
            Ok(())
        };
        let spectra = self.here.fourier.spectra(&sound)?;
        note("spectra", &spectra, &self.there.fourier.spectra(&self.single(&sound)?)?)?;
        let split = |network: &Network, spectra: &Tensor| network.split.forward(spectra, &network.layout, frames);
        let mut tokens = split(self.here, &spectra)?;
        note("band split", &tokens, &split(self.there, &self.single(&spectra)?)?)?;
        for (index, step) in ["transformer over time", "transformer over bands"]
            .into_iter()
            .enumerate()
        {
            let forward = |network: &Network, tokens: &Tensor| {
                let layer = &network.layers[0];
                let normed = rms_norm(tokens, layer[index].input_norm(), NORM_EPS)?;
                let next = (index == 0).then(|| layer[1].input_norm());
                layer[index].forward(tokens, &normed, next, (1, frames))
            };
            let (here, there) = (
                forward(self.here, &tokens)?,
                forward(self.there, &self.coarse(&tokens)?)?,
            );
            note(step, &here.0, &there.0)?;
            note("the norm after it", &here.1, &there.1)?;
            tokens = here.0;
        }
        let masks = self.here.masks.forward(tokens.clone(), &self.here.bands, frames)?;
        let there = self
            .there
            .masks
            .forward(self.coarse(&tokens)?, &self.there.bands, frames)?;
        note("masks", &masks, &there)?;
        let masked = apply_masks(&spectra, &masks, &self.here.layout)?;
        let there = apply_masks(&self.single(&spectra)?, &self.coarse(&masks)?, &self.there.layout)?;
        note("masked spectra", &masked, &there)?;
        note(
            "sound",
            &self.here.sound(&masked)?,
            &self.there.sound(&self.single(&masked)?)?,
        )?;
        let whole = |network: &Network, sound: &Tensor| match network.separate(sound, &mut || Ok(())) {
            Ok(singing) => Ok(singing),
            Err(_) => candle_core::bail!("the whole network was interrupted"),
        };
        note(
            "the whole",
            &whole(self.here, &sound)?,
            &whole(self.there, &self.single(&sound)?)?,
        )?;
        Ok(found)
    }

    fn single(&self, tensor: &Tensor) -> Result<Tensor> {
        tensor.to_device(self.device)
    }

    fn coarse(&self, tensor: &Tensor) -> Result<Tensor> {
        tensor.to_dtype(self.dtype)?.to_device(self.device)
    }
}

/// The larger of ‖a−b‖/‖b‖ and max|a−b|/max|b|, of what was computed `there` against `here`.
fn distance(here: &Tensor, there: &Tensor) -> Result<f64> {
    let here = here.flatten_all()?.to_vec1::<f32>()?;
    let there = there.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    if here.len() != there.len() {
        candle_core::bail!("{} values here and {} there", here.len(), there.len());
    }
    let (mut error, mut level, mut worst, mut peak) = (0.0, 0.0, 0.0_f64, 0.0_f64);
    for (here, there) in here.iter().zip(&there) {
        let (here, difference) = (f64::from(*here), f64::from(there - here));
        error += difference * difference;
        level += here * here;
        worst = worst.max(difference.abs());
        peak = peak.max(here.abs());
    }
    Ok((error / level).sqrt().max(worst / peak))
}
