import { type PointerEvent, useEffect, useRef } from "react";

import type { Pod } from "../app/pod";
import type { View } from "../state/store";

const COLOURS = { bar: "#3d7d5f", played: "#6ee7a8", band: "rgba(250, 204, 21, 0.16)", head: "#f5f7f6" };

/** The whole source; click to move the playhead, drag to loop a stretch. */
export function Waveform({ pod, view }: { pod: Pod; view: View }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const pressed = useRef<number | null>(null);
  const { peaks, playing, loop } = view;

  useEffect(() => {
    let frame = 0;
    const draw = () => {
      if (canvas.current) paint(canvas.current, peaks, playing?.duration ?? 0, pod.playheadSeconds(), loop);
      frame = requestAnimationFrame(draw);
    };
    draw();
    return () => cancelAnimationFrame(frame);
  }, [pod, peaks, playing, loop]);

  const share = (event: PointerEvent<HTMLCanvasElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };
  const release = (event: PointerEvent<HTMLCanvasElement>) => {
    const from = pressed.current;
    pressed.current = null;
    if (from === null || !playing) return;
    const to = share(event);
    if (Math.abs(to - from) < 0.01) pod.seek(to);
    else pod.setLoop([Math.min(from, to) * playing.duration, Math.max(from, to) * playing.duration]);
  };

  return (
    <figure className="wave">
      <canvas
        ref={canvas}
        aria-label="Waveform: click to move the playhead, drag to loop a stretch"
        onPointerDown={(event) => {
          pressed.current = share(event);
          event.currentTarget.setPointerCapture(event.pointerId);
        }}
        onPointerUp={release}
      />
      {!playing && <figcaption>{view.swapping ? "Getting ready…" : "Drop a song to begin"}</figcaption>}
      {loop && (
        <button type="button" className="unloop" onClick={() => pod.setLoop(null)}>
          Loop {loop[0].toFixed(1)}–{loop[1].toFixed(1)} s ✕
        </button>
      )}
    </figure>
  );
}

function paint(canvas: HTMLCanvasElement, peaks: Float32Array | null, duration: number, seconds: number, loop: [number, number] | null): void {
  const scale = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * scale);
  const height = Math.round(canvas.clientHeight * scale);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  if (!context) return;
  context.clearRect(0, 0, width, height);
  if (!peaks || !duration) return;
  const head = Math.min(1, seconds / duration);
  if (loop) {
    context.fillStyle = COLOURS.band;
    context.fillRect((loop[0] / duration) * width, 0, ((loop[1] - loop[0]) / duration) * width, height);
  }
  const bars = Math.floor(width / (3 * scale));
  for (let bar = 0; bar < bars; bar += 1) {
    const size = Math.max(0.01, peaks[Math.floor((bar * peaks.length) / bars)] ?? 0) * height * 0.46;
    context.fillStyle = bar / bars < head ? COLOURS.played : COLOURS.bar;
    context.fillRect((bar / bars) * width, height / 2 - size, 2 * scale, size * 2);
  }
  context.fillStyle = COLOURS.head;
  context.fillRect(head * width - scale / 2, 0, 1.5 * scale, height);
}
