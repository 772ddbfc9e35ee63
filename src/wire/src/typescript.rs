//! The client's types and constants, generated from those here, so that the two cannot drift apart.

use ts_rs::{Config, TS};

use crate::{
    CloseCode, ErrorCode, Reaction, ServerMessage, StemSourceMode, StemState, UploadHeader, UploadOk, Vram, VramEngine,
    VramGroup, constants, http,
    knobs::{Effect, KNOBS, Kind, Knob},
    server_message::Ready,
};

/// What a client may send: the reading side of these is [`ClientMessage`](crate::ClientMessage), whose test reads an example of each.
const CLIENT_MESSAGES: &str = r#"export type Curve = { type: "constant"; value: number } | { type: "raw"; values: number[] };

export type KnobInput = number | string | boolean | Curve;

/** The first frame of a session; every field is optional. */
export type SessionConfig = {
  sde?: boolean; depth?: number; steps?: number; walk_window?: boolean; walk_window_s?: number; key?: string;
  time_signature?: string; enabled_loras?: string[];
  lora_strengths?: Record<string, number>; prompt?: string; prompt_b?: string; fixture_name?: string;
  use_server_fixture?: boolean; stem_source_mode?: StemSourceMode; client_id?: string; wants?: string[];
};

export type ClientMessage =
  | { type: "params"; raw: Record<string, KnobInput>; playback_pos: number }
  | { type: "loop_band"; start_sec: number | null; end_sec: number | null }
  | { type: "prompt"; tags: string; tags_b?: string; key?: string; time_signature?: string }
  | { type: "set_prompt_blend"; value: number }
  | { type: "set_depth"; value: number }
  | { type: "enable_lora"; id: string; strength?: number }
  | { type: "disable_lora"; id: string }
  | { type: "set_timbre_strength"; value: number }
  | { type: "set_timbre_source" | "set_structure_source"; name: string }
  | { type: "set_timbre_fixture" | "set_structure_fixture"; name: string }
  | { type: "clear_timbre_source" | "clear_structure_source" }
  | { type: "swap_source"; tags?: string; key?: string; time_signature?: string; fixture_name?: string;
      stem_source_mode?: StemSourceMode; use_server_source?: boolean };
"#;

/// The whole of the client's generated file.
#[must_use]
pub fn generate() -> String {
    let mut text = String::from(
        "// Generated from the Rust types of the wire: `cargo xtask types` writes it, the tests say when it is stale.\n\n",
    );
    constants_of(&mut text);
    close_codes(&mut text);
    knob_table(&mut text);
    types(&mut text);
    text.push_str(CLIENT_MESSAGES);
    text
}

fn constants_of(text: &mut String) {
    let numbers = [
        ("SAMPLE_RATE", u64::from(constants::SAMPLE_RATE)),
        ("POOL_FRAMES", constants::POOL_FRAMES as u64),
        ("CROSSFADE_SLICE_MS", u64::from(constants::CROSSFADE_SLICE_MS)),
        ("CROSSFADE_SWAP_MS", u64::from(constants::CROSSFADE_SWAP_MS)),
        ("SLICE_HEADER_BYTES", constants::SLICE_HEADER_BYTES as u64),
        ("SLICE_RAW", u64::from(constants::SLICE_RAW)),
        ("SLICE_DELTA", u64::from(constants::SLICE_DELTA)),
        ("PCM_HEADER_BYTES", constants::PCM_HEADER_BYTES as u64),
        ("FRAME_BYTES_MAX", constants::FRAME_BYTES_MAX as u64),
        ("SOURCE_SECONDS_MAX", u64::from(constants::SOURCE_SECONDS_MAX)),
    ];
    for (name, value) in numbers {
        text.push_str(&format!("export const {name} = {value};\n"));
    }
    text.push('\n');
}

fn close_codes(text: &mut String) {
    text.push_str(
        "export type Reaction = \"stop\" | \"stop_and_say\" | \"reconnect\";\n\nexport const CLOSE_CODES = {\n",
    );
    for code in CloseCode::ALL {
        let reaction = match code.reaction() {
            Reaction::Stop => "stop",
            Reaction::StopAndSay => "stop_and_say",
            Reaction::Reconnect => "reconnect",
        };
        let (name, number, reason) = (format!("{code:?}"), code.number(), code.reason());
        text.push_str(&format!(
            "  {name}: {{ code: {number}, reaction: \"{reaction}\", reason: \"{reason}\" }},\n"
        ));
    }
    text.push_str("} as const satisfies Record<string, { code: number; reaction: Reaction; reason: string }>;\n\n");
}

fn knob_table(text: &mut String) {
    text.push_str(
        "export type Knob = { name: string; effect: \"next_slot\" | \"next_tick\" | \"rebuilds_ring\" } & (\n  \
         | { kind: \"number\" | \"integer\"; min: number; max: number; default: number }\n  \
         | { kind: \"choice\"; words: readonly string[]; default: string }\n  \
         | { kind: \"switch\"; default: boolean }\n  | { kind: \"curve\" }\n);\n\nexport const KNOBS: readonly Knob[] = [\n",
    );
    for knob in &KNOBS {
        text.push_str(&format!("  {},\n", knob_entry(knob)));
    }
    text.push_str("];\n\n");
}

fn knob_entry(knob: &Knob) -> String {
    let effect = match knob.effect {
        Effect::NextSlot => "next_slot",
        Effect::NextTick => "next_tick",
        Effect::RebuildsRing => "rebuilds_ring",
    };
    let kind = match knob.kind {
        Kind::Number { min, max, default } => format!("kind: \"number\", min: {min}, max: {max}, default: {default}"),
        Kind::Integer { min, max, default } => format!("kind: \"integer\", min: {min}, max: {max}, default: {default}"),
        Kind::Choice { words, default } => format!("kind: \"choice\", words: {words:?}, default: {default:?}"),
        Kind::Switch { default } => format!("kind: \"switch\", default: {default}"),
        Kind::Curve => "kind: \"curve\"".into(),
    };
    format!("{{ name: {:?}, effect: {effect:?}, {kind} }}", knob.name)
}

fn types(text: &mut String) {
    let config = Config::new().with_large_int("number");
    let declarations = [
        ErrorCode::decl(&config),
        StemSourceMode::decl(&config),
        StemState::decl(&config),
        UploadHeader::decl(&config),
        UploadOk::decl(&config),
        Ready::decl(&config),
        VramEngine::decl(&config),
        VramGroup::decl(&config),
        Vram::decl(&config),
        http::LoraMetadata::decl(&config),
        http::LoraEntry::decl(&config),
        http::Loras::decl(&config),
        http::EngineEntry::decl(&config),
        http::EngineList::decl(&config),
        http::ServerInfo::decl(&config),
        http::TrackState::decl(&config),
        http::HttpError::decl(&config),
        ServerMessage::decl(&config),
    ];
    for declaration in declarations {
        text.push_str(&format!("export {}\n\n", declaration.trim_end()));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_clients_file_is_what_would_be_generated() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/src/generated/wire.ts");
        let file = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            file == super::generate(),
            "web/src/generated/wire.ts is stale: run `cargo xtask types`"
        );
    }
}
