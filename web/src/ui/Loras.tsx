import type { Pod } from "../app/pod";
import type { LoraEntry } from "../generated/wire";
import { STRENGTH_MAX, strengthKnob } from "../state/loras";
import type { View } from "../state/store";

/** Styles that a pod has beside its model. Where it has none, nothing is shown. */
export function Loras({ pod, view }: { pod: Pod; view: View }) {
  if (view.loras.length === 0) return null;
  return (
    <section className="loras" aria-label="LoRAs">
      {view.loras.map((lora) => (
        <Lora key={lora.id} pod={pod} view={view} lora={lora} />
      ))}
    </section>
  );
}

function Lora({ pod, view, lora }: { pod: Pod; view: View; lora: LoraEntry }) {
  const live = view.connection.state === "live";
  const enabled = lora.state === "enabled";
  const strength = view.knobs[strengthKnob(lora.id)] ?? lora.strength;
  const words = lora.metadata.trigger_words.join(", ");
  return (
    <div className="lora" data-testid={`lora-${lora.id}`}>
      <label title={lora.error ?? lora.metadata.description}>
        <input
          type="checkbox"
          checked={enabled || lora.state === "loading"}
          disabled={!live || lora.state === "failed" || lora.state === "loading"}
          onChange={({ target }) => pod.setLora(lora.id, target.checked)}
        />
        {lora.name}
      </label>
      <small>{lora.error ?? (lora.state === "loading" ? "loading…" : words && `say: ${words}`)}</small>
      <input
        type="range"
        min={0}
        max={STRENGTH_MAX}
        step={0.05}
        value={strength}
        disabled={!live || !enabled}
        aria-label={`${lora.name} strength`}
        onChange={({ target }) => pod.setKnob(strengthKnob(lora.id), target.valueAsNumber)}
      />
      <output>{strength.toFixed(2)}</output>
    </div>
  );
}
