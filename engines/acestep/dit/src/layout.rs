//! The tensors of the public checkpoint that belong to the diffusion transformer.

use greenroom_weights::{Key, Spread};

use crate::config::{DitConfig, MODULATIONS, PATCH, TIME_FEATURES};

/// Where they all are.
pub(crate) const PREFIX: &str = "decoder";

/// Every tensor of the network, under its name in `acestep-v15-turbo/model.safetensors`.
#[must_use]
pub fn keys(config: &DitConfig) -> Vec<Key> {
    let (width, inner, channels) = (
        config.hidden_size,
        config.intermediate_size,
        config.audio_acoustic_hidden_dim,
    );
    let mut keys = vec![
        weight(
            "proj_in.1.weight",
            &[width, config.in_channels, PATCH],
            PATCH * config.in_channels,
        ),
        bias("proj_in.1.bias", width),
        weight("condition_embedder.weight", &[width, width], width),
        bias("condition_embedder.bias", width),
        gamma("norm_out.weight", width),
        table("scale_shift_table", &[1, 2, width]),
        weight("proj_out.1.weight", &[width, channels, PATCH], width),
        bias("proj_out.1.bias", channels),
    ];
    for time in ["time_embed", "time_embed_r"] {
        keys.extend([
            weight(
                &format!("{time}.linear_1.weight"),
                &[width, TIME_FEATURES],
                TIME_FEATURES,
            ),
            bias(&format!("{time}.linear_1.bias"), width),
            weight(&format!("{time}.linear_2.weight"), &[width, width], width),
            bias(&format!("{time}.linear_2.bias"), width),
            weight(
                &format!("{time}.time_proj.weight"),
                &[MODULATIONS * width, width],
                width,
            ),
            bias(&format!("{time}.time_proj.bias"), MODULATIONS * width),
        ]);
    }
    for layer in 0..config.num_hidden_layers {
        let name = |rest: &str| format!("layers.{layer}.{rest}");
        keys.push(table(&name("scale_shift_table"), &[1, MODULATIONS, width]));
        for norm in ["self_attn_norm", "cross_attn_norm", "mlp_norm"] {
            keys.push(gamma(&name(&format!("{norm}.weight")), width));
        }
        for attention in ["self_attn", "cross_attn"] {
            keys.extend(attention_keys(config, &name(attention)));
        }
        keys.extend([
            weight(&name("mlp.gate_proj.weight"), &[inner, width], width),
            weight(&name("mlp.up_proj.weight"), &[inner, width], width),
            weight(&name("mlp.down_proj.weight"), &[width, inner], inner),
        ]);
    }
    keys
}

fn attention_keys(config: &DitConfig, prefix: &str) -> [Key; 6] {
    let (width, queries, keys) = (config.hidden_size, config.queries(), config.keys());
    let name = |rest: &str| format!("{prefix}.{rest}.weight");
    [
        weight(&name("q_proj"), &[queries, width], width),
        weight(&name("k_proj"), &[keys, width], width),
        weight(&name("v_proj"), &[keys, width], width),
        weight(&name("o_proj"), &[width, queries], queries),
        gamma(&name("q_norm"), config.head_dim),
        gamma(&name("k_norm"), config.head_dim),
    ]
}

fn key(name: &str, shape: &[usize], spread: Spread) -> Key {
    Key::new(format!("{PREFIX}.{name}"), shape, spread)
}

fn weight(name: &str, shape: &[usize], inputs: usize) -> Key {
    key(name, shape, Spread::weight(inputs))
}

fn bias(name: &str, width: usize) -> Key {
    key(name, &[width], Spread::BIAS)
}

fn gamma(name: &str, width: usize) -> Key {
    key(name, &[width], Spread::GAMMA)
}

fn table(name: &str, shape: &[usize]) -> Key {
    key(
        name,
        shape,
        Spread {
            centre: 0.0,
            reach: 0.3,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::PUBLIC;

    #[test]
    fn the_public_network_has_so_many_parameters() {
        assert_eq!(keys(&PUBLIC).iter().map(Key::len).sum::<usize>(), 1_575_458_880);
    }
}
