//! What the stream asks of a network.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};

/// A network that says which way a latent is to move. Its caller holds a lease on its weights.
pub trait Denoiser: Send {
    /// A prompt as the network keeps it: keys and values of its cross-attention.
    type Prompt: Send + Sync + 'static;

    /// Where it computes, and where every tensor below lies.
    fn device(&self) -> &Device;

    /// Makes a prompt of encoder states, [states, width] f32.
    ///
    /// # Errors
    /// If the device fails or has no room.
    fn prompt(&self, states: &Tensor) -> Result<Arc<Self::Prompt>>;

    /// Velocities (noise − sound) of all slots in one forward: [slots, frames, channels] f32.
    ///
    /// # Errors
    /// If the device fails or has no room.
    fn velocity(&mut self, batch: &Batch<'_, Self::Prompt>) -> Result<Tensor>;
}

/// The slots of one forward. What a slot gets does not depend on who else is in the batch.
pub struct Batch<'a, P> {
    /// Latents, [slots, frames, channels] f32.
    pub latents: &'a Tensor,
    /// Where each slot is between noise (1) and sound (0).
    pub times: &'a [f32],
    /// Hints, then the chunk mask: [slots, frames, 2 · channels] f32.
    pub context: &'a Tensor,
    /// Each slot's prompt.
    pub prompts: &'a [Arc<P>],
}
