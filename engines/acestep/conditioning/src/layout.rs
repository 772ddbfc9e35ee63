//! The tensors of the public checkpoints that belong to what is built here.

use greenroom_weights::{Key, Spread};

use crate::config::{ConditionerConfig, LayerShape, Qwen3Config};

/// Special tokens, which are added to states.
const TOKEN: Spread = Spread {
    centre: 0.0,
    reach: 0.3,
};
/// Random embeddings of text.
const EMBEDDING: Spread = Spread {
    centre: 0.0,
    reach: 0.05,
};

/// Every tensor of `Qwen3-Embedding-0.6B/model.safetensors`.
#[must_use]
pub fn text_encoder_keys(config: &Qwen3Config) -> Vec<Key> {
    let mut keys = vec![
        Key::new(
            "embed_tokens.weight",
            &[config.vocab_size, config.hidden_size],
            EMBEDDING,
        ),
        gamma("norm.weight", config.hidden_size),
    ];
    layers(&mut keys, &config.layer(), "", config.num_hidden_layers);
    keys
}

/// Every tensor of `acestep-v15-turbo/model.safetensors` that is not the diffusion transformer's.
#[must_use]
pub fn conditioner_keys(config: &ConditionerConfig) -> Vec<Key> {
    let (width, channels, quantised) = (
        config.hidden_size,
        config.audio_acoustic_hidden_dim,
        config.fsq_input_levels.len(),
    );
    let shape = config.layer();
    let mut keys = vec![
        Key::new("null_condition_emb", &[1, 1, width], TOKEN),
        weight("encoder.text_projector", width, config.text_hidden_dim),
        Key::new("encoder.timbre_encoder.special_token", &[1, 1, width], TOKEN),
        Key::new("tokenizer.attention_pooler.special_token", &[1, 1, width], TOKEN),
        Key::new(
            "detokenizer.special_tokens",
            &[1, config.pool_window_size, width],
            TOKEN,
        ),
    ];
    let linears = [
        ("encoder.lyric_encoder.embed_tokens", width, config.text_hidden_dim),
        ("encoder.timbre_encoder.embed_tokens", width, config.timbre_hidden_dim),
        ("tokenizer.audio_acoustic_proj", width, channels),
        ("tokenizer.attention_pooler.embed_tokens", width, width),
        ("tokenizer.quantizer.project_in", quantised, width),
        ("tokenizer.quantizer.project_out", width, quantised),
        ("detokenizer.embed_tokens", width, width),
        ("detokenizer.proj_out", channels, width),
    ];
    for (name, outputs, inputs) in linears {
        keys.push(weight(name, outputs, inputs));
        keys.push(Key::new(format!("{name}.bias"), &[outputs], Spread::BIAS));
    }
    let pooler = config.num_attention_pooler_hidden_layers;
    for (encoder, count) in [
        ("encoder.lyric_encoder", config.num_lyric_encoder_hidden_layers),
        ("encoder.timbre_encoder", config.num_timbre_encoder_hidden_layers),
        ("tokenizer.attention_pooler", pooler),
        ("detokenizer", pooler),
    ] {
        keys.push(gamma(&format!("{encoder}.norm.weight"), width));
        layers(&mut keys, &shape, &format!("{encoder}."), count);
    }
    keys
}

fn layers(keys: &mut Vec<Key>, shape: &LayerShape, prefix: &str, count: usize) {
    let (width, inner) = (shape.width, shape.inner);
    for layer in 0..count {
        let name = |rest: &str| format!("{prefix}layers.{layer}.{rest}");
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            keys.push(gamma(&name(&format!("{norm}.weight")), width));
        }
        for norm in ["q_norm", "k_norm"] {
            keys.push(gamma(&name(&format!("self_attn.{norm}.weight")), shape.heads.dim));
        }
        keys.extend([
            weight(&name("self_attn.q_proj"), shape.queries(), width),
            weight(&name("self_attn.k_proj"), shape.keys(), width),
            weight(&name("self_attn.v_proj"), shape.keys(), width),
            weight(&name("self_attn.o_proj"), width, shape.queries()),
            weight(&name("mlp.gate_proj"), inner, width),
            weight(&name("mlp.up_proj"), inner, width),
            weight(&name("mlp.down_proj"), width, inner),
        ]);
    }
}

fn weight(name: &str, outputs: usize, inputs: usize) -> Key {
    Key::new(format!("{name}.weight"), &[outputs, inputs], Spread::weight(inputs))
}

fn gamma(name: &str, width: usize) -> Key {
    Key::new(name, &[width], Spread::GAMMA)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{PUBLIC_TEXT, public};

    #[test]
    fn the_public_networks_have_so_many_parameters() {
        let count = |keys: Vec<Key>| keys.iter().map(Key::len).sum::<usize>();
        assert_eq!(count(text_encoder_keys(&PUBLIC_TEXT)), 595_776_512);
        // Condition encoder, tokenizer, detokenizer and the embedding of nothing.
        assert_eq!(
            count(conditioner_keys(&public())),
            608_367_616 + 105_032_198 + 105_011_776 + 2_048
        );
    }
}
