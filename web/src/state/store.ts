import type { LoraEntry, Ready, StemState, Vram } from "../generated/wire";
import { KNOBS } from "../generated/wire";
import type { Connection } from "./connection";
import { OWN, type References } from "./references";

export type StemName = "vocals" | "instruments";
export type StripName = "live" | StemName;
export type Strip = { level: number; solo: boolean; mute: boolean };

export type Track = { name: string; origin: "upload" | "fixture" };

export type Stems = { track: string; state: StemState; done: number; total: number; error: string | null };

export type Upload = { name: string; sent: number; error: string | null } | null;

export type Playing = {
  name: string;
  /** What tells it from another source of that name. */
  sourceId: string;
  duration: number;
  bpm: number;
  key: string;
  timeSignature: string;
};

export type Figures = { tickMs: number; decMs: number; numGens: number; slices: number; slicesLate: number };

/** Everything that the page shows. */
export type View = {
  connection: Connection;
  ready: Ready | null;
  playing: Playing | null;
  peaks: Float32Array | null;
  paused: boolean;
  tracks: Track[];
  upload: Upload;
  stems: Record<string, Stems>;
  stemsLoaded: string | null;
  strips: Record<StripName, Strip>;
  knobs: Record<string, number>;
  prompt: { tags: string; tagsB: string; key: string; timeSignature: string; blend: number; applied: string | null };
  references: References;
  loop: [number, number] | null;
  loras: LoraEntry[];
  vram: Vram | null;
  figures: Figures;
  notices: { id: number; text: string }[];
  swapping: string | null;
};

const strip = (mute: boolean): Strip => ({ level: 1, solo: false, mute });

export function initialView(): View {
  return {
    connection: { state: "idle" },
    ready: null,
    playing: null,
    peaks: null,
    paused: false,
    tracks: [],
    upload: null,
    stems: {},
    stemsLoaded: null,
    strips: { live: strip(false), vocals: strip(true), instruments: strip(true) },
    knobs: Object.fromEntries(KNOBS.flatMap((knob) => (knob.kind === "number" || knob.kind === "integer" ? [[knob.name, knob.default]] : []))),
    prompt: { tags: "instrumental music", tagsB: "", key: "", timeSignature: "4", blend: 0, applied: null },
    references: OWN,
    loop: null,
    loras: [],
    vram: null,
    figures: { tickMs: 0, decMs: 0, numGens: 0, slices: 0, slicesLate: 0 },
    notices: [],
    swapping: null,
  };
}

/** What each strip contributes: a solo silences those without one. */
export function gains(strips: Record<StripName, Strip>): Record<StripName, number> {
  const soloed = Object.values(strips).some((strip) => strip.solo);
  const gain = (strip: Strip): number => (soloed ? (strip.solo ? strip.level : 0) : strip.mute ? 0 : strip.level);
  return { live: gain(strips.live), vocals: gain(strips.vocals), instruments: gain(strips.instruments) };
}

/** A store that React can subscribe to. */
export class Store {
  private view = initialView();
  private readonly listeners = new Set<() => void>();

  readonly get = (): View => this.view;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  update(change: Partial<View> | ((view: View) => Partial<View>)): void {
    this.view = { ...this.view, ...(typeof change === "function" ? change(this.view) : change) };
    for (const listener of this.listeners) listener();
  }
}
