#!/usr/bin/env python3
"""Makes the golden tensors that ACE-Step's transformer and what conditions it are tested against, from independent implementations.

    python3 -m venv venv
    venv/bin/pip install torch diffusers==0.42.1 transformers vector-quantize-pytorch==1.27.15 safetensors numpy
    venv/bin/python make.py

The networks are diffusers' (Apache-2.0) and transformers' (Apache-2.0), the quantiser is vector-quantize-pytorch's (MIT). Weights and inputs
are not stored: both sides make them by the formula in ../../weights/src/random.rs.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel
from diffusers.pipelines.ace_step import modeling_ace_step as ace
from transformers import Qwen3Config, Qwen3Model
from vector_quantize_pytorch import ResidualFSQ

HERE = Path(__file__).parent
GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1

# ../dit/src/tests.rs and ../conditioning/src/tests.rs have the same.
DIT = dict(
    hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
    in_channels=24, audio_acoustic_hidden_dim=8, patch_size=2, rope_theta=1e6, rms_norm_eps=1e-6, sliding_window=3,
)
SLOTS = [(5, 1.0), (9, 0.45), (1, 0.3)]  # states of the prompt, time
SHIFT_3 = [1.0, 21 / 22, 0.9, 5 / 6, 0.75, 9 / 14, 0.5, 0.3, 0.0]


def uniform(name, seed, count):
    """Numbers in -1..1 that depend on a name, a seed and their index alone."""
    start = 0xCBF29CE484222325
    for byte in name.encode():
        start = ((start ^ byte) * 0x100000001B3) & MASK
    start = (start + seed * GOLDEN) & MASK
    with np.errstate(over="ignore"):
        x = np.uint64(start) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)


def given(name, *shape):
    """An input."""
    return torch.from_numpy(uniform(name, 2, int(np.prod(shape)))).reshape(shape)


def spread(name, shape):
    """Centre and reach of a tensor's random values, as the networks' layouts have them."""
    if name.endswith("norm.weight") or name.endswith(("norm_out.weight", "layernorm.weight")):
        return 1.0, 0.2
    if name == "embed_tokens.weight":
        return 0.0, 0.05
    if name.endswith(".bias"):
        return 0.0, 0.1
    if "scale_shift_table" in name or "special_token" in name or name == "null_condition_emb":
        return 0.0, 0.3
    if name.endswith("proj_out.1.weight"):  # a transposed convolution: inputs come first
        inputs = shape[0]
    elif len(shape) == 3:
        inputs = shape[1] * shape[2]
    else:
        inputs = shape[1]
    return 0.0, np.float32((3.0 / inputs) ** 0.5)


def load(module, prefix, rename):
    """Fills a module's parameters by the formula; `rename` turns its names into the public checkpoint's."""
    state = module.state_dict()
    for key, value in state.items():
        name = prefix + rename(key)
        centre, reach = spread(name, tuple(value.shape))
        values = np.float32(centre) + np.float32(reach) * uniform(name, 1, value.numel())
        state[key] = torch.from_numpy(values).to(torch.bfloat16).float().reshape(value.shape)
    module.load_state_dict(state)
    return module.eval()


def public(key):
    """A name of diffusers' as the public checkpoint has it."""
    for theirs, ours in [
        ("to_q.", "q_proj."), ("to_k.", "k_proj."), ("to_v.", "v_proj."), ("to_out.0.", "o_proj."),
        ("norm_q.", "q_norm."), ("norm_k.", "k_norm."), ("proj_in_conv.", "proj_in.1."), ("proj_out_conv.", "proj_out.1."),
    ]:
        key = key.replace(theirs, ours)
    return key


def save(path, tensors):
    save_file({name: np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32) for name, tensor in tensors.items()}, HERE / path)


def transformer():
    network = load(AceStepTransformer1DModel(**DIT), "decoder.", public)
    channels, width = DIT["audio_acoustic_hidden_dim"], DIT["hidden_size"]
    out = {}
    for frames in (21, 8):
        for slot, (states, time) in enumerate(SLOTS):
            t = torch.tensor([time])
            out[f"velocity.{frames}.{slot}"] = network(
                given(f"latents.{frames}.{slot}", 1, frames, channels), t, t, given(f"states.{slot}", 1, states, width),
                given(f"context.{frames}.{slot}", 1, frames, 2 * channels), return_dict=False,
            )[0][0]
    # A whole generation: eight Euler steps from noise.
    for slot, (states, _) in enumerate(SLOTS):
        x = given(f"noise.{slot}", 1, 21, channels)
        for now, then in zip(SHIFT_3, SHIFT_3[1:]):
            t = torch.tensor([now])
            v = network(x, t, t, given(f"states.{slot}", 1, states, width), given(f"context.21.{slot}", 1, 21, 2 * channels), return_dict=False)[0]
            x = x + (then - now) * v
        out[f"generation.{slot}"] = x[0]
    save("../dit/goldens/transformer.safetensors", out)


TEXT = dict(
    vocab_size=64, hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
    rms_norm_eps=1e-6, rope_theta=1e6, tie_word_embeddings=True, attention_bias=False, use_sliding_window=False,
)
SHARED = dict(
    hidden_size=32, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2, head_dim=8, rope_theta=1e6, rms_norm_eps=1e-6,
    sliding_window=3,
)


def text():
    config = Qwen3Config(**TEXT)
    config._attn_implementation = "eager"
    network = load(Qwen3Model(config), "", str)
    out = {}
    for length in (1, 7, 150):
        ids = torch.tensor([[(place * 37 + 11) % 64 for place in range(length)]])
        out[f"states.{length}"] = network(input_ids=ids).last_hidden_state[0]
        out[f"embeddings.{length}"] = network.embed_tokens(ids)[0]
    save("../conditioning/goldens/text.safetensors", out)


def conditioner():
    network = ace.AceStepConditionEncoder(
        text_hidden_dim=24, timbre_hidden_dim=8, num_lyric_encoder_hidden_layers=3, num_timbre_encoder_hidden_layers=4, **SHARED
    )
    del network.silence_latent
    outside = lambda key: "null_condition_emb" if key == "null_condition_emb" else "encoder." + public(key)
    load(network, "", outside)
    out = {}
    for case, (words, lyrics, frames) in enumerate([(7, 5, 30), (1, 11, 3), (12, 1, 1)]):
        states, _ = network(
            given(f"text.{case}", 1, words, 24), torch.ones(1, words, dtype=torch.long),
            given(f"lyrics.{case}", 1, lyrics, 24), torch.ones(1, lyrics, dtype=torch.long),
            given(f"timbre.{case}", 1, frames, 8), torch.zeros(1, dtype=torch.long),
        )
        out[f"states.{case}"] = states[0]
    save("../conditioning/goldens/conditioner.safetensors", out)


def semantic():
    pooling = dict(audio_acoustic_hidden_dim=8, pool_window_size=5, num_attention_pooler_hidden_layers=2, **SHARED)
    tokenizer = load(ace.AceStepAudioTokenizer(fsq_dim=32, fsq_input_levels=[8, 8, 8, 5, 5, 5], **pooling), "tokenizer.", public)
    detokenizer = load(ace.AceStepAudioTokenDetokenizer(**pooling), "detokenizer.", public)
    # The quantiser is the one that the checkpoint was trained with, over the same projections.
    quantizer = ResidualFSQ(dim=32, levels=[8, 8, 8, 5, 5, 5], num_quantizers=1).eval()
    theirs = tokenizer.quantizer
    for ours, project in ((quantizer.project_in, theirs.project_in), (quantizer.project_out, theirs.project_out)):
        ours.load_state_dict(project.state_dict())
    out = {}
    for frames in (5, 65):
        latents = given(f"latents.{frames}", 1, frames, 8)
        pooled = tokenizer.attention_pooler(tokenizer.audio_acoustic_proj(latents.reshape(1, frames // 5, 5, 8)))
        out[f"hints.{frames}"] = detokenizer(quantizer(pooled)[0])[0]
    values = torch.arange(-400, 401, dtype=torch.float32)[:, None].mul(0.0075).repeat(1, 6)
    quantizer.project_in = quantizer.project_out = torch.nn.Identity()
    out["levels"] = quantizer(values[None])[0][0]
    save("../conditioning/goldens/semantic.safetensors", out)


if __name__ == "__main__":
    torch.manual_seed(0)
    with torch.no_grad():
        transformer()
        text()
        conditioner()
        semantic()
