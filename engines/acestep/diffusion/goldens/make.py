#!/usr/bin/env python3
"""Makes the golden tensors that the stream's steps are tested against: the same formulas in numpy, wavelets from PyWavelets.

    python3 -m venv venv
    venv/bin/pip install numpy PyWavelets safetensors
    venv/bin/python make.py

Inputs are not stored: both sides make them by the formula in ../../../weights/src/random.rs.
"""

from pathlib import Path

import numpy as np
import pywt
from safetensors.numpy import save_file

HERE = Path(__file__).parent
GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1
FRAMES, CHANNELS = 21, 4


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
    return uniform(name, 2, int(np.prod(shape))).astype(np.float64).reshape(shape)


def bands(x, wavelet):
    """Coefficients of the slow and the fast part of x over time, as one level of a wavelet sees them."""
    return pywt.dwt(x, wavelet, mode="zero", axis=0)


def split(x, wavelet):
    """Both parts themselves."""
    slow, fast = bands(x, wavelet)
    frames = x.shape[0]
    return pywt.idwt(slow, None, wavelet, mode="zero", axis=0)[:frames], pywt.idwt(None, fast, wavelet, mode="zero", axis=0)[:frames]


def field(x, context, prompt, time):
    """A velocity that looks at everything: ../src/tests.rs has the same."""
    before = np.concatenate([np.zeros((1, CHANNELS)), x[:-1]])
    return np.tanh(0.7 * x + 0.4 * before + 0.3 * context[:, :CHANNELS] + 0.5 * prompt.mean()) * (0.5 + time)


def guided(positive, negative, momentum, scale, rescale):
    difference = positive - negative - 0.75 * momentum
    norm = lambda x: np.sqrt((x**2).sum(0, keepdims=True))
    shrunk = difference * np.minimum(1, 2.5 / norm(difference))
    direction = positive / norm(positive)
    out = positive + (scale - 1) * (shrunk - (shrunk * direction).sum(0, keepdims=True) * direction)
    return rescale * out * norm(positive) / norm(out) + (1 - rescale) * out, difference


def analytic(x):
    spectrum, length = np.fft.fft(x, axis=0), x.shape[0]
    gains = np.zeros((length, 1))
    gains[0], gains[1 : (length + 1) // 2] = 1, 2
    if length % 2 == 0:
        gains[length // 2] = 1
    return np.fft.ifft(spectrum * gains, axis=0)


def faded(band, end, scale, multiplicative, magnitude_phase, threshold):
    """DEMON's three faders on the coefficients of a band."""
    sign = np.sign(band - end)
    added = band + scale * sign * np.maximum(abs(band - end) - threshold, 0)
    real = (1 - multiplicative) * added + multiplicative * band * (1 + scale * sign)
    one, other = analytic(band), analytic(end)
    turn = np.angle(one / (other + 1e-8))
    magnitude = abs(one) + scale * (abs(one) - abs(other))
    turned = (magnitude * np.exp(1j * (np.angle(one) + scale * turn))).real
    return (1 - magnitude_phase) * real + magnitude_phase * turned


def corrected(moved, estimate, time, mode, wavelet, scale, high, faders):
    if mode == "pix":
        return moved + scale * (moved - estimate)
    low, high = {"low": (time * scale, 0), "high": (0, (1 - time) * scale), "double": (time * scale, (1 - time) * high)}[mode]
    if faders is not None:
        scaled = zip(bands(moved, wavelet), bands(estimate, wavelet), (low, high))
        return pywt.idwt(*(faded(*band, *faders) for band in scaled), wavelet, mode="zero", axis=0)[: len(moved)]
    slow, fast = split(moved - estimate, wavelet)
    return moved + low * slow + high * fast


def schedule(steps, denoise, shift):
    start = 1.0 if denoise >= 1 else steps / int(steps / denoise)
    line = np.linspace(start, 0, steps + 1)
    return shift * line / (1 + (shift - 1) * line)


def generation(case):
    """A whole generation that starts from the source alone."""
    source, hints = given("latents", FRAMES, CHANNELS), given("hints", FRAMES, CHANNELS)
    silence = given("silence", FRAMES, CHANNELS)
    strength = case.get("hint_strength", 1)
    context = np.concatenate([(1 - strength) * silence + strength * hints, np.ones((FRAMES, CHANNELS))], 1)
    prompt, nothing = given("full", 5, 6), given("negative", 3, 6)
    gains = np.ones(CHANNELS) * case.get("gain", 1)
    times = schedule(case.get("steps", 8), case.get("denoise", 1), 3.5)
    x, momentum, kept = source.copy(), 0, None
    for step, (now, then) in enumerate(zip(times, times[1:])):
        v = field(x * gains, context, prompt, now)
        if case.get("mode") == "full" or (case.get("mode") == "initialize" and step == 0):
            kept = field(x * gains, context, nothing, now)
        if kept is not None:
            v, momentum = guided(v, kept, momentum, case["scale"], case.get("rescale", 0))
        estimate = x - v * now
        if case.get("x0_target") and step >= (len(times) - 1) // 2:
            moved_v = (x - (estimate + case["x0_target"] * (source - estimate))) / now
        else:
            moved_v = v
        moved = x + (then - now) * moved_v
        if case.get("dcw", ("double", "haar")) is not None:
            mode, wavelet = case.get("dcw", ("double", "haar"))
            moved = corrected(moved, estimate, now, mode, wavelet, 0.05, 0.02, case.get("faders"))
        x = moved
    return x


# ../src/tests.rs has the same.
CASES = {
    "plain": dict(dcw=None),
    "corrected": dict(),
    "low": dict(dcw=("low", "db4")),
    "high": dict(dcw=("high", "sym8")),
    "double": dict(dcw=("double", "db8")),
    "pixel": dict(dcw=("pix", "haar")),
    "threshold": dict(dcw=("double", "db4"), faders=(0, 0, 0.2)),
    "multiplied": dict(dcw=("low", "haar"), faders=(0.7, 0, 0)),
    "analytic": dict(dcw=("double", "haar"), faders=(0, 1, 0)),
    "faders": dict(dcw=("high", "sym8"), faders=(0.4, 0.5, 0.05)),
    "initialize": dict(mode="initialize", scale=2.5),
    "full": dict(mode="full", scale=2.5, rescale=0.3),
    "short": dict(steps=3, denoise=0.7, hint_strength=0.4),
    "target": dict(x0_target=0.6, gain=1.5),
}


def main():
    out = {}
    for wavelet in ("haar", "db4", "sym8", "db8"):
        for frames in (40, 41, 3, 1):
            signal = given("signal", frames, 3)
            out[f"{wavelet}.{frames}"] = split(signal, wavelet)[0]
            for name, band in zip(("slow", "fast"), bands(signal, wavelet)):
                out[f"{wavelet}.{frames}.{name}"] = band
    save(out, "wavelets")
    out = {f"generation.{name}": generation(case) for name, case in CASES.items()}
    momentum = 0
    for step in range(3):
        out[f"guided.{step}"], momentum = guided(
            given(f"positive.{step}", FRAMES, CHANNELS), given(f"negative.{step}", FRAMES, CHANNELS), momentum, 4.0, 0.25 * step
        )
    save(out, "steps")


def save(tensors, name):
    save_file({key: np.ascontiguousarray(value, dtype=np.float32) for key, value in tensors.items()}, HERE / f"{name}.safetensors")


if __name__ == "__main__":
    main()
