/** Columns of the waveform. */
export const PEAKS = 1_200;

/** The loudest sample of each column. */
export function peaksOf(channels: Float32Array[]): Float32Array {
  const frames = channels[0]?.length ?? 0;
  const peaks = new Float32Array(PEAKS);
  for (let frame = 0; frame < frames; frame += 1) {
    const column = Math.floor((frame * PEAKS) / frames);
    for (const channel of channels) {
      const size = Math.abs(channel[frame] ?? 0);
      if (size > (peaks[column] ?? 0)) peaks[column] = size;
    }
  }
  return peaks;
}
