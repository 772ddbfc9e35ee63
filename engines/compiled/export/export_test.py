#!/usr/bin/env python3
"""Holds what export.py writes against the golden tensors of the networks' own tests, which an independent implementation made (see
../../acestep/goldens/make.py and ../../acestep/oobleck/goldens/make.py).

    venv/bin/pip install onnx==1.23.2 onnxruntime==1.32.0
    venv/bin/python export_test.py

Weights and inputs are not stored: they come from the formula in ../../weights/src/random.rs.
"""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import export

HERE = Path(__file__).parent
ACESTEP = HERE.parent.parent / "acestep"
GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1
# How near is near, as ‖a−b‖/‖b‖, in single precision; and where products have 16 bits, with weights that mean nothing.
BOUND, BOUND_MIXED = 1e-4, 2e-2

# Those of the golden tensors.
DECODER = dict(
    hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
    in_channels=24, audio_acoustic_hidden_dim=8, patch_size=2, rope_theta=1e6, rms_norm_eps=1e-6, sliding_window=3,
)
SLOTS = [(5, 1.0), (9, 0.45), (1, 0.3)]  # states of the prompt, time
RATES = dict(
    encoder_hidden_size=8, decoder_channels=6, decoder_input_channels=4, audio_channels=2,
    downsampling_ratios=[2, 4, 4, 6, 10], channel_multiples=[1, 1, 2, 2, 3],
)
NARROW = RATES | dict(decoder_channels=8, downsampling_ratios=[2, 4], channel_multiples=[1, 2])


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


def given(name, seed, *shape):
    return uniform(name, seed, int(np.prod(shape))).reshape(shape)


def root(inputs):
    return np.float32(np.sqrt(3 / inputs))


def transformer_spread(name, shape):
    """Centre and reach of a tensor's random values, as the layout of ../../acestep/dit has them."""
    if name.endswith(("norm.weight", "norm_out.weight")):
        return 1.0, 0.2
    if name.endswith(".bias"):
        return 0.0, 0.1
    if "scale_shift_table" in name:
        return 0.0, 0.3
    inputs = shape[0] if name.endswith("proj_out.1.weight") else int(np.prod(shape[1:]))
    return 0.0, root(inputs)


def autoencoder_spread(name, shape):
    """The same of ../../acestep/oobleck; `shape` is that of weight_v beside weight_g."""
    if name.endswith(("alpha", "beta")):
        return 0.0, 0.5
    if name.endswith("bias"):
        return 0.0, 0.1
    if name.endswith("weight_v"):
        return 0.0, root(2 * shape[0] if "conv_t1" in name else shape[1] * shape[2])
    gain = np.float32(1)
    if "conv_t1" in name:
        gain = np.sqrt(np.float32(shape[1] * shape[2] // 2) / np.float32(shape[0]))
    elif name == "decoder.conv2.weight_g":
        gain = np.float32(0.1)
    elif shape[2] == 1:
        gain = np.float32(0.3)
    return gain, np.float32(0.2) * gain


class Formula(export.Checkpoint):
    """A checkpoint whose weights are made as they are asked for."""

    def __init__(self, config, seed, spread):
        self.config, self.seed, self.spread, self.shapes = config, seed, spread, {}
        self.path = Path("formula/model.safetensors")

    def tensor(self, name, *shape):
        self.shapes[name] = shape
        direction = self.shapes[name.replace("weight_g", "weight_v")]
        centre, reach = self.spread(name, direction)
        values = np.float32(centre) + np.float32(reach) * uniform(name, self.seed, int(np.prod(shape)))
        return values.astype(export.STORED["BF16"]).astype(np.float32).reshape(shape)


def safetensors(path):
    """Every tensor of a file, all of single precision."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    entries = json.loads(content[8:start])
    entries.pop("__metadata__", None)
    tensor = lambda entry: np.frombuffer(content[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]], np.float32)
    return {name: tensor(entry).reshape(entry["shape"]) for name, entry in entries.items()}


def distance(actual, expected):
    assert actual.shape == expected.shape, f"{actual.shape} is not {expected.shape}"
    return np.linalg.norm((actual - expected).astype(np.float64)) / np.linalg.norm(expected.astype(np.float64))


class Exported(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def session(self, network, method="write", compute=export.F32):
        path = self.folder / "network.onnx"
        graph = export.Graph(path, compute)
        getattr(network(graph), method)()
        onnx.checker.check_model(str(path), full_check=True)
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def near(self, actual, expected, name, bound=BOUND):
        off = distance(actual, expected)
        print(f"{name}: {off:.1e}")
        self.assertLessEqual(off, bound, name)

    def decoder(self, compute=export.F32):
        return self.session(lambda graph: export.Decoder(Formula(DECODER, 1, transformer_spread), graph), compute=compute)

    def autoencoder(self, config, seed, method, compute=export.F32):
        return self.session(lambda graph: export.Autoencoder(Formula(config, seed, autoencoder_spread), graph), method, compute)

    def velocities(self, session, frames, slots):
        """Of these slots together, which have equally long prompts; the caller makes frames even."""
        channels, even = DECODER["audio_acoustic_hidden_dim"], frames + frames % 2
        rows = lambda name, width: np.stack([given(f"{name}.{frames}.{slot}", 2, frames, width) for slot in slots])
        padded = lambda rows: np.pad(rows, ((0, 0), (0, even - frames), (0, 0)))
        inputs = {
            "hidden_states": padded(rows("latents", channels)),
            "context_latents": padded(rows("context", 2 * channels)),
            "timestep": np.array([SLOTS[slot][1] for slot in slots], np.float32),
            "encoder_hidden_states": np.stack([given(f"states.{slot}", 2, SLOTS[slot][0], DECODER["hidden_size"]) for slot in slots]),
        }
        return session.run(["velocity"], inputs)[0][:, :frames]

    def test_the_decoder_is_the_other_implementations(self):
        session, goldens = self.decoder(), safetensors(ACESTEP / "dit/goldens/transformer.safetensors")
        for frames in (21, 8):
            for slot in range(len(SLOTS)):
                self.near(self.velocities(session, frames, [slot])[0], goldens[f"velocity.{frames}.{slot}"], f"velocity.{frames}.{slot}")

    def test_slots_do_not_hear_each_other(self):
        session = self.decoder()
        both = self.velocities(session, 21, [1, 1])
        self.near(both[0], both[1], "equal slots", 0.0)
        self.near(both[0], self.velocities(session, 21, [1])[0], "a slot beside another", 1e-6)

    def test_both_halves_of_the_autoencoder_are_the_other_implementations(self):
        goldens = safetensors(ACESTEP / "oobleck/goldens/autoencoder.safetensors")
        for config, seed, name, samples, rows in [
            (NARROW, 1, "narrow", 8 * 131, 137), (RATES, 2, "rates", 1920 * 23, 5),
        ]:
            sound = given("sound", seed, samples, 2).T[None]
            moments = self.autoencoder(config, seed, "write_encoder").run(["moments"], {"audio": sound})[0]
            self.assertEqual(moments.shape[1], 8, "means and spreads")
            self.near(moments[0, :4].T, goldens[f"{name}.mean"], f"{name}.mean")
            latents = given("latents", seed, rows, 4).T[None]
            audio = self.autoencoder(config, seed, "write_decoder").run(["audio"], {"latents": latents})[0]
            self.near(audio[0].T, goldens[f"{name}.sound"], f"{name}.sound")

    def test_sixteen_bits_are_near(self):
        goldens = safetensors(ACESTEP / "oobleck/goldens/autoencoder.safetensors")
        half = export.TensorProto.FLOAT16
        sound = given("sound", 2, 1920 * 23, 2).T[None]
        moments = self.autoencoder(RATES, 2, "write_encoder", half).run(["moments"], {"audio": sound})[0]
        self.near(moments[0, :4].T, goldens["rates.mean"], "rates.mean in 16 bits", BOUND_MIXED)
        audio = self.autoencoder(RATES, 2, "write_decoder", half).run(["audio"], {"latents": given("latents", 2, 5, 4).T[None]})[0]
        self.near(audio[0].T, goldens["rates.sound"], "rates.sound in 16 bits", BOUND_MIXED)
        # onnxruntime has no bfloat16 on a CPU; half precision goes the same way through the graph.
        goldens = safetensors(ACESTEP / "dit/goldens/transformer.safetensors")
        velocity = self.velocities(self.decoder(half), 21, [0])[0]
        self.near(velocity, goldens["velocity.21.0"], "velocity.21.0 in 16 bits", BOUND_MIXED)


class Refused(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_on(self, config, header):
        vae = self.folder / "vae"
        vae.mkdir(exist_ok=True)
        (vae / "config.json").write_text(json.dumps(config))
        text = json.dumps(header).encode()
        (vae / "diffusion_pytorch_model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 64)
        command = [sys.executable, HERE / "export.py", "--component", "vae-encode", "--checkpoint", self.folder, "--out", self.folder / "out.onnx"]
        return subprocess.run(command, capture_output=True, text=True)

    def test_a_checkpoint_that_is_not_one_is_told_in_a_line(self):
        for config, header, words in [
            (RATES, {}, "has no tensor encoder.conv1.weight_v"),
            ({}, {}, "does not say downsampling_ratios"),
            (RATES, {"encoder.conv1.weight_v": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, "should be [8, 2, 7]"),
            (RATES | dict(downsampling_ratios=[3, 4, 4, 6, 10]), {}, "has to be even"),
        ]:
            done = self.run_on(config, header)
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (4, 1), done.stderr)
            self.assertIn(words, done.stderr)

    def test_a_folder_that_is_not_there_is_named(self):
        command = [sys.executable, HERE / "export.py", "--component", "decoder", "--checkpoint", self.folder, "--out", self.folder / "out.onnx"]
        done = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(done.returncode, 4)
        self.assertIn("acestep-v15-turbo/config.json cannot be read", done.stderr)


if __name__ == "__main__":
    unittest.main()
