import type { Pod } from "../app/pod";
import type { View } from "../state/store";

export function Prompt({ pod, view }: { pod: Pod; view: View }) {
  const { prompt } = view;
  return (
    <form
      className="prompt"
      aria-label="Prompt"
      onSubmit={(event) => {
        event.preventDefault();
        pod.applyPrompt();
      }}
    >
      <label className="wide">
        Prompt
        <input value={prompt.tags} data-testid="prompt" onChange={(event) => pod.setPrompt({ tags: event.target.value })} />
      </label>
      <label className="wide">
        Second prompt
        <input value={prompt.tagsB} placeholder="none" onChange={(event) => pod.setPrompt({ tagsB: event.target.value })} />
      </label>
      <label>
        Blend
        <input type="range" min={0} max={1} step={0.01} value={prompt.blend} onChange={(event) => pod.setBlend(event.target.valueAsNumber)} />
      </label>
      <label>
        Key
        <input value={prompt.key} placeholder={view.playing?.key ?? "as analysed"} onChange={(event) => pod.setPrompt({ key: event.target.value })} />
      </label>
      <label>
        Metre
        <select value={prompt.timeSignature} onChange={(event) => pod.setPrompt({ timeSignature: event.target.value })}>
          {["2", "3", "4", "6"].map((meter) => (
            <option key={meter}>{meter}</option>
          ))}
        </select>
      </label>
      {(["timbre", "structure"] as const).map((kind) => (
        <label key={kind}>
          {kind === "timbre" ? "Timbre of" : "Structure of"}
          <select
            value={view.references[kind] ?? ""}
            data-testid={kind}
            disabled={view.connection.state !== "live"}
            onChange={(event) => pod.borrow(kind, event.target.value || null)}
          >
            <option value="">the source itself</option>
            {view.tracks.map(({ name, origin }) => (
              <option key={`${origin}/${name}`}>{name}</option>
            ))}
          </select>
        </label>
      ))}
      <button type="submit">Apply</button>
      {prompt.applied !== null && (
        <small data-testid="prompt-applied" aria-live="polite">
          in force: {prompt.applied}
        </small>
      )}
    </form>
  );
}
