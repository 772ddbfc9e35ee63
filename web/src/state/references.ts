import type { ClientMessage, ServerMessage } from "../generated/wire";

/** What a session can borrow of another track. */
export type ReferenceKind = "timbre" | "structure";

/** Whose are in force, by the pod's word; null for the source's own. */
export type References = Record<ReferenceKind, string | null>;

export const OWN: References = { timbre: null, structure: null };

/** Asks for a track's, or for the source's own again. */
export function ask(kind: ReferenceKind, name: string | null): ClientMessage {
  return name === null ? { type: `clear_${kind}_source` } : { type: `set_${kind}_fixture`, name };
}

/** A new session begins with its source's own: what was in force before is asked for again. */
export function askAgain(references: References): ClientMessage[] {
  return (["timbre", "structure"] as const).flatMap((kind) => (references[kind] === null ? [] : [ask(kind, references[kind])]));
}

/** What is in force after the pod said this. */
export function inForce(references: References, message: ServerMessage): References {
  switch (message.type) {
    case "timbre_set":
      return { ...references, timbre: message.name };
    case "structure_set":
      return { ...references, structure: message.name };
    case "timbre_cleared":
      return { ...references, timbre: null };
    case "structure_cleared":
      return { ...references, structure: null };
    default:
      return references;
  }
}
