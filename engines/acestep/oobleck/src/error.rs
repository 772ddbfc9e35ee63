//! Why there is no autoencoder.

use greenroom_weights::{ImageError, WeightsError};

/// Why an autoencoder cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum OobleckError {
    /// The sizes do not fit together.
    #[error(
        "these sizes of the autoencoder do not work: {0}; take config.json as it was published with the checkpoint"
    )]
    Config(String),
    /// The packed weights are not the network's.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The weights could not be packed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The device fails or has no room.
    #[error("the autoencoder could not be run: {0}")]
    Run(#[from] candle_core::Error),
}
