//! The LoRAs that are in the diffusion transformer's weights: they come back with every restore, and change between ticks.

use std::sync::{Mutex, PoisonError};

use greenroom_dit::{Adaptation, LoraSet};
use greenroom_weights::{PackedImage, WeightSource};

/// What is to be in the weights, and what is.
#[derive(Default)]
pub(crate) struct Worn {
    enabled: Mutex<LoraSet>,
    adaptation: Adaptation,
}

impl Worn {
    /// The set in force.
    pub(crate) fn enabled(&self) -> LoraSet {
        self.enabled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another set in force; whoever calls has it put into the weights as well. Gives whether it is another one.
    pub(crate) fn enable(&self, set: &LoraSet) -> bool {
        let mut enabled = self.enabled.lock().unwrap_or_else(PoisonError::into_inner);
        let other = *enabled != *set;
        enabled.clone_from(set);
        other
    }

    /// Into weights that were just copied to a device.
    pub(crate) fn restored(&self, image: &PackedImage, weights: &dyn WeightSource) -> Result<(), String> {
        self.adaptation
            .begin(image, weights, &self.enabled())
            .map_err(|error| format!("its LoRAs cannot be put into its weights: {error}"))
    }

    /// Into weights that lie on a device with whatever was in force before. Gives whether they changed.
    pub(crate) fn changed(&self, image: &PackedImage, weights: &dyn WeightSource) -> Result<bool, String> {
        self.adaptation
            .change(image, weights, &self.enabled())
            .map_err(|error| format!("LoRAs cannot be put into the weights: {error}"))
    }
}
