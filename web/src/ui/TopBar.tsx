import type { Pod } from "../app/pod";
import type { Connection } from "../state/connection";
import type { View } from "../state/store";

export function TopBar({ pod, view }: { pod: Pod; view: View }) {
  const { connection, playing, ready } = view;
  const running = connection.state === "live" || connection.state === "connecting" || connection.state === "waiting";
  return (
    <header className="top">
      <h1>
        <svg viewBox="0 0 32 32" aria-hidden="true">
          <path d="M6 18v-4M11 22V10M16 25V7M21 21V11M26 17v-2" />
        </svg>
        greenroom
      </h1>
      <p className={`state ${connection.state}`} data-testid="connection" aria-live="polite">
        <i aria-hidden="true" />
        {describe(connection)}
      </p>
      {playing && (
        <dl className="facts">
          <div className="title">
            <dt>Playing</dt>
            <dd data-testid="playing">{playing.name}</dd>
          </div>
          <div>
            <dt>Tempo</dt>
            <dd data-testid="bpm">{playing.bpm} BPM</dd>
          </div>
          <div>
            <dt>Key</dt>
            <dd data-testid="key">{playing.key}</dd>
          </div>
          <div>
            <dt>Generator</dt>
            <dd>{ready?.checkpoint ?? "–"}</dd>
          </div>
        </dl>
      )}
      <div className="transport">
        {connection.state === "live" && (
          <button type="button" onClick={() => pod.pause(!view.paused)} data-testid="pause">
            {view.paused ? "Resume" : "Pause"}
          </button>
        )}
        {running ? (
          <button type="button" onClick={() => pod.stop()} data-testid="stop">
            Stop
          </button>
        ) : (
          <button type="button" className="primary" onClick={() => void pod.start()} data-testid="start" disabled={view.tracks.length === 0}>
            Start
          </button>
        )}
      </div>
    </header>
  );
}

function describe(connection: Connection): string {
  switch (connection.state) {
    case "idle":
      return "not connected";
    case "connecting":
      return "connecting…";
    case "live":
      return "live";
    case "waiting":
      return `${connection.reason}; trying again in ${(connection.delayMs / 1000).toFixed(1)} s`;
    case "taken_over":
      return "another connection took over this pod";
    case "stopped":
      return connection.reason;
  }
}
