// The real program, on a free port, with a data directory of its own.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

export async function startPod(...options) {
  const data = mkdtempSync(join(tmpdir(), "greenroom-browser-"));
  const program = process.env.GREENROOM_PROGRAM ?? join(root, "target/debug/greenroom");
  const pod = spawn(program, ["serve", "--port", "0", "--data-dir", data, "--web-dir", join(root, "web/dist"), ...options]);
  let log = "";
  pod.stderr.on("data", (chunk) => (log += chunk));
  const address = await new Promise((resolve, reject) => {
    pod.stdout.on("data", (chunk) => {
      const found = /http:\/\/\S+/.exec(String(chunk));
      if (found) resolve(found[0]);
    });
    pod.on("exit", (code) => reject(new Error(`the pod ended with ${code}: ${log}`)));
  });
  return {
    address,
    log: () => log,
    stop: async () => {
      pod.removeAllListeners("exit");
      const ended = new Promise((resolve) => pod.on("exit", resolve));
      pod.kill("SIGTERM");
      const code = await ended;
      rmSync(data, { recursive: true, force: true });
      return code;
    },
  };
}
