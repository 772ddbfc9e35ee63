import type { Pod } from "../app/pod";
import { KNOBS } from "../generated/wire";
import type { View } from "../state/store";

const MAIN: Record<string, string> = {
  denoise: "Denoise",
  hint_strength: "Hint strength",
  feedback: "Feedback",
  feedback_depth: "Feedback depth",
  shift: "Shift",
  seed: "Seed",
};
const BANDS = ["ch_g0", "ch_g1", "ch_g2", "ch_g3", "ch_g4", "ch_g5", "ch_g6", "ch_g7"];
/** A slider over all four thousand million seeds could not be set: it reaches a thousand of them, the field beside it all. */
const SEED_SLIDER_MAX = 999;

export function Knobs({ pod, view }: { pod: Pod; view: View }) {
  return (
    <section className="knobs" aria-label="Knobs">
      <div className="main">
        {Object.entries(MAIN).map(([name, label]) => (
          <Knob key={name} pod={pod} view={view} name={name} label={label} />
        ))}
      </div>
      <details>
        <summary>Channel groups</summary>
        <div className="bands">
          {BANDS.map((name, index) => (
            <Knob key={name} pod={pod} view={view} name={name} label={`Group ${index + 1}`} />
          ))}
        </div>
      </details>
    </section>
  );
}

function Knob({ pod, view, name, label }: { pod: Pod; view: View; name: string; label: string }) {
  const knob = KNOBS.find((knob) => knob.name === name);
  if (!knob || (knob.kind !== "number" && knob.kind !== "integer")) return null;
  const value = view.knobs[name] ?? knob.default;
  const max = name === "seed" ? SEED_SLIDER_MAX : knob.max;
  return (
    <label className="knob" onDoubleClick={() => pod.setKnob(name, knob.default)}>
      <span>
        {label}
        {name === "seed" ? (
          <input
            type="number"
            aria-label={label}
            data-testid="field-seed"
            min={knob.min}
            max={knob.max}
            step={1}
            value={value}
            onChange={({ target }) => {
              if (target.value !== "" && target.validity.valid) pod.setKnob(name, target.valueAsNumber);
            }}
          />
        ) : (
          <output>{knob.kind === "integer" ? value : value.toFixed(2)}</output>
        )}
      </span>
      <input
        type="range"
        data-testid={`knob-${name}`}
        min={knob.min}
        max={max}
        step={knob.kind === "integer" ? 1 : 0.01}
        value={Math.min(max, value)}
        onChange={(event) => pod.setKnob(name, event.target.valueAsNumber)}
      />
    </label>
  );
}
