import { useSyncExternalStore } from "react";

import { Knobs } from "../ui/Knobs";
import { Library } from "../ui/Library";
import { Loras } from "../ui/Loras";
import { Prompt } from "../ui/Prompt";
import { Stage } from "../ui/Stage";
import { Strips } from "../ui/Strips";
import { Takeover } from "../ui/Takeover";
import { TopBar } from "../ui/TopBar";
import { Waveform } from "../ui/Waveform";
import type { Pod } from "./pod";

export function App({ pod }: { pod: Pod }) {
  const view = useSyncExternalStore(pod.store.subscribe, pod.store.get);
  return (
    <div className="page">
      <TopBar pod={pod} view={view} />
      <main>
        <section className="desk" aria-label="Player">
          <Waveform pod={pod} view={view} />
          <Strips pod={pod} view={view} />
          <Knobs pod={pod} view={view} />
          <Loras pod={pod} view={view} />
          <Prompt pod={pod} view={view} />
        </section>
        <aside>
          <Library pod={pod} view={view} />
          <Stage view={view} />
        </aside>
      </main>
      <div className="notices" aria-live="polite">
        {view.notices.map((notice) => (
          <button type="button" key={notice.id} onClick={() => pod.dismiss(notice.id)}>
            {notice.text}
          </button>
        ))}
      </div>
      {view.connection.state === "taken_over" && <Takeover onTakeBack={() => void pod.start()} />}
    </div>
  );
}
