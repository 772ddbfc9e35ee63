"""Golden tensors for the tests of the Oobleck autoencoder.

    python3 -m venv venv
    venv/bin/pip install torch diffusers==0.42.1 safetensors
    venv/bin/python make.py

The network is that of `diffusers` (AutoencoderOobleck). Weights and inputs are not stored: both sides make them by the formula in
engines/weights/src/random.rs.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.nn.utils import weight_norm

warnings.filterwarnings("ignore")

from diffusers import AutoencoderOobleck  # noqa: E402

HERE = Path(__file__).parent
GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1

# The shapes have names; ../src/tests/mod.rs has the same.
PUBLIC = dict(ratios=[2, 4, 4, 6, 10], multiples=[1, 2, 4, 8, 16], encoder=128, decoder=128, latent=64)
NARROW = dict(ratios=[2, 4], multiples=[1, 2], encoder=8, decoder=8, latent=4)
RATES = dict(ratios=[2, 4, 4, 6, 10], multiples=[1, 1, 2, 2, 3], encoder=8, decoder=6, latent=4)
# An encoder whose latents are wider than its own channels, as in the tiny checkpoint.
LATENT = dict(ratios=[4, 2], multiples=[2, 1], encoder=4, decoder=4, latent=16)


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


def data(name, seed, shape):
    """An input, [1, channels, rows]; in the formula rows come first, as they do in the network that is tested."""
    _, channels, rows = shape
    return torch.from_numpy(uniform(name, seed, channels * rows).reshape(1, rows, channels)).transpose(1, 2)


def spread(name, shape, direction):
    """Centre and reach of a random tensor; `direction` is the shape of weight_v beside weight_g."""
    if name.endswith(("alpha", "beta")):
        return np.float32(0), np.float32(0.5)
    if name.endswith("bias"):
        return np.float32(0), np.float32(0.1)
    if name.endswith("weight_v"):
        inputs = 2 * shape[0] if "conv_t1" in name else shape[1] * shape[2]
        return np.float32(0), np.float32(np.sqrt(3 / inputs))
    gain = np.float32(1)
    if "conv_t1" in name:
        lower, upper, taps = direction
        gain = np.sqrt(np.float32(upper * taps // 2) / np.float32(lower))
    elif name == "decoder.conv2.weight_g":
        gain = np.float32(0.1)
    elif direction[2] == 1:
        gain = np.float32(0.3)
    return gain, np.float32(0.2) * gain


def network(shape, seed):
    model = AutoencoderOobleck(
        encoder_hidden_size=shape["encoder"],
        downsampling_ratios=shape["ratios"],
        channel_multiples=shape["multiples"],
        decoder_channels=shape["decoder"],
        decoder_input_channels=shape["latent"],
        audio_channels=2,
        sampling_rate=48_000,
    )
    if shape["encoder"] != 2 * shape["latent"]:
        channels = shape["encoder"] * shape["multiples"][-1]
        last = torch.nn.Conv1d(channels, 2 * shape["latent"], kernel_size=3, padding=1)
        model.encoder.conv2 = weight_norm(last)
    state = {}
    for name, value in model.state_dict().items():
        direction = model.state_dict().get(name.replace("weight_g", "weight_v"), value).shape
        centre, reach = spread(name, value.shape, direction)
        random = torch.from_numpy(centre + reach * uniform(name, seed, value.numel()))
        state[name] = random.bfloat16().float().reshape(value.shape)
    model.load_state_dict(state)
    return model.eval()


def rows(tensor):
    """[1, channels, rows] as the tested network has it."""
    return tensor[0].transpose(0, 1).contiguous().numpy()


def main():
    torch.set_grad_enabled(False)
    names = AutoencoderOobleck(
        encoder_hidden_size=128, downsampling_ratios=PUBLIC["ratios"], sampling_rate=48_000
    ).state_dict()
    lines = [f"{name} {' '.join(str(size) for size in value.shape)}" for name, value in names.items()]
    (HERE / "keys.txt").write_text("\n".join(lines) + "\n")
    golden = {}
    narrow = network(NARROW, 1)
    golden["narrow.unit"] = rows(narrow.encoder.block[0].res_unit3(data("unit", 1, (1, 8, 61))))
    golden["narrow.encoder_block"] = rows(narrow.encoder.block[1](data("encoder block", 1, (1, 8, 92))))
    golden["narrow.decoder_block"] = rows(narrow.decoder.block[0](data("decoder block", 1, (1, 16, 23))))
    golden["narrow.mean"] = rows(narrow.encode(data("sound", 1, (1, 2, 8 * 131))).latent_dist.mean)
    golden["narrow.sound"] = rows(narrow.decode(data("latents", 1, (1, 4, 137))).sample)
    rates = network(RATES, 2)
    golden["rates.mean"] = rows(rates.encode(data("sound", 2, (1, 2, 1920 * 23))).latent_dist.mean)
    golden["rates.one_mean"] = rows(rates.encode(data("sound", 3, (1, 2, 1920))).latent_dist.mean)
    golden["rates.sound"] = rows(rates.decode(data("latents", 2, (1, 4, 5))).sample)
    golden["rates.one_sound"] = rows(rates.decode(data("latents", 3, (1, 4, 1))).sample)
    latent = network(LATENT, 3)
    mean, _ = latent.encoder(data("sound", 4, (1, 2, 8 * 29))).chunk(2, dim=1)
    golden["latent.mean"] = rows(mean)
    golden["latent.sound"] = rows(latent.decode(data("latents", 4, (1, 16, 29))).sample)
    assert all(np.isfinite(value).all() for value in golden.values())
    save_file(golden, HERE / "autoencoder.safetensors")
    print({key: (value.shape, f"{np.abs(value).max():.3g}", f"{value.std():.3g}") for key, value in golden.items()})


if __name__ == "__main__":
    main()
