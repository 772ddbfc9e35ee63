//! Bodies of the fuzz targets: ordinary functions, run on their corpora by the plain tests.

use crate::{ClientMessage, FirstFrame, Mirror, PcmFrame, SliceHeader, slice};

/// Any text as a first frame and as a live message.
pub fn text_frame(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = FirstFrame::parse(&text);
    let _ = ClientMessage::parse(&text);
}

/// Any bytes as a PCM frame; what is read is as long as its header said.
pub fn pcm_frame(bytes: &[u8]) {
    if let Ok(frame) = PcmFrame::parse(bytes) {
        assert!(frame.samples.iter().all(|sample| sample.is_finite()));
        assert!(frame.samples.len().is_multiple_of(usize::from(frame.channels)));
    }
}

/// Any bytes as a slice, onto a small buffer.
pub fn slice_frame(bytes: &[u8]) {
    let _ = slice::decode(bytes);
    let mut mirror = Mirror::from_source(&[0.25; 256], 2);
    let _ = mirror.apply(bytes);
}

/// Any bytes as a region: what the client computes is what the mirror says.
pub fn round_trip(bytes: &[u8]) {
    let region: Vec<f32> = bytes
        .chunks_exact(2)
        .take(128)
        .map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0)
        .collect();
    let region = &region[..region.len() / 2 * 2];
    let mut server = Mirror::from_source(&[0.1; 256], 2);
    let mut client = server.clone();
    if let Some(slice) = server.encode(SliceHeader::default(), region) {
        assert!(client.apply(&slice).is_ok());
    }
    assert_eq!(server, client);
}
