//! The tensors of a checkpoint in the public layout.

use super::{
    bands::Bands,
    config::{HEAD_DIM, MelbandConfig},
};

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Scale of a norm.
    Gamma,
    /// Matrix of a linear layer, `[out, in]`.
    Weight,
    /// Bias of a linear layer.
    Bias,
    /// Angular speeds of the rotary embedding.
    Frequencies,
}

/// A tensor of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) role: Role,
}

impl Key {
    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Every tensor that a checkpoint of this shape has.
pub(crate) fn keys(config: &MelbandConfig) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut add = |name: String, shape: &[usize], role| {
        keys.push(Key {
            name,
            shape: shape.into(),
            role,
        });
    };
    let (dim, hidden, inner) = (config.dim, config.hidden(), config.inner());
    for layer in 0..config.depth {
        for side in 0..2 {
            let prefix = transformer(layer, side);
            let attention = format!("{prefix}.layers.0.0");
            add(format!("{attention}.norm.gamma"), &[dim], Role::Gamma);
            add(format!("{attention}.to_qkv.weight"), &[3 * inner, dim], Role::Weight);
            add(
                format!("{attention}.to_gates.weight"),
                &[config.heads, dim],
                Role::Weight,
            );
            add(format!("{attention}.to_gates.bias"), &[config.heads], Role::Bias);
            add(format!("{attention}.to_out.0.weight"), &[dim, inner], Role::Weight);
            add(
                format!("{attention}.rotary_embed.freqs"),
                &[HEAD_DIM / 2],
                Role::Frequencies,
            );
            let forward = format!("{prefix}.layers.0.1.net");
            add(format!("{forward}.0.gamma"), &[dim], Role::Gamma);
            add(format!("{forward}.1.weight"), &[hidden, dim], Role::Weight);
            add(format!("{forward}.1.bias"), &[hidden], Role::Bias);
            add(format!("{forward}.4.weight"), &[dim, hidden], Role::Weight);
            add(format!("{forward}.4.bias"), &[dim], Role::Bias);
            add(format!("{prefix}.norm.gamma"), &[dim], Role::Gamma);
        }
    }
    for (index, band) in Bands::of(config).bands.iter().enumerate() {
        let split = band_split(index);
        add(format!("{split}.0.gamma"), &[band.width()], Role::Gamma);
        add(format!("{split}.1.weight"), &[dim, band.width()], Role::Weight);
        add(format!("{split}.1.bias"), &[dim], Role::Bias);
        let mask = mask_estimator(index);
        for (layer, shape) in [
            (0, [hidden, dim]),
            (2, [hidden, hidden]),
            (4, [2 * band.width(), hidden]),
        ] {
            add(format!("{mask}.{layer}.weight"), &shape, Role::Weight);
            add(format!("{mask}.{layer}.bias"), &shape[..1], Role::Bias);
        }
    }
    keys
}

/// Where the tensors of a transformer are; side 0 goes over time, side 1 over frequency.
pub(crate) fn transformer(layer: usize, side: usize) -> String {
    format!("layers.{layer}.{side}")
}

/// Where the tensors are that turn a band into a token.
pub(crate) fn band_split(band: usize) -> String {
    format!("band_split.to_features.{band}")
}

/// Where the tensors are that turn a token into a band's mask.
pub(crate) fn mask_estimator(band: usize) -> String {
    format!("mask_estimators.0.to_freqs.{band}.0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_checkpoint_has_so_many_parameters() {
        let keys = keys(&MelbandConfig::PUBLIC);
        // The rotary embedding's speeds are not trained, and not counted.
        let trained = keys.iter().filter(|key| key.role != Role::Frequencies);
        assert_eq!(trained.map(Key::len).sum::<usize>(), 228_202_788);
    }
}
