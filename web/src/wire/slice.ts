import { decompress } from "fzstd";

import { SLICE_DELTA, SLICE_HEADER_BYTES, SLICE_RAW } from "../generated/wire";
import { decodeHalves } from "./half";

/** A slice's header. */
export type SliceHeader = {
  flags: number;
  startSample: number;
  numSamples: number;
  channels: number;
  tickMs: number;
  decMs: number;
  numGens: number;
};

export function readHeader(bytes: Uint8Array): SliceHeader {
  if (bytes.byteLength < SLICE_HEADER_BYTES) throw new Error(`a slice of ${bytes.byteLength} bytes has no whole header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    flags: view.getUint8(0),
    startSample: view.getUint32(1, true),
    numSamples: view.getUint32(5, true),
    channels: view.getUint16(9, true),
    tickMs: view.getFloat32(11, true),
    decMs: view.getFloat32(15, true),
    numGens: view.getUint32(19, true),
  };
}

/** What this client holds, interleaved: the server keeps the same and sends differences to it. */
export class Mirror {
  readonly samples: Float32Array;
  readonly channels: number;

  constructor(initial: Uint8Array, channels: number) {
    this.samples = decodeHalves(initial);
    this.channels = channels;
  }

  get frames(): number {
    return this.samples.length / this.channels;
  }

  /** Applies a slice; throws, and changes nothing, if it is none or lies outside. */
  apply(bytes: Uint8Array): SliceHeader {
    const header = readHeader(bytes);
    const first = header.startSample * header.channels;
    const length = header.numSamples * header.channels;
    if (header.channels !== this.channels || first + length > this.samples.length) throw new Error("a slice lies outside the buffer");
    const body = bytes.subarray(SLICE_HEADER_BYTES);
    if (header.flags === SLICE_RAW) {
      this.samples.set(expectLength(decodeHalves(body), length), first);
    } else if (header.flags === SLICE_DELTA) {
      const delta = expectLength(decodeHalves(decompress(body, new Uint8Array(length * 2))), length);
      for (let place = 0; place < length; place += 1) {
        this.samples[first + place] = (this.samples[first + place] ?? 0) + (delta[place] ?? 0);
      }
    } else {
      throw new Error(`a slice has the unknown flags ${header.flags}`);
    }
    return header;
  }

  /** A copy of some frames, one array a channel. */
  planar(start: number, frames: number): Float32Array[] {
    return planar(this.samples.subarray(start * this.channels, (start + frames) * this.channels), this.channels);
  }
}

/** Interleaved samples as one array a channel. */
export function planar(interleaved: Float32Array, channels: number): Float32Array[] {
  const frames = Math.floor(interleaved.length / channels);
  return Array.from({ length: channels }, (_, channel) => {
    const samples = new Float32Array(frames);
    for (let frame = 0; frame < frames; frame += 1) samples[frame] = interleaved[frame * channels + channel] ?? 0;
    return samples;
  });
}

function expectLength(samples: Float32Array, length: number): Float32Array {
  if (samples.length !== length) throw new Error(`a slice holds ${samples.length} samples and promised ${length}`);
  return samples;
}
