//! Decode, resample, analyse and write audio: functions over samples.
#![forbid(unsafe_code)]
