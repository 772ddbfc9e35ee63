import type { Pod } from "../app/pod";
import type { Stems, StripName, View } from "../state/store";

const STRIPS: { name: StripName; label: string; hint: string }[] = [
  { name: "live", label: "Live", hint: "what the generator makes of the track" },
  { name: "vocals", label: "Vocals", hint: "the singing alone" },
  { name: "instruments", label: "Instruments", hint: "everything but the singing" },
];

export function Strips({ pod, view }: { pod: Pod; view: View }) {
  const loaded = view.playing !== null && view.stemsLoaded === view.playing.name;
  const stems = view.playing ? view.stems[view.playing.name] : undefined;
  return (
    <section className="strips" aria-label="Stems">
      {STRIPS.map(({ name, label, hint }) => {
        const strip = view.strips[name];
        const usable = name === "live" || loaded;
        return (
          <div className={`strip ${usable ? "" : "absent"}`} key={name}>
            <div>
              <strong>{label}</strong>
              <small>{hint}</small>
            </div>
            <input
              type="range"
              min={0}
              max={1.5}
              step={0.01}
              value={strip.level}
              disabled={!usable}
              aria-label={`${label} level`}
              onChange={(event) => pod.setStrip(name, { level: event.target.valueAsNumber })}
            />
            <button
              type="button"
              aria-pressed={strip.solo}
              disabled={!usable}
              data-testid={`solo-${name}`}
              onClick={() => pod.setStrip(name, { solo: !strip.solo })}
            >
              Solo
            </button>
            <button
              type="button"
              aria-pressed={strip.mute}
              disabled={!usable}
              data-testid={`mute-${name}`}
              onClick={() => pod.setStrip(name, { mute: !strip.mute })}
            >
              Mute
            </button>
          </div>
        );
      })}
      {stems && !loaded && <Progress stems={stems} />}
    </section>
  );
}

function Progress({ stems }: { stems: Stems }) {
  const words = {
    absent: "no stems",
    queued: "stems are queued",
    ripping: stems.total ? `making stems: ${stems.done} of ${stems.total}` : "making stems…",
    saving: "saving stems…",
    ready: "stems are ready",
    failed: stems.error ?? "the stems could not be made",
  };
  return (
    <div className="progress" data-testid="stem-progress" aria-live="polite">
      <progress max={stems.total || 1} value={stems.total ? stems.done : undefined} />
      <span>{words[stems.state]}</span>
    </div>
  );
}
