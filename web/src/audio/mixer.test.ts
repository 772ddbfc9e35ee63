import { expect, test } from "vitest";

import { Mixer } from "./mixer";

const constant = (value: number, frames = 48_000) => [new Float32Array(frames).fill(value), new Float32Array(frames).fill(value)];
const render = (mixer: Mixer, frames: number) => {
  const output = [new Float32Array(frames), new Float32Array(frames)];
  mixer.render(output);
  return output[0] as Float32Array;
};

function playing(value: number): Mixer {
  const mixer = new Mixer();
  mixer.handle({ kind: "buffer", channels: constant(value), crossfade: 0 });
  mixer.handle({ kind: "playing", playing: true });
  return mixer;
}

test("a solo of a stem has no break: the sum of gains moves in 20 ms without a jump", () => {
  const mixer = playing(0.5);
  mixer.handle({ kind: "stems", vocals: constant(0.5), instruments: constant(0.25) });
  mixer.handle({ kind: "gains", live: 0, vocals: 1, instruments: 0 });
  const samples = render(mixer, 2_000);
  for (let frame = 1; frame < samples.length; frame += 1) {
    expect(Math.abs((samples[frame] ?? 0) - (samples[frame - 1] ?? 0))).toBeLessThan(0.002);
  }
  expect(Math.min(...samples)).toBeGreaterThan(0.49);
  expect(samples[1_999]).toBeCloseTo(0.5, 4);
});

test("a new buffer fades in over the old one, and late regions of it are heard", () => {
  const mixer = playing(1);
  render(mixer, 100);
  mixer.handle({ kind: "buffer", channels: constant(0), crossfade: 2_400 });
  const samples = render(mixer, 2_500);
  expect(samples[0]).toBeCloseTo(1, 3);
  expect(samples[1_200]).toBeCloseTo(0.5, 2);
  expect(samples[2_450]).toBe(0);
  mixer.handle({ kind: "region", start: 2_500, channels: constant(0.7, 100) });
  expect(render(mixer, 10)[0]).toBeCloseTo(0.7, 4);
});

test("a loop wraps at its end, and the end of the source at its start", () => {
  const mixer = playing(1);
  mixer.handle({ kind: "loop", band: [100, 200] });
  mixer.handle({ kind: "seek", frame: 190 });
  render(mixer, 20);
  expect(mixer.report().frame).toBe(110);
  mixer.handle({ kind: "loop", band: null });
  mixer.handle({ kind: "seek", frame: 47_995 });
  render(mixer, 10);
  expect(mixer.report().frame).toBe(5);
});
