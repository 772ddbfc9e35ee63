//! Fuzz bodies: ordinary functions, compiled in every build and run by the tests over committed files.

use crate::{DecodeLimits, WavFormat, decode, first_bad_sample, read_wav, wav_len_bytes, write_wav};

/// Decodes whatever the bytes are, within small limits; must return, in time, for every input.
///
/// # Panics
/// If a decode that succeeded breaks its promises: that is the bug a fuzzer looks for.
pub fn decode_any(bytes: &[u8]) {
    let limits = DecodeLimits {
        decoded_seconds_max: 30.0,
        kept_seconds_max: 5.0,
        ..DecodeLimits::default()
    };
    if let Ok(decoded) = decode(bytes, &limits) {
        assert!(decoded.pcm.frames() > 0, "success means audio");
        assert!(
            decoded.pcm.seconds() <= limits.kept_seconds_max + 0.001,
            "no more is kept than allowed"
        );
        assert!(
            decoded.seconds_total <= limits.decoded_seconds_max,
            "no more is accepted than allowed"
        );
        assert!(first_bad_sample(decoded.pcm.samples()).is_none(), "samples are sound");
    }
    if let Ok(pcm) = read_wav(bytes) {
        let mut written = Vec::new();
        assert!(write_wav(&pcm, WavFormat::Float32, &mut written).is_ok());
        assert_eq!(written.len() as u64, wav_len_bytes(&pcm, WavFormat::Float32));
        assert_eq!(read_wav(&written).ok(), Some(pcm), "what is written is read as it was");
    }
}
