/// <reference lib="webworker" />
import { Mirror, planar } from "./slice";
import { decodeHalves } from "./half";

/** What the page asks of this worker. */
export type WorkerRequest =
  | { kind: "initial"; bytes: ArrayBuffer; channels: number }
  | { kind: "slice"; bytes: ArrayBuffer; receivedAt: number }
  | { kind: "stem"; name: string; bytes: ArrayBuffer; channels: number }
  | { kind: "heartbeat"; every_ms: number | null };

/** What it answers. */
export type WorkerAnswer =
  | { kind: "buffer"; channels: Float32Array[] }
  | { kind: "region"; start: number; frames: number; channels: Float32Array[]; tickMs: number; decMs: number; numGens: number; receivedAt: number }
  | { kind: "stem"; name: string; channels: Float32Array[] }
  | { kind: "bad"; reason: string }
  | { kind: "beat" };

const scope = self as unknown as DedicatedWorkerGlobalScope;
let mirror: Mirror | null = null;
let heartbeat: number | undefined;

scope.onmessage = ({ data }: MessageEvent<WorkerRequest>) => {
  try {
    handle(data);
  } catch (error) {
    answer({ kind: "bad", reason: String(error) });
  }
};

function handle(request: WorkerRequest): void {
  switch (request.kind) {
    case "initial":
      mirror = new Mirror(new Uint8Array(request.bytes), request.channels);
      answer({ kind: "buffer", channels: mirror.planar(0, mirror.frames) });
      break;
    case "slice": {
      if (!mirror) throw new Error("a slice came before its buffer");
      const header = mirror.apply(new Uint8Array(request.bytes));
      answer({
        kind: "region",
        start: header.startSample,
        frames: header.numSamples,
        channels: mirror.planar(header.startSample, header.numSamples),
        tickMs: header.tickMs,
        decMs: header.decMs,
        numGens: header.numGens,
        receivedAt: request.receivedAt,
      });
      break;
    }
    case "stem":
      answer({ kind: "stem", name: request.name, channels: planar(decodeHalves(new Uint8Array(request.bytes)), request.channels) });
      break;
    case "heartbeat":
      // A page's own timers sleep while its tab is hidden; a worker's do not.
      scope.clearInterval(heartbeat);
      heartbeat = request.every_ms === null ? undefined : scope.setInterval(() => answer({ kind: "beat" }), request.every_ms);
      break;
  }
}

function answer(message: WorkerAnswer): void {
  const transfer = "channels" in message ? message.channels.map((channel) => channel.buffer as ArrayBuffer) : [];
  scope.postMessage(message, transfer);
}
