//! The protocol's own examples, byte for byte.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files must stop")]

use greenroom_wire::{Mirror, PcmFrame, SliceHeader, slice};

fn file(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn floats(name: &str) -> Vec<f32> {
    file(name)
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
        .collect()
}

fn index() -> serde_json::Value {
    serde_json::from_slice(&file("index.json")).unwrap()
}

#[test]
fn a_pcm_frame_reads_and_builds_back() {
    let bytes = file("pcm_frame.bin");
    let frame = PcmFrame::parse(&bytes).unwrap();
    assert_eq!((frame.channels, frame.samples.len()), (2, 4800));
    assert_eq!(PcmFrame::build(2, &frame.samples), bytes);
}

#[test]
fn an_initial_buffer_and_a_stem_are_interleaved_halves() {
    assert_eq!(
        slice::encode_halves(&floats("initial_source_f32.bin")),
        file("initial_buffer.bin")
    );
    assert_eq!(
        slice::encode_halves(&floats("stem_vocals_f32.bin")),
        file("stem_vocals.bin")
    );
}

#[test]
fn slices_leave_both_sides_with_the_same_mirror() {
    let mut server = Mirror::from_source(&floats("initial_source_f32.bin"), 2);
    let mut client = server.clone();
    let mut reader = server.clone();
    for (number, entry) in index()["slices"]["list"].as_array().unwrap().iter().enumerate() {
        let bytes = file(entry["file"].as_str().unwrap());
        let header = SliceHeader::parse(&bytes).unwrap();
        assert_eq!(u64::from(header.start_sample), entry["start_sample"].as_u64().unwrap());
        assert_eq!(u64::from(header.num_samples), entry["num_samples"].as_u64().unwrap());
        assert_eq!(f64::from(header.tick_ms), entry["tick_ms"].as_f64().unwrap());
        assert_eq!(bytes[..23], header.to_bytes());
        let (_, delta) = slice::decode(&bytes).unwrap();
        assert_eq!(
            slice::encode_halves(&delta),
            file(&format!("slice{number}_delta_f16.bin"))
        );
        reader.apply(&bytes).unwrap();
        let ours = server
            .encode(header, &floats(&format!("slice{number}_region_f32.bin")))
            .unwrap();
        assert_eq!(slice::decode(&ours).unwrap(), slice::decode(&bytes).unwrap());
        client.apply(&ours).unwrap();
    }
    let after = floats("mirror_after_f32.bin");
    assert!(server.samples() == after && client.samples() == after && reader.samples() == after);
}

#[test]
fn a_raw_slice_replaces() {
    let bytes = file("slice_raw.bin");
    let (header, samples) = slice::decode(&bytes).unwrap();
    assert_eq!(slice::encode_raw(header, &samples), bytes);
    let mut client = Mirror::from_source(&floats("initial_source_f32.bin"), 2);
    client.apply(&bytes).unwrap();
    assert_eq!(client.samples()[1920 * 2..3840 * 2], samples);
}
