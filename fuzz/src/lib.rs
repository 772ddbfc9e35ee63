//! Bodies of the fuzz targets: ordinary functions that panic where a promise is broken. Most are the crates' own.
//!
//! The tests replay the corpora in `corpus/`; the fuzzer itself is in `libfuzzer/` and run by hand (see the README).
#![forbid(unsafe_code)]

pub mod boot;

use arbitrary::{Arbitrary, Unstructured};
use greenroom_director::script::{self, Step};

/// A name, which is that of its corpus and of its harness, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 10] = [
    ("wire_text", wire_text),
    ("wire_pcm", wire_pcm),
    ("wire_slice", wire_slice),
    ("wire_mirror", wire_mirror),
    ("wire_server", wire_server),
    ("wire_knobs", wire_knobs),
    ("audio", audio),
    ("manifest", manifest),
    ("boot", boot::boot),
    ("director", director),
];

/// A script is no longer than this: what a longer one finds, two shorter ones do.
const STEPS_MAX: usize = 300;

/// A text frame, as the first and as a later one of a client.
pub fn wire_text(bytes: &[u8]) {
    greenroom_wire::fuzz::text_frame(bytes);
}

/// A client's audio frame.
pub fn wire_pcm(bytes: &[u8]) {
    greenroom_wire::fuzz::pcm_frame(bytes);
}

/// A slice, as a client reads it.
pub fn wire_slice(bytes: &[u8]) {
    greenroom_wire::fuzz::slice_frame(bytes);
}

/// What the generator makes of a buffer, slice by slice.
pub fn wire_mirror(bytes: &[u8]) {
    greenroom_wire::fuzz::mirror(bytes);
}

/// A text frame of the server, as a client reads it.
pub fn wire_server(bytes: &[u8]) {
    greenroom_wire::fuzz::server_message(bytes);
}

/// The knobs of `params.raw`.
pub fn wire_knobs(bytes: &[u8]) {
    greenroom_wire::fuzz::raw_knobs(bytes);
}

/// A compressed file, and the same bytes as a WAV of ours.
pub fn audio(bytes: &[u8]) {
    greenroom_audio::fuzz::decode_any(bytes);
}

/// A manifest, and a name that a client gave.
pub fn manifest(bytes: &[u8]) {
    greenroom_library::fuzz::manifest(bytes);
    greenroom_library::fuzz::name(bytes);
}

/// A script of events.
///
/// # Panics
/// If the director breaks a promise.
pub fn director(bytes: &[u8]) {
    let mut bytes = Unstructured::new(bytes);
    let Ok(plan) = u8::arbitrary(&mut bytes) else { return };
    let steps = bytes.arbitrary_iter::<Step>().into_iter().flatten();
    let steps: Vec<Step> = steps.map_while(Result::ok).take(STEPS_MAX).collect();
    if let Err(wrong) = script::run(plan, &steps) {
        panic!("{wrong}\n{steps:#?}");
    }
}
