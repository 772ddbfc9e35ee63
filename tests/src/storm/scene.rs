//! What all clients of a storm share.

use std::sync::Arc;

use greenroom_wire::PcmFrame;

use super::door::Door;
use crate::{song, wav};

/// Seconds of every source: as short as the pod takes them, nearly.
const SECONDS: f32 = 1.2;

/// The stage of a storm.
pub(super) struct Scene {
    pub(super) door: Door,
    /// Good audio, as a frame of the wire.
    pub(super) frame: Arc<[u8]>,
    /// The same as a file.
    pub(super) file: Arc<[u8]>,
}

impl Scene {
    pub(super) fn new(address: &str) -> anyhow::Result<Self> {
        let samples = song(SECONDS);
        let frame = PcmFrame::build(2, &samples);
        let file = wav(2, &samples)?;
        Ok(Self {
            door: Door::new(address)?,
            frame: frame.into(),
            file: file.into(),
        })
    }
}
