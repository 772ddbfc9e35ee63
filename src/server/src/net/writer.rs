//! What goes out to a client, one frame at a time: the pod's words in their order, slices when nothing else waits, and the close frame
//! ahead of all. Owns the mirror of what the client holds.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use futures_util::{SinkExt, stream::SplitSink};
use greenroom_audio::Pcm;
use greenroom_generator::KnobValue;
use greenroom_sync::Region;
use greenroom_wire::{
    CloseCode, Mirror, ServerMessage, SliceHeader,
    constants::{CROSSFADE_SWAP_MS, SAMPLE_RATE},
    knobs::{self, two_digits},
    slice::{encode_halves, fade_seam},
};
use serde_json::Value;
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, protocol::CloseFrame},
};

use super::gate::Gate;
use crate::pod::{Echo, Frame, Playback};

/// Most that one slice holds, in frames per channel: what takes a worker a few milliseconds to encode.
const SLICE_FRAMES_MAX: usize = SAMPLE_RATE as usize;

/// Knobs that `params_update` carries beside `denoise` or `sde_amp`, the channels and the LoRAs (wire §8).
const ECHOED: [&str; 5] = ["seed", "feedback", "feedback_depth", "shift", "hint_strength"];

/// One thing to write.
#[derive(Debug)]
pub(super) enum Item {
    /// A text frame.
    Text(Box<ServerMessage>),
    /// Frames with nothing in between.
    Atomic(Vec<Frame>),
    /// The initial buffer of a source, and its slices from there on.
    Play {
        /// What plays.
        playback: Box<Playback>,
        /// Whether the session was opened with `sde`: its knobs have other names.
        sde: bool,
    },
    /// The close frame, and nothing after it.
    Close(CloseCode),
}

/// A writer's way to its client.
pub(super) struct Writer {
    pub(super) sink: SplitSink<WebSocketStream<Gate>, Message>,
    pub(super) stream: Arc<TcpStream>,
    pub(super) queue: mpsc::Receiver<Item>,
    /// Goes ahead of the queue.
    pub(super) close_first: watch::Receiver<Option<CloseCode>>,
    /// What plays.
    pub(super) playing: Option<Playing>,
}

/// A source that plays, and what the client holds of it.
pub(super) struct Playing {
    playback: Playback,
    mirror: Mirror,
    sde: bool,
}

/// Why a writer stopped before the close frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// The socket broke.
    #[error(transparent)]
    Socket(#[from] tungstenite::Error),
    /// Something inside did.
    #[error("what a client should hear could not be encoded: {0}")]
    Encoding(String),
}

impl WriteError {
    /// Whether the client is closing by itself, which the reader sees through to the end.
    pub(super) fn is_farewell(&self) -> bool {
        use tungstenite::error::ProtocolError;
        matches!(
            self,
            Self::Socket(
                tungstenite::Error::ConnectionClosed
                    | tungstenite::Error::AlreadyClosed
                    | tungstenite::Error::Protocol(ProtocolError::SendAfterClosing)
            )
        )
    }
}

/// A frame as it goes out, or will in a moment.
enum Ready {
    Text(Box<ServerMessage>),
    Audio(tokio::task::JoinHandle<Vec<u8>>),
}

impl From<Frame> for Ready {
    fn from(frame: Frame) -> Self {
        match frame {
            Frame::Text(message) => Self::Text(Box::new(message)),
            Frame::Audio(pcm) => Self::Audio(tokio::task::spawn_blocking(move || encode_halves(pcm.samples()))),
        }
    }
}

enum Next {
    Item(Item),
    Slice(Region),
    Close(CloseCode),
}

impl Writer {
    /// Writes until the close frame is out.
    pub(super) async fn run(mut self) -> Result<(), WriteError> {
        loop {
            match self.next().await {
                Next::Close(code) | Next::Item(Item::Close(code)) => return self.close(code).await,
                Next::Item(Item::Text(message)) => self.text(&message).await?,
                Next::Item(Item::Atomic(frames)) => self.atomic(frames).await?,
                Next::Item(Item::Play { playback, sde }) => self.play(*playback, sde).await?,
                Next::Slice(region) => self.slice(&region).await?,
            }
        }
    }

    async fn next(&mut self) -> Next {
        if let Some(code) = self.ordered_close() {
            return Next::Close(code);
        }
        let closed = async |close_first: &mut watch::Receiver<Option<CloseCode>>| {
            let code = close_first.wait_for(Option::is_some).await.ok().and_then(|code| *code);
            match code {
                Some(code) => code,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            code = closed(&mut self.close_first) => Next::Close(code),
            Some(item) = self.queue.recv() => Next::Item(item),
            region = fresh_region(self.playing.as_ref(), &self.stream) => Next::Slice(region),
        }
    }

    fn ordered_close(&self) -> Option<CloseCode> {
        *self.close_first.borrow()
    }

    async fn close(&mut self, code: CloseCode) -> Result<(), WriteError> {
        let frame = CloseFrame {
            code: code.number().into(),
            reason: code.reason().into(),
        };
        Ok(self.sink.send(Message::Close(Some(frame))).await?)
    }

    async fn text(&mut self, message: &ServerMessage) -> Result<(), WriteError> {
        Ok(self.sink.send(Message::Text(message.to_text().into())).await?)
    }

    async fn binary(&mut self, bytes: Vec<u8>) -> Result<(), WriteError> {
        Ok(self.sink.send(Message::Binary(Bytes::from(bytes))).await?)
    }

    async fn atomic(&mut self, frames: Vec<Frame>) -> Result<(), WriteError> {
        // All audio is converted at once, so that one stem is on its way while the next is still being made.
        let frames: Vec<Ready> = frames.into_iter().map(Ready::from).collect();
        for frame in frames {
            if self.ordered_close().is_some() {
                return Ok(());
            }
            match frame {
                Ready::Text(message) => self.text(&message).await?,
                Ready::Audio(bytes) => {
                    let bytes = bytes.await.map_err(|error| WriteError::Encoding(error.to_string()))?;
                    self.binary(bytes).await?;
                }
            }
        }
        Ok(())
    }

    async fn play(&mut self, playback: Playback, sde: bool) -> Result<(), WriteError> {
        let source = Arc::clone(&playback.source);
        // What played before is over, whatever of it was new.
        self.playing = None;
        let converted = tokio::task::spawn_blocking(move || initial_buffer(&source)).await;
        let (buffer, mirror) = converted.map_err(|error| WriteError::Encoding(error.to_string()))?;
        if self.ordered_close().is_some() {
            return Ok(());
        }
        self.binary(buffer).await?;
        self.playing = Some(Playing { playback, mirror, sde });
        Ok(())
    }

    async fn slice(&mut self, region: &Region) -> Result<(), WriteError> {
        let Some(playing) = &mut self.playing else {
            return Ok(());
        };
        let echo = playing.playback.echo.peek();
        let header = SliceHeader {
            start_sample: u32::try_from(region.start).unwrap_or(u32::MAX),
            tick_ms: echo.as_ref().map_or(0.0, |echo| echo.tick_ms),
            dec_ms: echo.as_ref().map_or(0.0, |echo| echo.dec_ms),
            num_gens: echo.as_ref().map_or(0, |echo| echo.num_gens),
            ..SliceHeader::default()
        };
        let Some(bytes) = playing.mirror.encode(header, &region.samples) else {
            return Err(WriteError::Encoding(format!(
                "{} samples at frame {} lie outside the buffer",
                region.samples.len(),
                region.start
            )));
        };
        let (transmitted, sde) = (playing.playback.transmitted.clone(), playing.sde);
        self.binary(bytes).await?;
        if let Some(echo) = echo {
            transmitted.put(echo.made_at.elapsed());
            if self.ordered_close().is_none() {
                let params = effective_params(&echo, sde);
                self.text(&ServerMessage::ParamsUpdate { params }).await?;
            }
        }
        Ok(())
    }
}

/// What is new and needed first, once the socket can take it: what waits longer grows and stays fresh.
async fn fresh_region(playing: Option<&Playing>, stream: &TcpStream) -> Region {
    let Some(Playing { playback, .. }) = playing else {
        return pending().await;
    };
    loop {
        let mut fresh = std::pin::pin!(playback.fresh.notified());
        fresh.as_mut().enable();
        if playback.slices.is_fresh() {
            // An error here is one of the write that follows.
            let _ = stream.writable().await;
            let playhead = usize::try_from(playback.playhead_frame.load(Ordering::Relaxed)).unwrap_or_default();
            let playhead = playhead % playback.slices.frames().max(1);
            if let Some(region) = playback.slices.take(playhead, SLICE_FRAMES_MAX) {
                return region;
            }
        }
        fresh.await;
    }
}

/// The buffer that a client starts with, and the mirror of it.
fn initial_buffer(source: &Pcm) -> (Vec<u8>, Mirror) {
    let mut samples = source.samples().to_vec();
    let seam_frames = (SAMPLE_RATE * CROSSFADE_SWAP_MS / 1_000) as usize;
    fade_seam(&mut samples, usize::from(source.channels()), seam_frames);
    let buffer = encode_halves(&samples);
    let mirror = Mirror::of_buffer(&buffer, source.channels());
    (buffer, mirror)
}

/// `params_update.params` (wire §8).
fn effective_params(echo: &Echo, sde: bool) -> BTreeMap<String, Value> {
    let mut params = BTreeMap::from([
        ("num_gens".to_owned(), Value::from(echo.num_gens)),
        ("tick_ms".to_owned(), rounded(f64::from(echo.tick_ms))),
        ("dec_ms".to_owned(), rounded(f64::from(echo.dec_ms))),
        ("_prompt".to_owned(), Value::from(echo.prompt.clone())),
    ]);
    let set = echo.knobs.iter().filter_map(|(name, value)| match value {
        KnobValue::Number(number) => Some((name.clone(), *number)),
        _ => None,
    });
    // Those never set are at their defaults.
    let numbers = knobs::KNOBS.iter().filter_map(default_number).chain(set);
    params.extend(
        numbers
            .filter(|(name, _)| is_echoed(name, sde))
            .map(|(name, number)| (name, rounded(number))),
    );
    params
}

fn default_number(knob: &knobs::Knob) -> Option<(String, f64)> {
    match knob.kind {
        knobs::Kind::Number { default, .. } | knobs::Kind::Integer { default, .. } => {
            Some((knob.name.to_owned(), default))
        }
        _ => None,
    }
}

fn is_echoed(name: &str, sde: bool) -> bool {
    match name {
        "denoise" => !sde,
        "sde_amp" | "periodicity" => sde,
        _ => ECHOED.contains(&name) || name.starts_with("ch") || name.starts_with("lora_str_"),
    }
}

fn rounded(number: f64) -> Value {
    Value::from(two_digits(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(knobs: &[(&str, KnobValue)]) -> Echo {
        Echo {
            made_at: std::time::Instant::now(),
            tick_ms: 1.239,
            dec_ms: 2.0,
            num_gens: 3,
            knobs: knobs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            prompt: "warm tape".into(),
        }
    }

    #[test]
    fn params_update_carries_what_the_wire_lists_and_nothing_else() {
        let echo = echo(&[
            ("denoise", KnobValue::Number(0.333_333)),
            ("periodicity", KnobValue::Number(1.0)),
            ("ch_g3", KnobValue::Number(2.0)),
            ("ch56", KnobValue::Number(0.5)),
            ("guidance_scale", KnobValue::Number(4.0)),
            ("lora_str_tape", KnobValue::Number(0.7)),
            ("rcfg_mode", KnobValue::Choice("off".into())),
            ("dcw_enabled", KnobValue::Bool(true)),
            ("sde_amp", KnobValue::Number(0.5)),
        ]);
        let mut expected = serde_json::json!({
            "num_gens": 3, "tick_ms": 1.24, "dec_ms": 2.0, "_prompt": "warm tape", "denoise": 0.33, "lora_str_tape": 0.7,
            "seed": 0.0, "feedback": 0.0, "feedback_depth": 1.0, "shift": 3.5, "hint_strength": 1.0,
        });
        for channel in [
            "ch_g0", "ch_g1", "ch_g2", "ch_g4", "ch_g5", "ch_g6", "ch_g7", "ch13", "ch14", "ch19", "ch23", "ch29",
        ] {
            expected[channel] = Value::from(1.0);
        }
        (expected["ch_g3"], expected["ch56"]) = (Value::from(2.0), Value::from(0.5));
        assert_eq!(serde_json::to_value(effective_params(&echo, false)).unwrap(), expected);
        let of_sde = effective_params(&echo, true);
        assert_eq!(of_sde.get("sde_amp"), Some(&Value::from(0.5)));
        assert!(of_sde.contains_key("periodicity") && !of_sde.contains_key("denoise"));
    }

    #[test]
    fn the_mirror_starts_as_the_buffer_that_the_client_gets() {
        let source = Pcm::new(
            SAMPLE_RATE,
            2,
            (0..19_200).map(|sample| (sample as f32 * 0.01).sin() * 0.3).collect(),
        );
        let (buffer, mirror) = initial_buffer(&source);
        assert_eq!(greenroom_wire::slice::decode_halves(&buffer), mirror.samples());
        assert_eq!(mirror.samples()[..2], [0.0, 0.0], "the seam is faded");
    }
}
