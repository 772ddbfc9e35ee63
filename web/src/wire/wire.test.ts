import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { backoffMs, TRIES_MAX } from "./backoff";
import { BinaryOrder } from "./binary";
import { decodeHalves } from "./half";
import { Mirror, readHeader } from "./slice";

const vector = (name: string) => new Uint8Array(readFileSync(new URL(`../../../src/wire/tests/vectors/${name}`, import.meta.url)));

test("halves: zero, one, subnormal, infinity", () => {
  const halves = new Uint8Array([0, 0, 0, 0x3c, 1, 0, 0, 0x7c, 0, 0xc0]);
  expect([...decodeHalves(halves)]).toEqual([0, 1, 2 ** -24, Number.POSITIVE_INFINITY, -2]);
});

test("the protocol's slices leave the mirror that the protocol says, bit for bit", () => {
  const mirror = new Mirror(vector("initial_buffer.bin"), 2);
  for (const number of [0, 1, 2, 3]) mirror.apply(vector(`slice${number}.bin`));
  const bytes = vector("mirror_after_f32.bin");
  const after = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  expect(Buffer.compare(Buffer.from(mirror.samples.buffer), Buffer.from(after.buffer))).toBe(0);
});

test("a raw slice replaces, and its header reads as the protocol says", () => {
  const bytes = vector("slice_raw.bin");
  expect(readHeader(bytes)).toMatchObject({ flags: 0, startSample: 1920, numSamples: 1920, channels: 2, tickMs: 1, decMs: 2, numGens: 9 });
  const mirror = new Mirror(vector("initial_buffer.bin"), 2);
  mirror.apply(bytes);
  expect(mirror.planar(1920, 1)[0]?.[0]).toBe(decodeHalves(bytes.subarray(23, 25))[0]);
});

test("a slice outside the buffer changes nothing", () => {
  const mirror = new Mirror(new Uint8Array(400), 2);
  expect(() => mirror.apply(vector("slice0.bin"))).toThrow(/outside/);
  expect(mirror.samples.every((sample) => sample === 0)).toBe(true);
});

test("binary frames are what the text before them says", () => {
  const order = new BinaryOrder();
  expect(order.binary().kind).toBe("slice");
  order.text({ type: "stem_assets", fixture_name: "a", sample_rate: 48_000, channels: 2, frames: 1, stems: ["vocals", "instruments"], source_mode: "" });
  expect([order.binary(), order.binary(), order.binary()].map((frame) => frame.kind)).toEqual(["stem", "stem", "slice"]);
});

test("backoff has full jitter between half a second and four, five times", () => {
  for (let attempt = 0; attempt < TRIES_MAX; attempt += 1) {
    expect(backoffMs(attempt, () => 0)).toBe(500);
    expect(backoffMs(attempt, () => 1)).toBe(Math.min(4_000, 500 * 2 ** attempt));
  }
  expect(backoffMs(TRIES_MAX)).toBeNull();
});
