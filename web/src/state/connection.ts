import { CLOSE_CODES } from "../generated/wire";
import { backoffMs } from "../wire/backoff";

/** Where the connection is. Data that belongs to a state lives in it. */
export type Connection =
  | { state: "idle" }
  | { state: "connecting"; attempt: number }
  | { state: "live"; sessionId: string }
  | { state: "waiting"; attempt: number; delayMs: number; reason: string }
  | { state: "taken_over" }
  | { state: "stopped"; reason: string };

export type ConnectionEvent =
  | { event: "start" }
  | { event: "ready"; sessionId: string }
  | { event: "closed"; code: number; reason: string; random?: () => number }
  | { event: "retry" }
  | { event: "stop" };

/** One step; an event that means nothing in a state changes nothing. */
export function step(connection: Connection, event: ConnectionEvent): Connection {
  switch (event.event) {
    case "start":
      return { state: "connecting", attempt: 0 };
    case "ready":
      return connection.state === "connecting" ? { state: "live", sessionId: event.sessionId } : connection;
    case "retry":
      return connection.state === "waiting" ? { state: "connecting", attempt: connection.attempt + 1 } : connection;
    case "stop":
      // Being taken over is final until the person takes the pod back.
      return connection.state === "taken_over" ? connection : { state: "idle" };
    case "closed":
      return closed(connection, event.code, event.reason, event.random);
  }
}

function closed(connection: Connection, code: number, reason: string, random?: () => number): Connection {
  if (connection.state !== "connecting" && connection.state !== "live") return connection;
  if (code === CLOSE_CODES.Preempted.code) return { state: "taken_over" };
  const known = Object.values(CLOSE_CODES).find((entry) => entry.code === code);
  const words = reason || known?.reason || "the connection broke";
  if (known?.reaction === "stop") return { state: "idle" };
  if (known?.reaction === "stop_and_say") return { state: "stopped", reason: words };
  const attempt = connection.state === "connecting" ? connection.attempt : 0;
  const delayMs = backoffMs(attempt, random);
  return delayMs === null ? { state: "stopped", reason: words } : { state: "waiting", attempt, delayMs, reason: words };
}
