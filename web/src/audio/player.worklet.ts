import type { PlayerRequest } from "./messages";
import { Mixer } from "./mixer";

/** Blocks of 128 frames between two reports: about 21 ms. */
const BLOCKS_PER_REPORT = 8;

class Player extends AudioWorkletProcessor {
  private readonly mixer = new Mixer();
  private countdown = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }: MessageEvent<PlayerRequest>) => this.mixer.handle(data);
  }

  process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    const output = outputs[0];
    if (output) this.mixer.render(output);
    this.countdown -= 1;
    if (this.countdown <= 0) {
      this.countdown = BLOCKS_PER_REPORT;
      this.port.postMessage(this.mixer.report());
    }
    return true;
  }
}

registerProcessor("greenroom-player", Player);
