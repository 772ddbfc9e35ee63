/** Half floats: every one of the 65,536 values is looked up, since a slice holds tens of thousands. */
const TABLE = new Float32Array(65_536);

for (let bits = 0; bits < 65_536; bits += 1) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) TABLE[bits] = sign * fraction * 2 ** -24;
  else if (exponent === 31) TABLE[bits] = fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  else TABLE[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Little-endian halves as floats. */
export function decodeHalves(bytes: Uint8Array): Float32Array {
  const samples = new Float32Array(bytes.byteLength >> 1);
  for (let place = 0; place < samples.length; place += 1) {
    samples[place] = TABLE[(bytes[2 * place] ?? 0) | ((bytes[2 * place + 1] ?? 0) << 8)] ?? 0;
  }
  return samples;
}
