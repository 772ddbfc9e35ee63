import { CROSSFADE_SWAP_MS, SAMPLE_RATE } from "../generated/wire";
import type { PlayerReport, PlayerRequest } from "./messages";
import workletUrl from "./player.worklet.ts?worker&url";

/** The audio side of the page: one context, one worklet that plays. */
export class AudioEngine {
  private readonly context = new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: "interactive" });
  private node: AudioWorkletNode | null = null;
  private waiting: { message: PlayerRequest; transfer: Transferable[] }[] = [];
  private reportedAt = 0;
  report: PlayerReport = { frame: 0, peak: 0, rms: 0, blocks: 0, silentBlocks: 0 };
  private playing = false;

  /** Must follow a person's click, else browsers keep it silent. */
  async start(): Promise<void> {
    await this.context.resume();
    if (this.node) return;
    await this.context.audioWorklet.addModule(workletUrl);
    const node = new AudioWorkletNode(this.context, "greenroom-player", { numberOfInputs: 0, outputChannelCount: [2] });
    node.port.onmessage = ({ data }: MessageEvent<PlayerReport>) => {
      this.report = data;
      this.reportedAt = performance.now();
    };
    node.connect(this.context.destination);
    this.node = node;
    for (const { message, transfer } of this.waiting.splice(0)) node.port.postMessage(message, transfer);
  }

  buffer(channels: Float32Array[]): void {
    const crossfade = Math.round((CROSSFADE_SWAP_MS / 1000) * SAMPLE_RATE);
    this.send({ kind: "buffer", channels, crossfade }, buffersOf(channels));
  }

  region(start: number, channels: Float32Array[]): void {
    this.send({ kind: "region", start, channels }, buffersOf(channels));
  }

  stems(vocals: Float32Array[], instruments: Float32Array[]): void {
    this.send({ kind: "stems", vocals, instruments }, [...buffersOf(vocals), ...buffersOf(instruments)]);
  }

  play(playing: boolean): void {
    this.playing = playing;
    this.send({ kind: "playing", playing });
  }

  send(message: PlayerRequest, transfer: Transferable[] = []): void {
    if (this.node) this.node.port.postMessage(message, transfer);
    else this.waiting.push({ message, transfer });
  }

  /** Where the playhead is now: the last report, and the time since. */
  frame(): number {
    const since = this.playing && this.reportedAt ? Math.min(100, performance.now() - this.reportedAt) : 0;
    return this.report.frame + (since / 1000) * SAMPLE_RATE;
  }
}

function buffersOf(channels: Float32Array[]): Transferable[] {
  return channels.map((channel) => channel.buffer as ArrayBuffer);
}
