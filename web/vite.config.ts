import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const pod = "http://127.0.0.1:1318";

export default defineConfig({
  plugins: [react()],
  build: { target: "es2022", sourcemap: false, chunkSizeWarningLimit: 800 },
  worker: { format: "es" },
  // `npm run dev` beside a running pod.
  server: {
    proxy: { "/api": pod, "/fixtures": pod, "/user_uploads": pod, "/ws": { target: pod, ws: true } },
  },
});
