//! Engines over the plans of a library: which tensors go in and come out, and what LoRAs write. A library has only to load plans and to run them.

mod autoencoder;
#[cfg(test)]
mod tests;
mod transformer;

use std::sync::Arc;

use candle_core::{Device, Tensor};
use greenroom_compiled::{Component, Engine, Library};
use greenroom_dit::{DitConfig, Matrix};
use greenroom_generator::LoadError;
use greenroom_weights::PackedImage;

use self::{
    autoencoder::{PlannedDecoder, PlannedEncoder},
    transformer::PlannedTransformer,
};
use super::{EngineLibrary, Module};

/// Loads plans: the files of [`Component`]s as `engines/compiled/export` writes them.
pub trait Plans: Send + Sync {
    /// What plans must have been built by.
    fn library(&self) -> Library;

    /// Loads a plan, its execution context included, on the lane that its component runs on: sound is encoded on the work lane, all else runs
    /// on the live lane.
    ///
    /// # Errors
    /// See [`LoadError`]; nothing of it is left then.
    fn load(&self, engine: &Engine) -> Result<Box<dyn Plan>, LoadError>;
}

/// A plan on its lane. What it is given and gives is f32, contiguous, on the lane's device.
pub trait Plan: Send {
    /// Where its tensors lie.
    fn device(&self) -> &Device;

    /// Runs on inputs by name, all that its component has; gives the output of that name and shape.
    ///
    /// # Errors
    /// If the shapes are none of its profile, or the device fails.
    fn run(
        &mut self,
        inputs: &[(&'static str, &Tensor)],
        output: &'static str,
        shape: &[usize],
    ) -> candle_core::Result<Tensor>;

    /// Writes matrices over its own, for all runs that follow.
    ///
    /// # Errors
    /// See [`RefitError`].
    fn refit(&mut self, matrices: &[Matrix]) -> Result<(), RefitError>;
}

/// Why a plan has not the weights that it was to have, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefitError {
    /// It did not take them: its weights are as they were.
    #[error("it does not take other weights: {0}")]
    Refused(String),
    /// It failed halfway: nobody knows what its weights are.
    #[error("putting other weights into it failed: {0}")]
    Failed(String),
}

/// Plans as the generator's engines.
pub(crate) struct PlanLibrary {
    plans: Arc<dyn Plans>,
    config: DitConfig,
    /// What LoRAs are added to.
    weights: Arc<PackedImage>,
}

impl PlanLibrary {
    pub(crate) fn new(plans: Arc<dyn Plans>, config: &DitConfig, weights: &Arc<PackedImage>) -> Self {
        Self {
            plans,
            config: config.clone(),
            weights: Arc::clone(weights),
        }
    }
}

impl EngineLibrary for PlanLibrary {
    fn library(&self) -> Library {
        self.plans.library()
    }

    fn load(&self, engine: &Engine) -> Result<Module, LoadError> {
        let plan = self.plans.load(engine)?;
        Ok(match engine.component {
            Component::Decoder => Module::Decoder(Box::new(PlannedTransformer::new(
                plan,
                engine,
                &self.config,
                &self.weights,
            ))),
            Component::VaeEncode => Module::VaeEncode(Box::new(PlannedEncoder::new(plan))),
            Component::VaeDecode => Module::VaeDecode(Box::new(PlannedDecoder::new(plan))),
        })
    }
}
