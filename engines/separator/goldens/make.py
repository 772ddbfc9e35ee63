#!/usr/bin/env python3
"""Makes the golden tensors that the Mel-Band RoFormer is tested against, from an independent implementation.

    python3 -m venv venv
    venv/bin/pip install torch==2.4.1 torchaudio==2.4.1 'numpy<2' einops beartype rotary-embedding-torch librosa safetensors \
        ml-collections pyyaml packaging tqdm requests soundfile
    venv/bin/pip install --no-deps melband-roformer-infer==0.1.5
    venv/bin/python make.py

Network and whole-track procedure are that package's (MIT), the sample-rate conversion is torchaudio's. Weights and sounds are not stored:
both sides make them by the formula in ../src/melband/random.rs.
"""

import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torchaudio
from safetensors.numpy import save_file

warnings.filterwarnings("ignore")

from mel_band_roformer.mel_band_roformer import MelBandRoformer  # noqa: E402
from mel_band_roformer.utils import demix_track  # noqa: E402

HERE = Path(__file__).parent
GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1

# The shapes have names; ../src/melband/tests.rs has the same.
PUBLIC = dict(dim=384, depth=6, heads=8, bands=60, window=2048, hop=441, chunk=352_800)
NARROW = dict(dim=16, depth=2, heads=2, bands=60, window=2048, hop=441, chunk=8_820)
WIDE = dict(dim=384, depth=1, heads=8, bands=7, window=512, hop=128, chunk=5_120)
LONG = dict(dim=8, depth=1, heads=1, bands=2, window=128, hop=32, chunk=25_600)


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


def noise(seed, shape):
    return torch.from_numpy(np.float32(0.5) * uniform("noise", seed, int(np.prod(shape)))).reshape(shape)


def weight(name, shape, seed):
    if name.endswith("rotary_embed.freqs"):
        value = (10_000.0 ** (-np.arange(0, 64, 2) / 64)).astype(np.float32)
    else:
        random = uniform(name, seed, int(np.prod(shape)))
        if name.endswith("gamma"):
            value = np.float32(1) + np.float32(0.2) * random
        elif name.endswith("bias"):
            value = np.float32(0.1) * random
        else:
            value = np.float32(np.sqrt(3 / shape[1])) * random
    return torch.from_numpy(value.astype(np.float16).astype(np.float32)).reshape(tuple(shape))


def build(shape):
    return MelBandRoformer(
        dim=shape["dim"],
        depth=shape["depth"],
        stereo=True,
        num_stems=1,
        time_transformer_depth=1,
        freq_transformer_depth=1,
        num_bands=shape["bands"],
        dim_head=64,
        heads=shape["heads"],
        attn_dropout=0.0,
        ff_dropout=0.0,
        flash_attn=False,
        sample_rate=44_100,
        stft_n_fft=shape["window"],
        stft_hop_length=shape["hop"],
        stft_win_length=shape["window"],
        mask_estimator_depth=2,
    ).eval()


def network(shape, seed):
    model = build(shape)
    model.load_state_dict({name: weight(name, value.shape, seed) for name, value in model.state_dict().items()})
    return model


def stft(model, sound):
    """[batch, channels, samples] to [batch, channels, frames, bins, 2]."""
    batch, channels, samples = sound.shape
    window = model.stft_window_fn()
    spectra = torch.stft(sound.reshape(-1, samples), **model.stft_kwargs, window=window, return_complex=True)
    return torch.view_as_real(spectra.transpose(1, 2)).reshape(batch, channels, spectra.shape[2], spectra.shape[1], 2)


def istft(model, spectra):
    batch, channels, frames, bins, _ = spectra.shape
    spectra = torch.view_as_complex(spectra.reshape(-1, frames, bins, 2).contiguous()).transpose(1, 2)
    sound = torch.istft(spectra, **model.stft_kwargs, window=model.stft_window_fn())
    return sound.reshape(batch, channels, -1)


def banded(model, spectra):
    """What the band split hears: (bin, channel, re/im) of every band, one after another."""
    batch, channels, frames, bins, _ = spectra.shape
    rows = spectra.permute(0, 2, 3, 1, 4).reshape(batch, frames, bins * channels, 2)
    return rows[:, :, model.freq_indices].reshape(batch, frames, -1)


def over_time(transformer, tokens):
    """[batch, frames, bands, dim]: one sequence for each band."""
    batch, frames, bands, dim = tokens.shape
    out = transformer(tokens.transpose(1, 2).reshape(batch * bands, frames, dim))
    return out.reshape(batch, bands, frames, dim).transpose(1, 2)


def over_bands(transformer, tokens):
    batch, frames, bands, dim = tokens.shape
    return transformer(tokens.reshape(batch * frames, bands, dim)).reshape(tokens.shape)


def stages():
    golden = {}
    narrow = network(NARROW, 1)
    golden["narrow.band_counts"] = narrow.num_freqs_per_band.int()
    sound = noise(10, (1, 2, 5_003))
    spectra = stft(narrow, sound)
    golden["narrow.spectra"] = spectra
    golden["narrow.resynthesis"] = istft(narrow, noise(11, (1, 2, 9, 1025, 2)))
    golden["narrow.tokens"] = narrow.band_split(banded(narrow, spectra))
    # A time and a frequency transformer: two batch rows of 7 frames.
    tokens = noise(12, (2, 7, 60, 16))
    golden["narrow.over_time"] = over_time(narrow.layers[0][0], tokens)
    golden["narrow.over_bands"] = over_bands(narrow.layers[1][1], tokens)
    masks = narrow.mask_estimators[0](noise(13, (1, 3, 60, 16)))
    # The masks of each band as factors of its bins' values: (bin, channel, re/im).
    golden["narrow.masks"] = masks
    wide = network(WIDE, 2)
    tokens = noise(14, (1, 5, 7, 384))
    golden["wide.over_time"] = over_time(wide.layers[0][0], tokens)
    golden["wide.over_bands"] = over_bands(wide.layers[0][1], tokens)
    long = network(LONG, 3)
    golden["long.over_time"] = over_time(long.layers[0][0], noise(15, (1, 801, 2, 8)))
    return golden


def sounds():
    golden = {}
    narrow = network(NARROW, 4)
    # Masked spectra of an odd length, and the sound of two batch rows.
    sound = noise(20, (1, 2, 5_003))
    captured = {}
    genuine = torch.istft

    def capture(spectra, **options):
        captured["spectra"] = spectra
        return genuine(spectra, **options)

    torch.istft = capture
    golden["narrow.sound"] = narrow(sound)
    torch.istft = genuine
    golden["narrow.masked"] = torch.view_as_real(captured["spectra"].transpose(1, 2)).unsqueeze(0)
    golden["narrow.batch"] = narrow(noise(21, (2, 2, 2_999)))
    golden["wide.sound"] = network(WIDE, 5)(noise(22, (1, 2, 4_001)))
    golden["narrow.silence"] = narrow(torch.zeros(1, 2, 3_000))
    return golden


def whole_track(model, shape, track):
    """Both stems of a track at 48 kHz, [channels, frames]."""
    channels, frames = track.shape
    stereo = track if channels == 2 else track.repeat(2, 1)
    heard = torchaudio.functional.resample(stereo, 48_000, 44_100)
    config = SimpleNamespace(
        inference=SimpleNamespace(chunk_size=shape["chunk"], num_overlap=2),
        training=SimpleNamespace(target_instrument="vocals", instruments=["vocals", "other"]),
    )
    stems, _ = demix_track(config, model, heard, torch.device("cpu"), first_chunk_time=1.0)
    vocals = torch.from_numpy(stems["vocals"])
    instruments = heard - vocals
    back = [torchaudio.functional.resample(stem, 44_100, 48_000)[:channels, :frames] for stem in (vocals, instruments)]
    return [torch.nan_to_num(stem) for stem in back]


def tracks():
    golden = {}
    narrow = network(NARROW, 6)
    golden["down"] = torchaudio.functional.resample(noise(30, (2, 3_001)), 48_000, 44_100)
    golden["up"] = torchaudio.functional.resample(noise(31, (2, 3_001)), 44_100, 48_000)
    # Of several pieces; just over and just under a piece; less than half of one; mono.
    for name, seed, channels, frames in [
        ("long", 32, 2, 19_201),
        ("over_a_piece", 33, 1, 9_701),
        ("under_a_piece", 34, 2, 9_011),
        ("under_half_a_piece", 35, 2, 2_003),
        ("mono", 36, 1, 14_007),
    ]:
        vocals, instruments = whole_track(narrow, NARROW, noise(seed, (channels, frames)))
        golden[f"{name}.vocals"], golden[f"{name}.instruments"] = vocals, instruments
    for stem in whole_track(narrow, NARROW, torch.zeros(2, 12_000)):
        assert not stem.any(), "silence stays silent"
    return golden


def main():
    torch.set_grad_enabled(False)
    names = build(PUBLIC).state_dict()
    lines = [f"{name} {' '.join(str(size) for size in value.shape)}" for name, value in names.items()]
    (HERE / "keys.txt").write_text("\n".join(lines) + "\n")
    for name, make in [("stages", stages), ("sounds", sounds), ("tracks", tracks)]:
        golden = {key: value.contiguous().numpy() for key, value in make().items()}
        assert all(np.isfinite(value).all() for value in golden.values())
        save_file(golden, HERE / f"{name}.safetensors")
        print(name, {key: (value.shape, f"{np.abs(value).max():.3g}") for key, value in golden.items()})


if __name__ == "__main__":
    main()
