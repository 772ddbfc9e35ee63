#!/usr/bin/env python3
"""Writes a component of ACE-Step 1.5 as ONNX, from a checkpoint folder in the public layout; nothing is fetched.

    python3 -m venv venv
    venv/bin/pip install onnx==1.23.2
    venv/bin/python export.py --component decoder --checkpoint models --out decoder.onnx

`greenroom engines build` runs it. The graph is put together node by node from the formulas of ../../acestep/dit and ../../acestep/oobleck, so
neither torch nor the model's own Python is needed; export_test.py compares it with an independent implementation. Weights lie beside the graph,
in FILE.data: they are read a tensor at a time, and a graph with 3 GB in it could not be written. Components and their shapes are those of
../src/component.rs; frames, samples, tokens and slots may vary.

Exit codes: 2 wrong arguments, 3 a Python package is missing, 4 the checkpoint is not what it should be, 5 the disk refused.
"""

import argparse
import json
import math
import sys
from pathlib import Path

PACKAGES = "onnx==1.23.2"
try:
    import ml_dtypes
    import numpy as np
    import onnx
    from onnx import TensorProto, helper
except ImportError as error:
    print(f"this Python has no package {error.name}: run `{sys.executable} -m pip install {PACKAGES}` and try again", file=sys.stderr)
    sys.exit(3)

# The first whose RMSNormalization and Attention are single operations, which TensorRT has kernels for.
OPSET = 23
# Longest source, in latent frames: four minutes.
FRAMES_MAX = 6000
DILATIONS = (1, 3, 9)
SNAKE_EPS = 1e-9
# Tensors that are smaller are kept in the graph.
INLINE_BYTES = 1024
ALIGNMENT = 256
F32 = TensorProto.FLOAT
# What ONNX calls a type, and numpy.
NUMPY = {
    F32: np.dtype(np.float32),
    TensorProto.FLOAT16: np.dtype(np.float16),
    TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    TensorProto.INT64: np.dtype(np.int64),
    TensorProto.BOOL: np.dtype(np.bool_),
}
STORED = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16), "BF16": np.dtype(ml_dtypes.bfloat16)}


class CheckpointError(Exception):
    """What is wrong with a checkpoint, in words."""


class Checkpoint:
    """A folder's configuration, and its weights as arrays of single precision."""

    def __init__(self, folder, weights):
        try:
            self.config = json.loads((folder / "config.json").read_text())
            self.path = folder / weights
            with self.path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                self.tensors = json.loads(file.read(length))
            self.bytes = np.memmap(self.path, np.uint8, "r", 8 + length)
        except OSError as error:
            raise CheckpointError(f"{error.filename} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise CheckpointError(f"{folder} holds a damaged checkpoint: {error}") from error

    def number(self, name):
        if name not in self.config:
            raise CheckpointError(f"{self.path.parent / 'config.json'} does not say {name}")
        return self.config[name]

    def tensor(self, name, *shape):
        """A tensor of exactly this shape."""
        entry = self.tensors.get(name)
        if entry is None:
            raise CheckpointError(f"{self.path} has no tensor {name}")
        if tuple(entry["shape"]) != shape:
            raise CheckpointError(f"{self.path}: {name} is {entry['shape']} and should be {list(shape)}")
        if entry["dtype"] not in STORED:
            raise CheckpointError(f"{self.path}: {name} is of type {entry['dtype']}; known are {', '.join(STORED)}")
        start, end = entry["data_offsets"]
        values = self.bytes[start:end].view(STORED[entry["dtype"]])
        return values.astype(np.float32).reshape(shape)


class Graph:
    """A graph that grows by one operation at a time; `compute` is the type of its large products."""

    def __init__(self, path, compute):
        self.path, self.compute = path, compute
        self.nodes, self.initializers = [], []
        self.data = Path(f"{path}.data").open("wb")
        self.known = {}

    def constant(self, name, values, kind=F32):
        """A tensor that the graph holds, under this name; again under the same name it is the same."""
        if name in self.known:
            return name
        self.known[name] = True
        values = np.ascontiguousarray(values, NUMPY[kind])
        tensor = TensorProto(name=name, data_type=kind, dims=values.shape)
        if values.nbytes < INLINE_BYTES:
            tensor.raw_data = values.tobytes()
        else:
            self.data.write(b"\0" * (-self.data.tell() % ALIGNMENT))
            tensor.data_location = TensorProto.EXTERNAL
            entries = {"location": f"{self.path.name}.data", "offset": self.data.tell(), "length": values.nbytes}
            for key, value in entries.items():
                tensor.external_data.add(key=key, value=str(value))
            values.tofile(self.data)
        self.initializers.append(tensor)
        return name

    def add(self, operation, inputs, name, outputs=1, **attributes):
        """Adds an operation; gives the name of its output, or a list of several."""
        names = [name] if outputs == 1 else [f"{name}.{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(operation, inputs, names, name, **attributes))
        return name if outputs == 1 else names

    def shape(self, *sizes):
        return self.constant(f"shape{list(sizes)}", sizes, TensorProto.INT64)

    def reshape(self, x, name, *sizes):
        """To these sizes: 0 is as it was, -1 is what is left."""
        return self.add("Reshape", [x, self.shape(*sizes)], name)

    def cast(self, x, kind, name):
        return self.add("Cast", [x], f"{name}.{TensorProto.DataType.Name(kind).lower()}", to=kind)

    def computing(self, x, name):
        """In the type of the large products."""
        return x if self.compute == F32 else self.cast(x, self.compute, name)

    def single(self, x, name):
        """In single precision."""
        return x if self.compute == F32 else self.cast(x, F32, name)

    def sigmoid_product(self, x, name):
        """x · sigmoid(x)."""
        return self.add("Mul", [x, self.add("Sigmoid", [x], f"{name}.sigmoid")], name)

    def save(self, name, inputs, output):
        """Writes the graph; inputs and output are (name, dimensions), in single precision."""
        value = lambda pair: helper.make_tensor_value_info(pair[0], F32, pair[1])
        graph = helper.make_graph(self.nodes, name, [value(pair) for pair in inputs], [value(output)], self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=11, producer_name="greenroom")
        self.data.close()
        self.path.write_bytes(model.SerializeToString())


class Decoder:
    """The diffusion transformer. Products, attention and the trunk are in the type of the large products; norms, times and modulations are
    in single precision. A matrix keeps the checkpoint's name and lies [inputs, outputs], the transpose of what the checkpoint has: that is how
    a LoRA finds what it changes."""

    def __init__(self, checkpoint, graph):
        self.checkpoint, self.graph = checkpoint, graph
        number = checkpoint.number
        self.width, self.inner, self.layers = number("hidden_size"), number("intermediate_size"), number("num_hidden_layers")
        self.queries, self.keys, self.head = number("num_attention_heads"), number("num_key_value_heads"), number("head_dim")
        self.channels, self.window, self.eps = number("audio_acoustic_hidden_dim"), number("sliding_window"), number("rms_norm_eps")
        if number("patch_size") != 2 or number("in_channels") != 3 * self.channels:
            raise CheckpointError(f"{checkpoint.path}: only patches of two frames are known, and three times the latent's channels going in")

    def tensor(self, name, *shape):
        return self.checkpoint.tensor(f"decoder.{name}", *shape)

    def linear(self, x, name, outputs, inputs, bias=False, single=False):
        """A product with a matrix, and a bias if there is one."""
        graph = self.graph
        kind = F32 if single else graph.compute
        weight = graph.constant(f"decoder.{name}.weight", self.tensor(f"{name}.weight", outputs, inputs).T, kind)
        product = graph.add("MatMul", [x, weight], f"{name}.product")
        if not bias:
            return product
        bias = graph.constant(f"decoder.{name}.bias", self.tensor(f"{name}.bias", outputs), kind)
        return graph.add("Add", [product, bias], name)

    def norm(self, x, name, width):
        """Divides by the root of the mean square, in single precision, and multiplies with the weight."""
        graph = self.graph
        weight = graph.constant(f"decoder.{name}.weight", self.tensor(f"{name}.weight", width))
        return graph.add("RMSNormalization", [graph.single(x, f"{name}.in"), weight], name, axis=-1, epsilon=self.eps)

    def time(self, time):
        """What a time [slots] gives: an embedding [slots, 1, width], and modulations [slots, 6, width]."""
        graph, width = self.graph, self.width
        half = 128
        frequencies = 1000.0 * np.exp(-math.log(10000.0) * np.arange(half) / half)
        times = graph.reshape(time, "time.column", -1, 1)
        angles = graph.add("Mul", [times, graph.constant("time.frequencies", frequencies[None])], "time.angles")
        features = [graph.add(function, [angles], f"time.{function}") for function in ("Cos", "Sin")]
        features = graph.add("Concat", features, "time.features", axis=1)
        linear = lambda x, name, outputs, inputs: self.linear(x, f"time_embed.{name}", outputs, inputs, bias=True, single=True)
        embedded = graph.sigmoid_product(linear(features, "linear_1", width, 2 * half), "time.hidden")
        embedded = linear(embedded, "linear_2", width, width)
        projected = linear(graph.sigmoid_product(embedded, "time.silu"), "time_proj", 6 * width, width)
        constant, modulation = self.second_time(half)
        embedded = graph.add("Add", [embedded, graph.constant("time_r.embedded", constant[None])], "time.embedded")
        projected = graph.add("Add", [projected, graph.constant("time_r.projected", modulation[None])], "time.projected")
        return graph.reshape(embedded, "time.embedding", -1, 1, width), graph.reshape(projected, "time.modulations", -1, 6, width)

    def second_time(self, half):
        """What the second time adds: it is always 0."""
        silu = lambda x: x / (1 + np.exp(-x))
        features = np.concatenate([np.ones(half), np.zeros(half)])

        def linear(x, name, outputs, inputs):
            name = f"time_embed_r.{name}"
            weight = self.tensor(f"{name}.weight", outputs, inputs).astype(np.float64)
            return weight @ x + self.tensor(f"{name}.bias", outputs)

        embedded = linear(silu(linear(features, "linear_1", self.width, 2 * half)), "linear_2", self.width, self.width)
        return embedded, linear(silu(embedded), "time_proj", 6 * self.width, self.width)

    def tokens(self, latents, context):
        """Two frames a token, context first: [slots, tokens, width]."""
        graph, inputs = self.graph, 6 * self.channels
        rows = graph.add("Concat", [context, latents], "in.frames", axis=2)
        rows = graph.computing(graph.reshape(rows, "in.patches", 0, -1, inputs), "in.patches")
        kernel = self.tensor("proj_in.1.weight", self.width, 3 * self.channels, 2).transpose(2, 1, 0).reshape(inputs, self.width)
        product = graph.add("MatMul", [rows, graph.constant("decoder.proj_in.1.weight", kernel, graph.compute)], "in.product")
        bias = graph.constant("decoder.proj_in.1.bias", self.tensor("proj_in.1.bias", self.width), graph.compute)
        return graph.add("Add", [product, bias], "in.tokens")

    def positions(self, tokens):
        """Cosines and sines of every token's position, [tokens, head / 2], and which tokens are within the window of which."""
        graph = self.graph
        length = graph.add("Shape", [tokens], "positions.length", start=1, end=2)
        frequencies = (self.checkpoint.number("rope_theta") ** (-2.0 * np.arange(self.head // 2) / self.head)).astype(np.float32)
        places = np.arange(FRAMES_MAX // 2)
        angles = places[:, None] * frequencies[None].astype(np.float64)
        zero = graph.shape(0)
        slice_of = lambda name, table: graph.add("Slice", [graph.constant(f"positions.{name}s", table), zero, length, zero], f"positions.{name}")
        cosines, sines = (graph.computing(slice_of(name, table), f"positions.{name}") for name, table in (("cos", np.cos(angles)), ("sin", np.sin(angles))))
        place = slice_of("place", places)
        column, row = graph.reshape(place, "positions.column", -1, 1), graph.reshape(place, "positions.row", 1, -1)
        distance = graph.add("Abs", [graph.add("Sub", [column, row], "positions.offset")], "positions.distance")
        near = graph.add("Less", [distance, graph.constant("positions.window", self.window + 0.5)], "positions.near")
        return cosines, sines, near

    def heads(self, x, name, count, norm=None):
        """[slots, rows, count · head] → [slots, count, rows, head], each head normed."""
        graph = self.graph
        x = graph.reshape(x, f"{name}.heads", 0, -1, count, self.head)
        if norm:
            x = graph.computing(self.norm(x, norm, self.head), norm)
        return graph.add("Transpose", [x], f"{name}.by_head", perm=[0, 2, 1, 3])

    def rotated(self, x, name, cosines, sines):
        """The first half of a head turned against the second."""
        graph = self.graph
        halves = graph.add("Split", [x], f"{name}.halves", outputs=2, axis=3, num_outputs=2)
        product = lambda half, table, part: graph.add("Mul", [halves[half], table], f"{name}.{part}")
        first = graph.add("Sub", [product(0, cosines, "ac"), product(1, sines, "bs")], f"{name}.first")
        second = graph.add("Add", [product(1, cosines, "bc"), product(0, sines, "as")], f"{name}.second")
        return graph.add("Concat", [first, second], f"{name}.turned", axis=3)

    def attention(self, x, states, name, rotary=None, near=None):
        """Of tokens x to states; positions and a window only within the tokens themselves."""
        graph, head = self.graph, self.head
        project = lambda of, part, count: self.linear(of, f"{name}.{part}_proj", count * head, self.width)
        q = self.heads(project(x, "q", self.queries), f"{name}.q", self.queries, f"{name}.q_norm")
        k = self.heads(project(states, "k", self.keys), f"{name}.k", self.keys, f"{name}.k_norm")
        v = self.heads(project(states, "v", self.keys), f"{name}.v", self.keys)
        if rotary:
            q, k = self.rotated(q, f"{name}.q", *rotary), self.rotated(k, f"{name}.k", *rotary)
        inputs = [q, k, v] + ([near] if near else [])
        out = graph.add("Attention", inputs, f"{name}.attended", scale=head**-0.5)
        out = graph.add("Transpose", [out], f"{name}.by_row", perm=[0, 2, 1, 3])
        out = graph.reshape(out, f"{name}.rows", 0, -1, self.queries * head)
        return self.linear(out, f"{name}.o_proj", self.width, self.queries * head)

    def modulations(self, given, name, count):
        """A table and what the time gave, as its vectors [slots, 1, width]."""
        graph = self.graph
        table = graph.constant(f"decoder.{name}", self.tensor(name, 1, count, self.width))
        both = graph.add("Add", [given, table], f"{name}.sum")
        return graph.add("Split", [both], f"{name}.part", outputs=count, axis=1, num_outputs=count)

    def adapted(self, x, name, shift, scale):
        """A norm, scaled and shifted as the time says."""
        graph = self.graph
        one = graph.constant("one", 1.0)
        product = graph.add("Mul", [self.norm(x, name, self.width), graph.add("Add", [scale, one], f"{name}.scale")], f"{name}.scaled")
        return graph.computing(graph.add("Add", [product, shift], f"{name}.shifted"), name)

    def plus(self, x, delta, name, gate=None):
        """The trunk and what a layer adds to it."""
        graph = self.graph
        if gate:
            delta = graph.add("Mul", [delta, graph.computing(gate, f"{name}.gate")], f"{name}.gated")
        return graph.add("Add", [x, delta], f"{name}.trunk")

    def layer(self, x, index, states, modulations, positions):
        graph, name = self.graph, f"layers.{index}"
        cosines, sines, near = positions
        shift, scale, gate, forward_shift, forward_scale, forward_gate = self.modulations(modulations, f"{name}.scale_shift_table", 6)
        # Every other layer, the first included, looks no farther than the window.
        normed = self.adapted(x, f"{name}.self_attn_norm", shift, scale)
        delta = self.attention(normed, normed, f"{name}.self_attn", (cosines, sines), near if index % 2 == 0 else None)
        x = self.plus(x, delta, f"{name}.self_attn", gate)
        normed = graph.computing(self.norm(x, f"{name}.cross_attn_norm", self.width), f"{name}.cross_attn_norm")
        x = self.plus(x, self.attention(normed, states, f"{name}.cross_attn"), f"{name}.cross_attn")
        normed = self.adapted(x, f"{name}.mlp_norm", forward_shift, forward_scale)
        up = self.linear(normed, f"{name}.mlp.up_proj", self.inner, self.width)
        open_gate = graph.sigmoid_product(self.linear(normed, f"{name}.mlp.gate_proj", self.inner, self.width), f"{name}.mlp.silu")
        hidden = graph.add("Mul", [open_gate, up], f"{name}.mlp.hidden")
        return self.plus(x, self.linear(hidden, f"{name}.mlp.down_proj", self.width, self.inner), f"{name}.mlp", forward_gate)

    def write(self):
        graph, channels = self.graph, self.channels
        embedding, modulations = self.time("timestep")
        x = self.tokens("hidden_states", "context_latents")
        states = graph.computing("encoder_hidden_states", "states")
        states = self.linear(states, "condition_embedder", self.width, self.width, bias=True)
        positions = self.positions(x)
        for index in range(self.layers):
            progress(index, self.layers)
            x = self.layer(x, index, states, modulations, positions)
        shift, scale = self.modulations(embedding, "scale_shift_table", 2)
        x = self.adapted(x, "norm_out", shift, scale)
        kernel = self.tensor("proj_out.1.weight", self.width, channels, 2).transpose(0, 2, 1).reshape(self.width, 2 * channels)
        product = graph.add("MatMul", [x, graph.constant("decoder.proj_out.1.weight", kernel, graph.compute)], "out.product")
        bias = graph.constant("decoder.proj_out.1.bias", np.tile(self.tensor("proj_out.1.bias", channels), 2))
        patches = graph.add("Add", [graph.single(product, "out.product"), bias], "out.patches")
        graph.reshape(patches, "velocity", 0, -1, channels)
        inputs = [
            ("hidden_states", ["slots", "frames", channels]),
            ("timestep", ["slots"]),
            ("encoder_hidden_states", ["slots", "tokens", self.width]),
            ("context_latents", ["slots", "frames", 2 * channels]),
        ]
        graph.save("decoder", inputs, ("velocity", ["slots", "frames", channels]))


class Autoencoder:
    """Both halves of Oobleck. Convolutions and the trunk are in the type of the large products; what bends them, x + sin²(αx)/β, is in single
    precision, for a phase needs its digits."""

    def __init__(self, checkpoint, graph):
        self.checkpoint, self.graph = checkpoint, graph
        number = checkpoint.number
        self.ratios, self.latent, self.sound = number("downsampling_ratios"), number("decoder_input_channels"), number("audio_channels")
        multiples = [1, *number("channel_multiples")]
        if len(multiples) != len(self.ratios) + 1 or any(ratio % 2 for ratio in self.ratios):
            raise CheckpointError(f"{checkpoint.path}: every downsampling ratio needs a channel multiple, and has to be even")
        # (channels where the rate is higher, where it is lower, ratio).
        stages = lambda channels: [(channels * up, channels * low, ratio) for up, low, ratio in zip(multiples, multiples[1:], self.ratios)]
        self.encoder, self.decoder = stages(number("encoder_hidden_size")), stages(number("decoder_channels"))[::-1]

    def kernel(self, name, shape, bias):
        """Directions times lengths, of each first index, and the bias."""
        direction = self.checkpoint.tensor(f"{name}.weight_v", *shape).astype(np.float64)
        length = self.checkpoint.tensor(f"{name}.weight_g", shape[0], 1, 1)
        kernel = direction * (length / np.sqrt((direction**2).sum((1, 2), keepdims=True)))
        kind = self.graph.compute
        names = [self.graph.constant(f"{name}.weight", kernel, kind)]
        return names + ([self.graph.constant(f"{name}.bias", self.checkpoint.tensor(f"{name}.bias", bias), kind)] if bias else [])

    def convolution(self, x, name, inputs, outputs, taps, dilation=1, stride=1, pad=None, bias=True):
        pad = dilation * (taps // 2) if pad is None else pad
        kernel = self.kernel(name, (outputs, inputs, taps), outputs if bias else None)
        return self.graph.add("Conv", [x, *kernel], name, kernel_shape=[taps], dilations=[dilation], strides=[stride], pads=[pad, pad])

    def snake(self, x, name, channels):
        graph = self.graph
        logarithm = lambda part: self.checkpoint.tensor(f"{name}.{part}", 1, channels, 1).astype(np.float64)
        frequency = graph.constant(f"{name}.frequency", np.exp(logarithm("alpha")))
        height = graph.constant(f"{name}.height", 1.0 / (np.exp(logarithm("beta")) + SNAKE_EPS))
        x = graph.single(x, f"{name}.in")
        sine = graph.add("Sin", [graph.add("Mul", [x, frequency], f"{name}.phase")], f"{name}.sine")
        square = graph.add("Mul", [graph.add("Mul", [sine, sine], f"{name}.square"), height], f"{name}.bend")
        return graph.computing(graph.add("Add", [x, square], f"{name}.sum"), name)

    def units(self, x, block, channels):
        for index, dilation in enumerate(DILATIONS):
            name = f"{block}.res_unit{index + 1}"
            delta = self.convolution(self.snake(x, f"{name}.snake1", channels), f"{name}.conv1", channels, channels, 7, dilation)
            delta = self.convolution(self.snake(delta, f"{name}.snake2", channels), f"{name}.conv2", channels, channels, 1)
            x = self.graph.add("Add", [x, delta], f"{name}.trunk")
        return x

    def write_encoder(self):
        graph, first, last = self.graph, self.encoder[0][0], self.encoder[-1][1]
        x = self.convolution(graph.computing("audio", "audio"), "encoder.conv1", self.sound, first, 7)
        for index, (upper, lower, ratio) in enumerate(self.encoder):
            progress(index, len(self.encoder))
            block = f"encoder.block.{index}"
            x = self.snake(self.units(x, block, upper), f"{block}.snake1", upper)
            x = self.convolution(x, f"{block}.conv1", upper, lower, 2 * ratio, stride=ratio, pad=ratio // 2)
        x = self.convolution(self.snake(x, "encoder.snake1", last), "encoder.conv2", last, 2 * self.latent, 3)
        graph.add("Cast", [x], "moments", to=F32)
        graph.save("vae_encode", [("audio", [1, self.sound, "samples"])], ("moments", [1, 2 * self.latent, "frames"]))

    def write_decoder(self):
        graph, first, last = self.graph, self.decoder[0][1], self.decoder[-1][0]
        x = self.convolution(graph.computing("latents", "latents"), "decoder.conv1", self.latent, first, 7)
        for index, (upper, lower, ratio) in enumerate(self.decoder):
            progress(index, len(self.decoder))
            block = f"decoder.block.{index}"
            x = self.snake(x, f"{block}.snake1", lower)
            kernel = self.kernel(f"{block}.conv_t1", (lower, upper, 2 * ratio), upper)
            shape = dict(kernel_shape=[2 * ratio], strides=[ratio], pads=[ratio // 2] * 2)
            x = self.units(graph.add("ConvTranspose", [x, *kernel], f"{block}.conv_t1", **shape), block, upper)
        x = self.convolution(self.snake(x, "decoder.snake1", last), "decoder.conv2", last, self.sound, 7, bias=False)
        graph.add("Cast", [x], "audio", to=F32)
        graph.save("vae_decode", [("latents", [1, self.latent, "frames"])], ("audio", [1, self.sound, "samples"]))


def progress(done, all_):
    """One line for whoever shows how far it is."""
    print(f"progress {done} {all_}", flush=True)


def export(component, models, path, precision):
    """Writes one component; `precision` is mixed (16 bits where products are large) or fp32."""
    inner = models / "checkpoints"
    models = inner if inner.is_dir() else models
    if component == "decoder":
        checkpoint = Checkpoint(models / "acestep-v15-turbo", "model.safetensors")
        # The trunk overflows half precision.
        compute = TensorProto.BFLOAT16
    else:
        checkpoint = Checkpoint(models / "vae", "diffusion_pytorch_model.safetensors")
        compute = TensorProto.FLOAT16
    graph = Graph(path, F32 if precision == "fp32" else compute)
    if component == "decoder":
        Decoder(checkpoint, graph).write()
    elif component == "vae-encode":
        Autoencoder(checkpoint, graph).write_encoder()
    else:
        Autoencoder(checkpoint, graph).write_decoder()


def main():
    parser = argparse.ArgumentParser(description="Writes a component of ACE-Step 1.5 as ONNX.")
    parser.add_argument("--component", required=True, choices=["decoder", "vae-encode", "vae-decode"])
    parser.add_argument("--checkpoint", required=True, type=Path, help="folder of models in the public layout")
    parser.add_argument("--out", required=True, type=Path, help="file to write; its weights go into a file beside it")
    parser.add_argument("--precision", default="mixed", choices=["mixed", "fp32"])
    arguments = parser.parse_args()
    try:
        export(arguments.component, arguments.checkpoint, arguments.out, arguments.precision)
    except CheckpointError as error:
        print(error, file=sys.stderr)
        sys.exit(4)
    except OSError as error:
        print(f"{arguments.out} cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(5)


if __name__ == "__main__":
    main()
