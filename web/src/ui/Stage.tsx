import type { View } from "../state/store";

/** Who is on the device, and who waits in system RAM. */
export function Stage({ view }: { view: View }) {
  const { vram, figures } = view;
  return (
    <section className="stage" aria-label="Stage">
      <h2>On stage</h2>
      {vram ? (
        <>
          <ul data-testid="stage">
            {vram.groups.map(({ name, state, bytes }) => (
              <li key={name} className={state}>
                <span>{name.replace("_", " ")}</span>
                <small>{megabytes(bytes)}</small>
                <b>{state}</b>
              </li>
            ))}
            {vram.engines?.map(({ component, name, bytes }) => (
              <li key={`engine ${name}`} className="resident" title={name}>
                <span>{component.replace("_", " ")} engine</span>
                <small>{megabytes(bytes)}</small>
                <b>loaded</b>
              </li>
            ))}
          </ul>
          <p>
            {megabytes(vram.resident_bytes + vram.workspace_bytes)} of {megabytes(vram.budget_bytes)} in use
          </p>
        </>
      ) : (
        <p>Connect to see who is on the device.</p>
      )}
      <p className="figures">
        {figures.slices} slices, {figures.slicesLate} late · tick {figures.tickMs.toFixed(1)} ms · decode {figures.decMs.toFixed(1)} ms
      </p>
    </section>
  );
}

function megabytes(bytes: number): string {
  return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${Math.round(bytes / 2 ** 20)} MiB`;
}
