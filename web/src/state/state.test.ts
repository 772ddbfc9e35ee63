import { expect, test } from "vitest";

import { CLOSE_CODES, type LoraEntry } from "../generated/wire";
import { type Connection, step } from "./connection";
import { lorasToKeep, strengthKnob, withoutGone } from "./loras";
import { OWN, ask, askAgain, inForce } from "./references";
import { gains, initialView } from "./store";

const live: Connection = { state: "live", sessionId: "1" };
const close = (connection: Connection, code: number) => step(connection, { event: "closed", code, reason: "", random: () => 0 });

test("being taken over is final: nothing but the person's own start leaves it", () => {
  const over = close(live, CLOSE_CODES.Preempted.code);
  expect(over.state).toBe("taken_over");
  expect(step(over, { event: "retry" })).toBe(over);
  expect(step(over, { event: "ready", sessionId: "2" })).toBe(over);
  expect(step(over, { event: "stop" })).toBe(over);
  expect(close(over, 1001)).toBe(over);
  expect(step(over, { event: "start" }).state).toBe("connecting");
});

test("a server that goes away is tried again five times and then given up", () => {
  let connection = close(live, 1001);
  for (let attempt = 1; attempt <= 4; attempt += 1) {
    expect(connection.state).toBe("waiting");
    connection = step(connection, { event: "retry" });
    expect(connection).toEqual({ state: "connecting", attempt });
    connection = close(connection, 1006);
  }
  connection = step(connection, { event: "retry" });
  expect(close(connection, 1006).state).toBe("stopped");
});

test("refusals are said and not tried again", () => {
  for (const { code } of [CLOSE_CODES.Refused, CLOSE_CODES.TooLarge, CLOSE_CODES.NoFirstFrame]) {
    expect(close(live, code).state).toBe("stopped");
  }
  expect(close(live, 1000).state).toBe("idle");
});

test("what is borrowed is what the pod says, and is asked for again of the next session", () => {
  expect(ask("timbre", "a.wav")).toEqual({ type: "set_timbre_fixture", name: "a.wav" });
  expect(ask("structure", null)).toEqual({ type: "clear_structure_source" });
  expect(askAgain(OWN)).toEqual([]);
  const timbre = inForce(OWN, { type: "timbre_set", name: "a.wav", duration: 2 });
  expect(timbre).toEqual({ timbre: "a.wav", structure: null });
  const both = inForce(timbre, { type: "structure_set", name: "b.wav", duration: 3 });
  expect(inForce(both, { type: "structure_failed", error: "too short", code: "too_short" })).toEqual(both);
  expect(askAgain(both)).toEqual([ask("timbre", "a.wav"), ask("structure", "b.wav")]);
  expect(inForce(both, { type: "timbre_cleared" })).toEqual({ timbre: null, structure: "b.wav" });
  expect(inForce(both, { type: "structure_cleared" })).toEqual(timbre);
});

test("a solo silences the others, and levels count", () => {
  const { strips } = initialView();
  expect(gains(strips)).toEqual({ live: 1, vocals: 0, instruments: 0 });
  strips.vocals = { level: 0.5, solo: true, mute: true };
  expect(gains(strips)).toEqual({ live: 0, vocals: 0.5, instruments: 0 });
});

test("what is enabled is asked for again, as strong as it was turned", () => {
  const lora = (id: string, state: string) => ({ id, state, strength: 0.7 }) as LoraEntry;
  const loras = [lora("tape", "enabled"), lora("dust", "registered"), lora("bells", "loading"), lora("torn", "failed")];
  expect(lorasToKeep(loras, { [strengthKnob("tape")]: 1.2 })).toEqual({
    enabled_loras: ["tape", "bells"],
    lora_strengths: { tape: 1.2, bells: 0.7 },
  });
  expect(lorasToKeep([lora("dust", "registered")], {})).toEqual({});
});

test("a strength is forgotten with its LoRA, and no other knob", () => {
  const disabled = [{ id: "tape", state: "registered" } as LoraEntry, { id: "dust", state: "enabled" } as LoraEntry];
  const knobs = { denoise: 0.5, [strengthKnob("tape")]: 1.5, [strengthKnob("dust")]: 0.4 };
  expect(withoutGone(knobs, disabled)).toEqual({ denoise: 0.5, [strengthKnob("dust")]: 0.4 });
});
