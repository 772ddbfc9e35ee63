#![no_main]

// A panic of the decoder that `decode` catches is no crash: one that leaves the body still is.
libfuzzer_sys::fuzz_target!(init: { drop(std::panic::take_hook()) }, |data: &[u8]| greenroom_fuzz::audio(data));
