import type { PlayerReport, PlayerRequest } from "./messages";

/** Gains move this much a frame: from silence to full in 20 ms. */
const GAIN_STEP = 1 / (0.02 * 48_000);

type Source = { channels: Float32Array[]; frames: number };
type Strip = { source: Source | null; gain: number; target: number };

/** Plays a circular buffer and its stems locked to the same frame. Pure, so that tests can run it without a browser. */
export class Mixer {
  private readonly live: Strip = { source: null, gain: 1, target: 1 };
  private readonly vocals: Strip = { source: null, gain: 0, target: 0 };
  private readonly instruments: Strip = { source: null, gain: 0, target: 0 };
  private fading: { source: Source; position: number; left: number; length: number } | null = null;
  private position = 0;
  private playing = false;
  private band: [number, number] | null = null;
  private blocks = 0;
  private silentBlocks = 0;
  private peak = 0;
  private power = 0;

  handle(request: PlayerRequest): void {
    switch (request.kind) {
      case "buffer":
        this.replace({ channels: request.channels, frames: request.channels[0]?.length ?? 0 }, request.crossfade);
        break;
      case "region":
        request.channels.forEach((samples, channel) => this.live.source?.channels[channel]?.set(samples, request.start));
        break;
      case "stems":
        this.vocals.source = { channels: request.vocals, frames: request.vocals[0]?.length ?? 0 };
        this.instruments.source = { channels: request.instruments, frames: request.instruments[0]?.length ?? 0 };
        break;
      case "no_stems":
        this.vocals.source = null;
        this.instruments.source = null;
        break;
      case "gains":
        this.live.target = request.live;
        this.vocals.target = request.vocals;
        this.instruments.target = request.instruments;
        break;
      case "playing":
        this.playing = request.playing;
        break;
      case "seek":
        this.position = this.wrap(request.frame);
        break;
      case "loop":
        this.band = request.band;
        break;
    }
  }

  /** Fills one block. */
  render(output: Float32Array[]): void {
    const frames = output[0]?.length ?? 0;
    let peak = 0;
    let power = 0;
    for (let frame = 0; frame < frames; frame += 1) {
      for (const strip of [this.live, this.vocals, this.instruments]) {
        strip.gain += Math.max(-GAIN_STEP, Math.min(GAIN_STEP, strip.target - strip.gain));
      }
      for (let channel = 0; channel < output.length; channel += 1) {
        const sample = this.playing ? this.mix(channel) : 0;
        const out = output[channel];
        if (out) out[frame] = sample;
        peak = Math.max(peak, Math.abs(sample));
        power += sample * sample;
      }
      if (this.playing) this.advance();
    }
    this.peak = peak;
    this.power = power / Math.max(1, frames * output.length);
    this.blocks += 1;
    if (this.playing && peak === 0) this.silentBlocks += 1;
  }

  report(): PlayerReport {
    return { frame: this.position, peak: this.peak, rms: Math.sqrt(this.power), blocks: this.blocks, silentBlocks: this.silentBlocks };
  }

  private replace(source: Source, crossfade: number): void {
    const old = this.live.source;
    if (old && crossfade > 0 && this.playing) this.fading = { source: old, position: this.position, left: crossfade, length: crossfade };
    this.live.source = source;
    this.vocals.source = null;
    this.instruments.source = null;
    this.band = null;
    this.position = old ? 0 : this.wrap(this.position);
  }

  private mix(channel: number): number {
    let live = at(this.live.source, this.position, channel);
    if (this.fading) {
      const share = this.fading.left / this.fading.length;
      live = live * (1 - share) + at(this.fading.source, this.fading.position, channel) * share;
    }
    return (
      live * this.live.gain +
      at(this.vocals.source, this.position, channel) * this.vocals.gain +
      at(this.instruments.source, this.position, channel) * this.instruments.gain
    );
  }

  private advance(): void {
    const end = this.band?.[1] ?? this.live.source?.frames ?? 0;
    this.position = this.position + 1 >= end ? (this.band?.[0] ?? 0) : this.position + 1;
    if (this.fading) {
      this.fading.position = (this.fading.position + 1) % Math.max(1, this.fading.source.frames);
      this.fading.left -= 1;
      if (this.fading.left <= 0) this.fading = null;
    }
  }

  private wrap(frame: number): number {
    const frames = this.live.source?.frames ?? 0;
    return frames ? Math.max(0, Math.floor(frame)) % frames : 0;
  }
}

function at(source: Source | null, frame: number, channel: number): number {
  if (!source) return 0;
  // Mono plays on both sides.
  return (source.channels[channel] ?? source.channels[0])?.[frame] ?? 0;
}
