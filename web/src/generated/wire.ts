// Generated from the Rust types of the wire: `cargo xtask types` writes it, the tests say when it is stale.

export const SAMPLE_RATE = 48000;
export const POOL_FRAMES = 9600;
export const CROSSFADE_SLICE_MS = 25;
export const CROSSFADE_SWAP_MS = 50;
export const SLICE_HEADER_BYTES = 23;
export const SLICE_RAW = 0;
export const SLICE_DELTA = 1;
export const PCM_HEADER_BYTES = 8;
export const FRAME_BYTES_MAX = 268435456;
export const SOURCE_SECONDS_MAX = 240;

export type Reaction = "stop" | "stop_and_say" | "reconnect";

export const CLOSE_CODES = {
  Done: { code: 1000, reaction: "stop", reason: "done" },
  GoingAway: { code: 1001, reaction: "reconnect", reason: "the server is shutting down" },
  Refused: { code: 1008, reaction: "stop_and_say", reason: "not authorised, or this origin is not allowed" },
  TooLarge: { code: 1009, reaction: "stop_and_say", reason: "a frame is larger than the limit" },
  Broken: { code: 1011, reaction: "reconnect", reason: "the session could not start or broke" },
  Preempted: { code: 4001, reaction: "stop_and_say", reason: "another connection took over this pod" },
  Stalled: { code: 4002, reaction: "reconnect", reason: "nothing was acknowledged for too long" },
  NoFirstFrame: { code: 4003, reaction: "stop_and_say", reason: "no valid first frame in time" },
} as const satisfies Record<string, { code: number; reaction: Reaction; reason: string }>;

export type Knob = { name: string; effect: "next_slot" | "next_tick" | "rebuilds_ring" } & (
  | { kind: "number" | "integer"; min: number; max: number; default: number }
  | { kind: "choice"; words: readonly string[]; default: string }
  | { kind: "switch"; default: boolean }
  | { kind: "curve" }
);

export const KNOBS: readonly Knob[] = [
  { name: "denoise", effect: "next_slot", kind: "number", min: 0, max: 1, default: 0 },
  { name: "sde_amp", effect: "next_slot", kind: "number", min: 0, max: 1, default: 0 },
  { name: "seed", effect: "next_slot", kind: "integer", min: 0, max: 4294967295, default: 0 },
  { name: "feedback", effect: "next_slot", kind: "number", min: 0, max: 1, default: 0 },
  { name: "feedback_depth", effect: "next_slot", kind: "integer", min: 1, max: 8, default: 1 },
  { name: "shift", effect: "next_slot", kind: "number", min: 1, max: 6, default: 3.5 },
  { name: "periodicity", effect: "next_tick", kind: "number", min: 0, max: 12.5, default: 0 },
  { name: "hint_strength", effect: "next_slot", kind: "number", min: 0, max: 1, default: 1 },
  { name: "x0_target", effect: "next_tick", kind: "number", min: 0, max: 1, default: 0 },
  { name: "steps_override", effect: "rebuilds_ring", kind: "integer", min: 1, max: 16, default: 8 },
  { name: "rcfg_mode", effect: "next_slot", kind: "choice", words: ["off", "initialize", "self", "full"], default: "off" },
  { name: "guidance_scale", effect: "next_slot", kind: "number", min: 0, max: 15, default: 1 },
  { name: "cfg_rescale", effect: "next_tick", kind: "number", min: 0, max: 1, default: 0 },
  { name: "ch_g0", effect: "next_tick", kind: "number", min: 0, max: 3, default: 1 },
  { name: "ch_g1", effect: "next_tick", kind: "number", min: 0, max: 3, default: 1 },
  { name: "ch_g2", effect: "next_tick", kind: "number", min: 0, max: 3, default: 1 },
  { name: "ch_g3", effect: "next_tick", kind: "number", min: 0, max: 3, default: 1 },
  { name: "ch_g4", effect: "next_tick", kind: "number", min: 0, max: 3, default: 1 },
  { name: "ch_g5", effect: "next_tick", kind: "number", min: 0, max: 3, default: 1 },
  { name: "ch_g6", effect: "next_tick", kind: "number", min: 0, max: 3, default: 1 },
  { name: "ch_g7", effect: "next_tick", kind: "number", min: 0, max: 3, default: 1 },
  { name: "ch13", effect: "next_tick", kind: "number", min: 0, max: 3, default: 1 },
  { name: "ch14", effect: "next_tick", kind: "number", min: 0, max: 3, default: 1 },
  { name: "ch19", effect: "next_tick", kind: "number", min: 0, max: 3, default: 1 },
  { name: "ch23", effect: "next_tick", kind: "number", min: 0, max: 3, default: 1 },
  { name: "ch29", effect: "next_tick", kind: "number", min: 0, max: 3, default: 1 },
  { name: "ch56", effect: "next_tick", kind: "number", min: 0, max: 3, default: 1 },
  { name: "dcw_enabled", effect: "next_tick", kind: "switch", default: true },
  { name: "dcw_mode", effect: "next_tick", kind: "choice", words: ["low", "high", "double", "pix"], default: "double" },
  { name: "dcw_wavelet", effect: "next_tick", kind: "choice", words: ["haar", "db4", "sym8", "db8"], default: "haar" },
  { name: "dcw_scaler", effect: "next_tick", kind: "number", min: 0, max: 0.5, default: 0.05 },
  { name: "dcw_high_scaler", effect: "next_tick", kind: "number", min: 0, max: 0.5, default: 0.02 },
  { name: "dcw_mult_blend", effect: "next_tick", kind: "number", min: 0, max: 1, default: 0 },
  { name: "dcw_mag_phase", effect: "next_tick", kind: "number", min: 0, max: 1, default: 0 },
  { name: "dcw_soft_thresh", effect: "next_tick", kind: "number", min: 0, max: 0.3, default: 0 },
  { name: "sde_denoise_curve", effect: "next_tick", kind: "curve" },
  { name: "velocity_scale_curve", effect: "next_tick", kind: "curve" },
  { name: "x0_target_curve", effect: "next_slot", kind: "curve" },
  { name: "initial_noise_curve", effect: "next_slot", kind: "curve" },
];

export type ErrorCode = "unsupported_trt_checkpoint" | "engine_not_built" | "stem_extract_failed" | "bad_audio" | "too_long" | "too_short" | "out_of_memory" | "busy" | "disk_full" | "device_lost" | "superseded" | "internal";

export type StemSourceMode = "full" | "vocals" | "instruments";

export type StemState = "absent" | "queued" | "ripping" | "saving" | "ready" | "failed";

export type UploadHeader = { 
/**
 * The file's name.
 */
name: string, 
/**
 * Its musical key, if the client knows better than the analysis.
 */
key?: string, 
/**
 * `2`, `3`, `4` or `6`.
 */
time_signature?: string, };

export type UploadOk = { 
/**
 * Its name in the library.
 */
name: string, 
/**
 * Beats a minute.
 */
bpm: number, 
/**
 * Musical key.
 */
key: string, 
/**
 * `2`, `3`, `4` or `6`.
 */
time_signature: string, 
/**
 * Seconds, after trimming.
 */
duration_s: number, 
/**
 * Frames per channel, after trimming.
 */
samples: number, 
/**
 * Whether stems follow.
 */
stems_pending: boolean, };

export type Ready = { 
/**
 * Seconds.
 */
duration: number, 
/**
 * Hertz.
 */
sample_rate: number, 
/**
 * Samples a frame.
 */
channels: number, 
/**
 * Where LoRAs are read from.
 */
lora_dir: string | null, 
/**
 * All of them.
 */
lora_catalog: Array<LoraEntry>, 
/**
 * Those that are being enabled.
 */
lora_pending_enable: Array<string>, 
/**
 * Beats a minute.
 */
bpm: number, 
/**
 * Musical key.
 */
key: string, 
/**
 * `2`, `3`, `4` or `6`.
 */
time_signature: string, 
/**
 * What generates.
 */
checkpoint: string, 
/**
 * Its size: `2B`, `5B`, or null.
 */
checkpoint_scale: string | null, 
/**
 * Slots in flight.
 */
pipeline_depth: number, 
/**
 * Most slots in flight.
 */
max_pipeline_depth: number, 
/**
 * This session.
 */
session_id: string, 
/**
 * What plays, whatever it is called: what is said of its stems says the same. Only to clients that want it.
 */
source_id?: string, };

export type VramEngine = { 
/**
 * `decoder`, `vae_encode`, `vae_decode`.
 */
component: string, 
/**
 * Its name.
 */
name: string, 
/**
 * Bytes of weights and workspace.
 */
bytes: number, };

export type VramGroup = { 
/**
 * Its name.
 */
name: string, 
/**
 * `parked`, `restoring`, `resident`, `parking`.
 */
state: string, 
/**
 * Bytes of weights.
 */
bytes: number, };

export type Vram = { 
/**
 * The last step of the placement: `before`, `parked`, `loaded`, `separated`, `released`, `restored`.
 */
phase: string, 
/**
 * Every weight group.
 */
groups: Array<VramGroup>, 
/**
 * The compiled engines on the device, at most one a component but for a moment; their bytes are among those of workspaces.
 */
engines?: Array<VramEngine>, 
/**
 * Bytes that residents and workspaces may fill.
 */
budget_bytes: number, 
/**
 * Bytes of workspaces.
 */
workspace_bytes: number, 
/**
 * Bytes of resident weights.
 */
resident_bytes: number, };

export type LoraMetadata = { 
/**
 * Its id.
 */
id: string, 
/**
 * Its name.
 */
name: string, 
/**
 * For a person.
 */
description: string, 
/**
 * The word that calls it up.
 */
primary_trigger_word: string, 
/**
 * All such words.
 */
trigger_words: Array<string>, 
/**
 * How strong it is meant to be.
 */
recommended_strength: number | null, 
/**
 * Steps it is meant for.
 */
recommended_steps: number | null, 
/**
 * Shift it is meant for.
 */
recommended_shift: number | null, 
/**
 * Guidance it is meant for.
 */
recommended_guidance: number | null, 
/**
 * Its genre.
 */
primary_genre: string, 
/**
 * Other genres.
 */
secondary_genres: Array<string>, 
/**
 * Tags.
 */
tags: Array<string>, 
/**
 * Moods.
 */
moods: Array<string>, 
/**
 * The model it was made for.
 */
base_model: string, 
/**
 * That model's size: `2B`, `5B`, or null.
 */
base_model_scale: string | null, 
/**
 * Whether the file says anything.
 */
has_metadata: boolean, };

export type LoraEntry = { 
/**
 * Its id.
 */
id: string, 
/**
 * Its name.
 */
name: string, 
/**
 * Its file.
 */
path: string, 
/**
 * `registered`, `loading`, `enabled`, `failed`.
 */
state: string, 
/**
 * How strong, 0..2; of one that is not enabled, how strong it would be.
 */
strength: number, 
/**
 * Bytes on the device.
 */
materialized_bytes: number, 
/**
 * Why it cannot be used, where its state is `failed`.
 */
error?: string, 
/**
 * What its file says of it.
 */
metadata: LoraMetadata, };

export type Loras = { 
/**
 * Where they are read from.
 */
dir: string | null, 
/**
 * Where else.
 */
extra_dirs: Array<string>, 
/**
 * What they are for.
 */
checkpoint: string, 
/**
 * Its size.
 */
checkpoint_scale: string | null, 
/**
 * All of them.
 */
loras: Array<LoraEntry>, };

export type EngineEntry = { 
/**
 * Its name.
 */
name: string, 
/**
 * `decoder`, `vae_encode`, `vae_decode`; null where its file does not say.
 */
component: string | null, 
/**
 * `offered`, `loaded`, `unfit`, `graph`.
 */
state: string, 
/**
 * Bytes on the device: of one that is not loaded, those that it would take.
 */
bytes: number, 
/**
 * Why it is not used, where its state is `unfit`.
 */
error?: string, };

export type EngineList = { 
/**
 * All that are known.
 */
engines: Array<EngineEntry>, };

export type ServerInfo = { 
/**
 * Whether there is no generator.
 */
no_backend: boolean, 
/**
 * Whether the page hides what a visitor must not touch.
 */
kiosk: boolean, 
/**
 * The mode that the page starts in.
 */
default_mode: string | null, 
/**
 * `{"state": "loading"}` while boot or weights on their way in keep `/readyz` from saying yes; null once they do not.
 */
warmup: Record<string, unknown> | null, 
/**
 * Names of the server's own tracks.
 */
server_side_fixtures: Array<string>, };

export type TrackState = { 
/**
 * Its name.
 */
name: string, 
/**
 * Beats a minute.
 */
bpm: number, 
/**
 * Musical key.
 */
key: string, 
/**
 * `2`, `3`, `4` or `6`.
 */
time_signature: string, 
/**
 * Seconds.
 */
duration_s: number, 
/**
 * Frames per channel.
 */
samples: number, 
/**
 * What its stems are doing.
 */
stems: StemState, 
/**
 * Chunks done.
 */
stems_done: number, 
/**
 * Chunks in all; 0 while unknown.
 */
stems_total: number, };

export type HttpError = { 
/**
 * For a person.
 */
error: string, 
/**
 * For a program.
 */
code: ErrorCode, };

export type ServerMessage = { "type": "ready" } & Ready | { "type": "error", 
/**
 * For a program.
 */
code: ErrorCode, 
/**
 * For a person.
 */
message: string, 
/**
 * How to build the engine that is missing.
 */
build_command?: string, 
/**
 * Length of the source that no engine covers, in seconds.
 */
duration_s?: number, } | { "type": "params_update", 
/**
 * By their names.
 */
params: Record<string, number | string>, } | { "type": "swap_ready", 
/**
 * Seconds.
 */
duration: number, 
/**
 * Hertz.
 */
sample_rate: number, 
/**
 * Samples a frame.
 */
channels: number, 
/**
 * Beats a minute.
 */
bpm: number, 
/**
 * Musical key.
 */
key: string, 
/**
 * `2`, `3`, `4` or `6`.
 */
time_signature: string, 
/**
 * The source's name; empty for audio that the client sent without one.
 */
fixture_name: string, 
/**
 * The source, whatever it is called: what is said of its stems says the same. Only to clients that want it.
 */
source_id?: string, } | { "type": "swap_failed", 
/**
 * For a person.
 */
error: string, 
/**
 * For a program.
 */
code: ErrorCode, 
/**
 * How to build the engine that is missing.
 */
build_command?: string, } | { "type": "stem_assets", 
/**
 * Whose stems; empty for audio that the client sent without a name.
 */
fixture_name: string, 
/**
 * Whose stems, as `ready` or `swap_ready` said it. Only to clients that want it.
 */
source_id?: string, 
/**
 * Hertz.
 */
sample_rate: number, 
/**
 * Samples a frame.
 */
channels: number, 
/**
 * Frames per channel.
 */
frames: number, 
/**
 * Their names, in order.
 */
stems: Array<string>, 
/**
 * Empty for a late push (overlay only: never a mode change), else the mode that plays.
 */
source_mode: string, } | { "type": "stem_failed", 
/**
 * Whose stems; empty for audio that the client sent without a name.
 */
fixture_name: string, 
/**
 * Whose stems, as `ready` or `swap_ready` said it. Only to clients that want it.
 */
source_id?: string, 
/**
 * For a person.
 */
error: string, 
/**
 * For a program.
 */
code: ErrorCode, } | { "type": "stem_progress", 
/**
 * Whose stems; empty for audio that the client sent without a name.
 */
fixture_name: string, 
/**
 * Whose stems, as `ready` or `swap_ready` said it. Only to clients that want it.
 */
source_id?: string, 
/**
 * Chunks done.
 */
done: number, 
/**
 * Chunks in all; 0 while unknown.
 */
total: number, 
/**
 * What they are doing.
 */
state: StemState, } | { "type": "vram" } & Vram | { "type": "params_echo", 
/**
 * By their names.
 */
raw: Record<string, number | string | boolean>, } | { "type": "prompt_blend_echo", 
/**
 * 0 (A) to 1 (B).
 */
value: number, } | { "type": "prompt_applied", 
/**
 * Its tags.
 */
tags: string, } | { "type": "depth_applied", 
/**
 * Slots in flight.
 */
value: number, } | { "type": "lora_catalog", 
/**
 * All of them.
 */
catalog: Array<LoraEntry>, } | { "type": "timbre_set", 
/**
 * Its name.
 */
name: string, 
/**
 * Seconds.
 */
duration: number, } | { "type": "timbre_cleared" } | { "type": "timbre_failed", 
/**
 * For a person.
 */
error: string, 
/**
 * For a program.
 */
code: ErrorCode, } | { "type": "structure_set", 
/**
 * Its name.
 */
name: string, 
/**
 * Seconds.
 */
duration: number, } | { "type": "structure_cleared" } | { "type": "structure_failed", 
/**
 * For a person.
 */
error: string, 
/**
 * For a program.
 */
code: ErrorCode, } | { "type": "upload_ok" } & UploadOk | { "type": "upload_failed", 
/**
 * For a person.
 */
error: string, 
/**
 * For a program.
 */
code: ErrorCode, };

export type Curve = { type: "constant"; value: number } | { type: "raw"; values: number[] };

export type KnobInput = number | string | boolean | Curve;

/** The first frame of a session; every field is optional. */
export type SessionConfig = {
  sde?: boolean; depth?: number; steps?: number; walk_window?: boolean; walk_window_s?: number; key?: string;
  time_signature?: string; enabled_loras?: string[];
  lora_strengths?: Record<string, number>; prompt?: string; prompt_b?: string; fixture_name?: string;
  use_server_fixture?: boolean; stem_source_mode?: StemSourceMode; client_id?: string; wants?: string[];
};

export type ClientMessage =
  | { type: "params"; raw: Record<string, KnobInput>; playback_pos: number }
  | { type: "loop_band"; start_sec: number | null; end_sec: number | null }
  | { type: "prompt"; tags: string; tags_b?: string; key?: string; time_signature?: string }
  | { type: "set_prompt_blend"; value: number }
  | { type: "set_depth"; value: number }
  | { type: "enable_lora"; id: string; strength?: number }
  | { type: "disable_lora"; id: string }
  | { type: "set_timbre_strength"; value: number }
  | { type: "set_timbre_source" | "set_structure_source"; name: string }
  | { type: "set_timbre_fixture" | "set_structure_fixture"; name: string }
  | { type: "clear_timbre_source" | "clear_structure_source" }
  | { type: "swap_source"; tags?: string; key?: string; time_signature?: string; fixture_name?: string;
      stem_source_mode?: StemSourceMode; use_server_source?: boolean };
