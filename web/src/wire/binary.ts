import type { ServerMessage } from "../generated/wire";

/** What a binary frame is: the text before it says so. */
export type BinaryFrame = { kind: "initial"; channels: number } | { kind: "stem"; name: string; channels: number } | { kind: "slice" };

/** Follows the texts and tells what each binary frame is. */
export class BinaryOrder {
  private expected: BinaryFrame[] = [];

  text(message: ServerMessage): void {
    if (message.type === "ready" || message.type === "swap_ready") {
      this.expected.push({ kind: "initial", channels: message.channels });
    } else if (message.type === "stem_assets") {
      for (const name of message.stems) this.expected.push({ kind: "stem", name, channels: message.channels });
    }
  }

  binary(): BinaryFrame {
    return this.expected.shift() ?? { kind: "slice" };
  }
}
