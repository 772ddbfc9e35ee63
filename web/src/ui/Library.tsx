import { type DragEvent, useRef, useState } from "react";

import type { Pod } from "../app/pod";
import type { View } from "../state/store";

const KINDS = ".mp3,.flac,.ogg,.oga,.m4a,.mp4,.aac,.wav,audio/*";

export function Library({ pod, view }: { pod: Pod; view: View }) {
  const chooser = useRef<HTMLInputElement>(null);
  const [over, setOver] = useState(false);
  const take = (files: FileList | null) => {
    const file = files?.[0];
    if (file) void pod.upload(file);
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer.files);
  };
  return (
    <section className="library" aria-label="Library">
      <button
        type="button"
        className={`drop ${over ? "over" : ""}`}
        onClick={() => chooser.current?.click()}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={drop}
      >
        <strong>Drop a song here</strong>
        <small>or click to choose: mp3, flac, ogg, m4a, wav</small>
      </button>
      <input ref={chooser} type="file" accept={KINDS} hidden data-testid="file" onChange={(event) => take(event.target.files)} />
      {view.upload && (
        <div className="uploading" data-testid="upload" aria-live="polite">
          <progress max={1} value={view.upload.sent} />
          <span className={view.upload.error ? "error" : ""}>
            {view.upload.error ?? (view.upload.sent < 1 ? `sending ${view.upload.name}` : `listening to ${view.upload.name}`)}
          </span>
        </div>
      )}
      <h2>Tracks</h2>
      <ul data-testid="tracks">
        {view.tracks.map(({ name, origin }) => {
          const stems = view.stems[name];
          return (
            <li key={`${origin}/${name}`}>
              <button type="button" aria-current={view.playing?.name === name} onClick={() => void pod.play(name)}>
                <span>{name}</span>
                <small>{view.swapping === name ? "getting ready…" : stems && stems.state !== "ready" ? `stems ${stems.state}` : origin}</small>
              </button>
            </li>
          );
        })}
        {view.tracks.length === 0 && <li className="empty">nothing here yet</li>}
      </ul>
    </section>
  );
}
