/** What the page tells the player, and what the player tells the page. */
export type PlayerRequest =
  | { kind: "buffer"; channels: Float32Array[]; crossfade: number }
  | { kind: "region"; start: number; channels: Float32Array[] }
  | { kind: "stems"; vocals: Float32Array[]; instruments: Float32Array[] }
  | { kind: "no_stems" }
  | { kind: "gains"; live: number; vocals: number; instruments: number }
  | { kind: "playing"; playing: boolean }
  | { kind: "seek"; frame: number }
  | { kind: "loop"; band: [number, number] | null };

export type PlayerReport = { frame: number; peak: number; rms: number; blocks: number; silentBlocks: number };
