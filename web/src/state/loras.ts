import type { LoraEntry, SessionConfig } from "../generated/wire";

export const STRENGTH_MAX = 2;

/** The knob that an enabled LoRA's strength is turned by. */
export const strengthKnob = (id: string): string => `lora_str_${id}`;

/** What the next session has to begin with, so that a reload of the socket sounds as before. */
export function lorasToKeep(loras: LoraEntry[], knobs: Record<string, number>): Pick<SessionConfig, "enabled_loras" | "lora_strengths"> {
  const kept = loras.filter(({ state }) => state === "enabled" || state === "loading");
  if (kept.length === 0) return {};
  return {
    enabled_loras: kept.map(({ id }) => id),
    lora_strengths: Object.fromEntries(kept.map(({ id, strength }) => [id, knobs[strengthKnob(id)] ?? strength])),
  };
}

/** Knobs without those of LoRAs that are no longer enabled: one that is enabled anew has the strength that the pod says. */
export function withoutGone(knobs: Record<string, number>, loras: LoraEntry[]): Record<string, number> {
  const gone = new Set(loras.filter(({ state }) => state !== "enabled").map(({ id }) => strengthKnob(id)));
  return Object.fromEntries(Object.entries(knobs).filter(([name]) => !gone.has(name)));
}
