import * as api from "../api";
import { AudioEngine } from "../audio/engine";
import { type ClientMessage, SAMPLE_RATE, type ServerMessage, type SessionConfig, type StemSourceMode } from "../generated/wire";
import { step } from "../state/connection";
import { lorasToKeep, withoutGone } from "../state/loras";
import { OWN, type ReferenceKind, ask, askAgain, inForce } from "../state/references";
import { Store, type StripName, gains } from "../state/store";
import { BinaryOrder } from "../wire/binary";
import type { WorkerAnswer, WorkerRequest } from "../wire/slices.worker";
import SliceWorker from "../wire/slices.worker.ts?worker";
import { peaksOf } from "./peaks";

const HEARTBEAT_MS = 8;
const HALF = 0.5;

/** The page's end of the pod: socket, audio and view, and what a person can do. */
export class Pod {
  readonly store = new Store();
  private readonly engine = new AudioEngine();
  private readonly worker = new SliceWorker();
  private socket: WebSocket | null = null;
  private order = new BinaryOrder();
  private pending: Record<string, number> = {};
  private stemParts: { vocals?: Float32Array[]; instruments?: Float32Array[] } = {};
  private stemSource = "";
  private retry: number | undefined;
  private notices = 0;

  constructor() {
    this.worker.onmessage = ({ data }: MessageEvent<WorkerAnswer>) => this.fromWorker(data);
    void this.refresh();
  }

  /** Begins to play a track of the pod's; must follow a person's click. */
  async start(name?: string): Promise<void> {
    await this.engine.start();
    const track = name ?? this.store.get().playing?.name ?? this.store.get().tracks[0]?.name;
    if (!track) {
      this.notice("Drop a song first: there is nothing to play yet.");
      return;
    }
    this.connect(track);
  }

  stop(): void {
    window.clearTimeout(this.retry);
    this.socket?.close(1000);
    this.engine.play(false);
    this.store.update((view) => ({ connection: step(view.connection, { event: "stop" }), ready: null }));
  }

  pause(paused: boolean): void {
    this.engine.play(!paused);
    this.store.update({ paused });
  }

  seek(share: number): void {
    const playing = this.store.get().playing;
    if (playing) this.engine.send({ kind: "seek", frame: share * playing.duration * SAMPLE_RATE });
  }

  async upload(file: File): Promise<void> {
    await this.engine.start();
    this.store.update({ upload: { name: file.name, sent: 0, error: null } });
    try {
      const track = await api.uploadTrack(file, (sent) => this.store.update({ upload: { name: file.name, sent, error: null } }));
      this.store.update((view) => ({
        upload: null,
        stems: track.stems_pending
          ? { ...view.stems, [track.name]: { track: track.name, state: "queued", done: 0, total: 0, error: null } }
          : view.stems,
      }));
      await this.refresh();
      this.notice(`${track.name}: ${track.bpm} BPM, ${track.key}`);
      await this.play(track.name);
    } catch (error) {
      this.store.update({ upload: { name: file.name, sent: 1, error: error instanceof Error ? error.message : String(error) } });
    }
  }

  /** Swaps to a track, or starts with it. */
  async play(name: string, mode?: StemSourceMode): Promise<void> {
    if (this.store.get().connection.state !== "live") return this.start(name);
    this.store.update({ swapping: name });
    this.send({ type: "swap_source", use_server_source: true, fixture_name: name, ...(mode ? { stem_source_mode: mode } : {}) });
  }

  setKnob(name: string, value: number): void {
    this.pending[name] = value;
    this.store.update((view) => ({ knobs: { ...view.knobs, [name]: value } }));
  }

  setLora(id: string, enabled: boolean): void {
    this.send({ type: enabled ? "enable_lora" : "disable_lora", id });
  }

  setStrip(name: StripName, change: Partial<{ level: number; solo: boolean; mute: boolean }>): void {
    this.store.update((view) => ({ strips: { ...view.strips, [name]: { ...view.strips[name], ...change } } }));
    this.engine.send({ kind: "gains", ...gains(this.store.get().strips) });
  }

  setPrompt(change: Partial<{ tags: string; tagsB: string; key: string; timeSignature: string }>): void {
    this.store.update((view) => ({ prompt: { ...view.prompt, ...change } }));
  }

  applyPrompt(): void {
    const { tags, tagsB, key, timeSignature } = this.store.get().prompt;
    this.send({ type: "prompt", tags, ...(tagsB ? { tags_b: tagsB } : {}), ...(key ? { key } : {}), time_signature: timeSignature });
  }

  setBlend(blend: number): void {
    this.store.update((view) => ({ prompt: { ...view.prompt, blend } }));
    this.send({ type: "set_prompt_blend", value: blend });
  }

  /** Borrows the timbre or structure of a track of the pod's, or takes the source's own again. */
  borrow(kind: ReferenceKind, name: string | null): void {
    this.send(ask(kind, name));
  }

  setLoop(loop: [number, number] | null): void {
    this.store.update({ loop });
    this.send({ type: "loop_band", start_sec: loop?.[0] ?? null, end_sec: loop?.[1] ?? null });
    this.engine.send({ kind: "loop", band: loop ? [Math.floor(loop[0] * SAMPLE_RATE), Math.floor(loop[1] * SAMPLE_RATE)] : null });
  }

  dismiss(id: number): void {
    this.store.update((view) => ({ notices: view.notices.filter((notice) => notice.id !== id) }));
  }

  playheadSeconds(): number {
    return this.engine.frame() / SAMPLE_RATE;
  }

  level(): number {
    return this.engine.report.rms;
  }

  /** What a browser test reads. */
  probe(): Record<string, unknown> {
    const { figures, connection, playing, stemsLoaded } = this.store.get();
    return { ...figures, ...this.engine.report, connection: connection.state, playing: playing?.name ?? null, stemsLoaded };
  }

  async refresh(): Promise<void> {
    try {
      const [uploads, fixtures] = await Promise.all([api.userUploads(), api.fixtures()]);
      const tracks = [
        ...uploads.map((name) => ({ name, origin: "upload" as const })),
        ...fixtures.map((name) => ({ name, origin: "fixture" as const })),
      ];
      this.store.update({ tracks });
    } catch (error) {
      this.notice(error instanceof Error ? error.message : String(error));
    }
  }

  private connect(track: string): void {
    window.clearTimeout(this.retry);
    this.socket?.close(1000);
    this.store.update((view) => ({ connection: step(view.connection, { event: "start" }), swapping: track }));
    this.open(track);
  }

  private open(track: string): void {
    const socket = new WebSocket(api.socketUrl());
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.order = new BinaryOrder();
    const view = this.store.get();
    socket.onopen = () => {
      const config: SessionConfig = {
        use_server_fixture: true,
        fixture_name: track,
        client_id: clientId(),
        prompt: view.prompt.tags,
        wants: ["stem_progress", "vram", "source_id"],
        ...lorasToKeep(view.loras, view.knobs),
      };
      socket.send(JSON.stringify(config));
    };
    socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      if (socket !== this.socket) return;
      if (typeof data === "string") this.fromServer(JSON.parse(data) as ServerMessage, track);
      else this.fromServerBinary(data);
    };
    socket.onclose = ({ code, reason }) => {
      if (socket === this.socket) this.closed(code, reason, track);
    };
  }

  private closed(code: number, reason: string, track: string): void {
    this.socket = null;
    this.toWorker({ kind: "heartbeat", every_ms: null });
    this.store.update((view) => ({ connection: step(view.connection, { event: "closed", code, reason }), ready: null, swapping: null }));
    const { connection } = this.store.get();
    if (connection.state === "waiting") {
      this.retry = window.setTimeout(() => {
        this.store.update((view) => ({ connection: step(view.connection, { event: "retry" }) }));
        this.open(this.store.get().playing?.name ?? track);
      }, connection.delayMs);
    } else {
      this.engine.play(false);
      void this.refresh();
    }
  }

  private fromServer(message: ServerMessage, asked: string): void {
    this.order.text(message);
    switch (message.type) {
      case "ready": {
        const { duration, bpm, key, time_signature, session_id, source_id: sourceId = "" } = message;
        this.store.update((view) => ({
          connection: step(view.connection, { event: "ready", sessionId: session_id }),
          ready: message,
          playing: { name: asked, sourceId, duration, bpm, key, timeSignature: time_signature },
          swapping: null,
          loop: null,
          loras: message.lora_catalog,
          stemsLoaded: null,
          paused: false,
        }));
        const { knobs, references } = this.store.get();
        this.pending = { ...knobs };
        this.store.update({ references: OWN });
        for (const again of askAgain(references)) this.send(again);
        this.toWorker({ kind: "heartbeat", every_ms: HEARTBEAT_MS });
        void this.refresh();
        break;
      }
      case "swap_ready": {
        const { fixture_name: name, source_id: sourceId = "", duration, bpm, key, time_signature: timeSignature } = message;
        this.store.update({ playing: { name, sourceId, duration, bpm, key, timeSignature }, swapping: null, loop: null, stemsLoaded: null });
        break;
      }
      case "swap_failed":
        this.store.update({ swapping: null });
        this.notice(message.error);
        break;
      case "stem_assets":
        this.stemSource = message.source_id ?? "";
        this.stemParts = {};
        this.stemState(message.fixture_name, "ready");
        break;
      case "stem_failed":
        this.stemState(message.fixture_name, "failed", 0, 0, message.error);
        break;
      case "stem_progress":
        this.stemState(message.fixture_name, message.state, message.done, message.total);
        break;
      case "lora_catalog":
        this.store.update(({ knobs }) => ({ loras: message.catalog, knobs: withoutGone(knobs, message.catalog) }));
        break;
      case "vram":
        this.store.update({ vram: message });
        break;
      case "prompt_applied":
        this.store.update((view) => ({ prompt: { ...view.prompt, applied: message.tags } }));
        break;
      case "error":
        this.notice(message.message);
        break;
      case "timbre_set":
      case "structure_set":
      case "timbre_cleared":
      case "structure_cleared":
        this.store.update(({ references }) => ({ references: inForce(references, message) }));
        break;
      case "timbre_failed":
      case "structure_failed":
        this.notice(message.error);
        break;
      default:
        break;
    }
  }

  private stemState(track: string, state: "absent" | "queued" | "ripping" | "saving" | "ready" | "failed", done = 0, total = 0, error: string | null = null): void {
    this.store.update((view) => ({ stems: { ...view.stems, [track]: { track, state, done, total, error } } }));
  }

  private fromServerBinary(bytes: ArrayBuffer): void {
    const frame = this.order.binary();
    if (frame.kind === "initial") this.toWorker({ kind: "initial", bytes, channels: frame.channels }, [bytes]);
    else if (frame.kind === "stem") this.toWorker({ kind: "stem", name: frame.name, bytes, channels: frame.channels }, [bytes]);
    else this.toWorker({ kind: "slice", bytes, receivedAt: this.engine.frame() }, [bytes]);
  }

  private fromWorker(answer: WorkerAnswer): void {
    switch (answer.kind) {
      case "buffer":
        this.store.update({ peaks: peaksOf(answer.channels) });
        this.engine.buffer(answer.channels);
        this.engine.play(!this.store.get().paused);
        break;
      case "region": {
        const { start, frames, channels, tickMs, decMs, numGens, receivedAt } = answer;
        const total = (this.store.get().playing?.duration ?? 0) * SAMPLE_RATE;
        const ahead = total ? (((start - receivedAt) % total) + total) % total : 0;
        const late = total > 0 && ahead > total * HALF && ahead + frames < total + frames;
        this.engine.region(start, channels);
        this.store.update(({ figures }) => ({
          figures: { tickMs, decMs, numGens, slices: figures.slices + 1, slicesLate: figures.slicesLate + (late ? 1 : 0) },
        }));
        break;
      }
      case "stem":
        if (answer.name === "vocals") this.stemParts.vocals = answer.channels;
        if (answer.name === "instruments") this.stemParts.instruments = answer.channels;
        this.loadStems();
        break;
      case "beat":
        this.heartbeat();
        break;
      case "bad":
        this.notice(answer.reason);
        break;
    }
  }

  /** Stems of another source than the one that plays are the library's affair. */
  private loadStems(): void {
    const { vocals, instruments } = this.stemParts;
    const { playing } = this.store.get();
    if (!vocals || !instruments || !playing || this.stemSource !== playing.sourceId) return;
    this.stemParts = {};
    this.engine.stems(vocals, instruments);
    this.store.update({ stemsLoaded: playing.name });
  }

  private heartbeat(): void {
    if (this.store.get().connection.state !== "live") return;
    const raw = this.pending;
    this.pending = {};
    this.send({ type: "params", raw, playback_pos: this.playheadSeconds() });
  }

  private send(message: ClientMessage): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  private toWorker(request: WorkerRequest, transfer: Transferable[] = []): void {
    this.worker.postMessage(request, transfer);
  }

  private notice(text: string): void {
    this.notices += 1;
    const id = this.notices;
    this.store.update((view) => ({ notices: [...view.notices.slice(-3), { id, text }] }));
    window.setTimeout(() => this.dismiss(id), 8_000);
  }
}

/** The same for every tab and reload of this browser: that is what keeps uploads with their owner. */
function clientId(): string {
  const known = localStorage.getItem("greenroom-client");
  if (known) return known;
  const fresh = crypto.randomUUID();
  localStorage.setItem("greenroom-client", fresh);
  return fresh;
}
