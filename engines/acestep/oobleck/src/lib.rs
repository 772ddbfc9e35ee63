//! The Oobleck autoencoder of ACE-Step 1.5: 48 kHz stereo to 64 channels at 25 Hz, and back.
#![forbid(unsafe_code)]
