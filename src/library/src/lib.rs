//! Tracks on disk: atomic writes, sidecars, stems, owners, wipe and recovery.
#![forbid(unsafe_code)]
