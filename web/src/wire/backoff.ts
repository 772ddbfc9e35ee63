/** Five tries, half a second to four, full jitter: a storm of tabs must not arrive together. */
export const TRIES_MAX = 5;

const FIRST_MS = 500;
const LONGEST_MS = 4_000;

/** How long to wait before the try of that number (0 = the first); null when there is none left. */
export function backoffMs(attempt: number, random: () => number = Math.random): number | null {
  if (attempt >= TRIES_MAX) return null;
  const ceiling = Math.min(LONGEST_MS, FIRST_MS * 2 ** attempt);
  return FIRST_MS + random() * (ceiling - FIRST_MS);
}
