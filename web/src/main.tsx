import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { App } from "./app/App";
import { Pod } from "./app/pod";
import "./styles.css";

declare global {
  interface Window {
    /** Read only, for tests. */
    __greenroom?: () => Record<string, unknown>;
  }
}

const pod = new Pod();
window.__greenroom = () => pod.probe();

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <App pod={pod} />
    </StrictMode>,
  );
}
