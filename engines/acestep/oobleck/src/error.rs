//! Why there is no autoencoder.

use greenroom_weights::WeightsError;

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
}
