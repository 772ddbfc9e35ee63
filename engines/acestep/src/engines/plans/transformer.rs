//! The diffusion transformer's plan.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{D, DType, Result, Tensor, bail};
use greenroom_compiled::{Component, Engine, Precision};
use greenroom_diffusion::Batch;
use greenroom_dit::{DitConfig, LoraSet, Memory, refit_matrices};
use greenroom_weights::PackedImage;

use super::{Plan, RefitError};
use crate::engines::{
    Decoder,
    runs::{Run, lengths, runs},
};

/// Frames of a token: what is exported takes whole tokens.
const PATCH: usize = 2;

pub(super) struct PlannedTransformer {
    name: String,
    config: DitConfig,
    /// The base of its weights.
    base: Arc<PackedImage>,
    /// What its matrices are in; none if that is nothing that LoRAs can be added in.
    dtype: Option<DType>,
    // Ticks alone are lent it, so nobody ever waits: the lock is what tells the compiler so.
    fitted: Mutex<Fitted>,
}

/// A plan, and what is in its weights.
struct Fitted {
    plan: Box<dyn Plan>,
    /// The LoRAs; none where nobody knows, which nothing but another load makes good.
    worn: Option<LoraSet>,
    /// Those that it did not take: it is not asked again until there are others.
    refused: Option<LoraSet>,
}

impl PlannedTransformer {
    /// A plan as its file has it: the base.
    pub(super) fn new(plan: Box<dyn Plan>, engine: &Engine, config: &DitConfig, base: &Arc<PackedImage>) -> Self {
        Self {
            name: engine.name.clone(),
            config: config.clone(),
            base: Arc::clone(base),
            dtype: match engine.precision {
                Precision::Fp32 => Some(DType::F32),
                Precision::Bf16 | Precision::Mixed => Some(DType::BF16),
                Precision::Fp16 | Precision::Fp8 => None,
            },
            fitted: Mutex::new(Fitted {
                plan,
                worn: Some(LoraSet::default()),
                refused: None,
            }),
        }
    }

    fn fitted(&self) -> MutexGuard<'_, Fitted> {
        // A refit that panicked leaves `worn` empty, and a run changes nothing.
        self.fitted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the base and what `loras` add to it into every matrix that they or those `before` touch.
    fn refit(&self, plan: &mut dyn Plan, before: &LoraSet, loras: &LoraSet) -> std::result::Result<(), RefitError> {
        let refused = |words: String| RefitError::Refused(words);
        let dtype = self
            .dtype
            .ok_or_else(|| refused("LoRAs are not added in its precision".into()))?;
        let matrices = refit_matrices(&self.config, &self.base, before, loras, dtype, plan.device());
        plan.refit(&matrices.map_err(|error| refused(error.to_string()))?)
    }
}

impl Decoder for PlannedTransformer {
    fn velocity(&self, batch: &Batch<'_, Memory>) -> Result<Tensor> {
        let Fitted { plan, worn, .. } = &mut *self.fitted();
        if worn.is_none() {
            bail!("the weights of {} are not known", self.name)
        }
        let (_, frames, _) = batch.latents.dims3()?;
        let whole = Inputs {
            latents: even(batch.latents)?,
            context: even(batch.context)?,
            times: Tensor::new(batch.times, plan.device())?,
        };
        let runs = runs(lengths(batch));
        let parts = runs
            .iter()
            .map(|run| whole.of(run)?.velocity(&mut **plan, &states(batch, run)?));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        in_order(&runs, &parts)?.narrow(1, 0, frames)?.contiguous()
    }

    fn wear(&self, loras: &LoraSet) -> std::result::Result<(), String> {
        let fitted = &mut *self.fitted();
        if fitted.worn.as_ref() == Some(loras) {
            return Ok(());
        }
        if fitted.refused.as_ref() == Some(loras) {
            return Err("it did not take these LoRAs".into());
        }
        // Unknown until it is done, whatever happens meanwhile.
        let Some(before) = fitted.worn.take() else {
            return Err(
                "its weights are not known since LoRAs could not be put into it: it has to be loaded anew".into(),
            );
        };
        let refitted = self.refit(&mut *fitted.plan, &before, loras);
        match &refitted {
            Ok(()) => (fitted.worn, fitted.refused) = (Some(loras.clone()), None),
            Err(RefitError::Refused(_)) => (fitted.worn, fitted.refused) = (Some(before), Some(loras.clone())),
            Err(RefitError::Failed(_)) => {}
        }
        refitted.map_err(|error| {
            tracing::warn!(engine = self.name, %error, "LoRAs are not put into an engine: modules tick");
            error.to_string()
        })
    }
}

/// What differs from slot to slot, beside prompts: each [slots, ..] f32.
struct Inputs {
    latents: Tensor,
    context: Tensor,
    times: Tensor,
}

impl Inputs {
    /// Of a run's slots.
    fn of(&self, run: &Run) -> Result<Self> {
        let slots: Vec<u32> = run.slots.iter().map(|slot| *slot as u32).collect();
        let pick = |all: &Tensor| {
            if all.dim(0)? == slots.len() {
                return all.contiguous();
            }
            all.index_select(&Tensor::new(&*slots, all.device())?, 0)
        };
        Ok(Self {
            latents: pick(&self.latents)?,
            context: pick(&self.context)?,
            times: pick(&self.times)?,
        })
    }

    /// Velocities of a run, as many as its latents.
    fn velocity(&self, plan: &mut dyn Plan, states: &Tensor) -> Result<Tensor> {
        let inputs = [
            ("hidden_states", &self.latents),
            ("timestep", &self.times),
            ("encoder_hidden_states", states),
            ("context_latents", &self.context),
        ];
        plan.run(&inputs, Component::Decoder.output().0, self.latents.dims())
    }
}

/// Prompts of a run's slots, [slots, tokens, width].
fn states(batch: &Batch<'_, Memory>, run: &Run) -> Result<Tensor> {
    let states: Vec<&Tensor> = run.slots.iter().map(|slot| batch.prompts[*slot].states()).collect();
    Tensor::stack(&states, 0)?.to_dtype(DType::F32)
}

/// Of [slots, frames, values] with a last frame that has no partner, the same with one of zeros: as the modules have it.
fn even(tensor: &Tensor) -> Result<Tensor> {
    let missing = tensor.dim(D::Minus2)? % PATCH;
    tensor.pad_with_zeros(1, 0, missing)?.contiguous()
}

/// What each run gave, [slots, ..], as the batch had its slots.
fn in_order(runs: &[Run], parts: &[Tensor]) -> Result<Tensor> {
    if let [part] = parts {
        return Ok(part.clone());
    }
    let mut rows = Vec::new();
    for (run, part) in runs.iter().zip(parts) {
        for (place, slot) in run.slots.iter().enumerate() {
            rows.push((*slot, part.get(place)?));
        }
    }
    rows.sort_unstable_by_key(|(slot, _)| *slot);
    let rows: Vec<Tensor> = rows.into_iter().map(|(_, row)| row).collect();
    Tensor::stack(&rows, 0)
}
