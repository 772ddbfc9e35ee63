//! A live session that listens: it plays what it holds on a clock of its own, tells the pod where it is, and keeps account.

use std::{
    future::Future,
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use greenroom_wire::{PcmFrame, ServerMessage, SliceHeader};
use serde::Serialize;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::client::{Socket, connect};

const RATE: f64 = 48_000.0;
/// 125 positions a second, as a browser sends them.
const BEAT: Duration = Duration::from_millis(8);
/// A knob is turned this often: without an input for 20 s a session that only listens is generated no further.
const TURN: Duration = Duration::from_secs(1);
/// Frames of one block of the account: 10 ms.
const BLOCK: usize = 480;
/// What is played is fresh if a slice that covers it came within this time before.
const FRESH: Duration = Duration::from_secs(1);
/// How long stems may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The session at its playhead.
pub(super) struct Listener {
    socket: Socket,
    frames: usize,
    started: Instant,
    made: Vec<Option<Instant>>,
    played: usize,
    next_beat: Instant,
    next_turn: Instant,
    turns: u32,
    last_slice: Option<Instant>,
    stems: u32,
    pub(super) account: Account,
}

/// What a listener met.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) slices: u64,
    /// Came when the playhead was past their beginning.
    pub(super) late: Vec<Late>,
    /// The longest time without a slice.
    pub(super) gap: Duration,
    blocks: u64,
    fresh: u64,
}

/// A slice that was late: by how much, how long after the one before, and what it says that its making took.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Late {
    by_ms: f64,
    after_ms: f64,
    tick_ms: f32,
    decode_ms: f32,
}

impl Account {
    pub(super) fn fresh_pct(&self) -> f64 {
        100.0 * self.fresh as f64 / (self.blocks as f64).max(1.0)
    }
}

impl Listener {
    /// Opens a session on stereo audio at 48 kHz, and plays until the stems of its own source are there.
    pub(super) async fn open(address: &str, samples: &[f32]) -> anyhow::Result<Self> {
        let mut socket = connect(address).await?;
        let config = json!({ "client_id": "bench", "prompt": "deep house, warm bass, soft pads" });
        socket.send(Message::text(config.to_string())).await?;
        socket.send(Message::binary(PcmFrame::build(2, samples))).await?;
        let (frames, now) = (samples.len() / 2, Instant::now());
        let mut listener = Self {
            socket,
            frames,
            started: now,
            made: vec![None; frames / BLOCK],
            played: 0,
            next_beat: now,
            next_turn: now,
            turns: 0,
            last_slice: None,
            stems: 0,
            account: Account::default(),
        };
        listener.until_stems().await.context("the session's own stems")?;
        Ok(listener)
    }

    /// Begins the account anew, and gives the last one.
    pub(super) fn take_account(&mut self) -> Account {
        self.last_slice = None;
        std::mem::take(&mut self.account)
    }

    /// Plays for a while.
    pub(super) async fn play(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.step().await?;
        }
        Ok(())
    }

    /// Plays until stems come.
    pub(super) async fn until_stems(&mut self) -> anyhow::Result<()> {
        let (known, end) = (self.stems, Instant::now() + PATIENCE);
        while self.stems == known {
            if Instant::now() > end {
                bail!("no stems within {} s", PATIENCE.as_secs());
            }
            self.step().await?;
        }
        Ok(())
    }

    /// Plays until something else is done, and gives its result.
    pub(super) async fn meanwhile<T>(&mut self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                played = self.step() => played?,
            }
        }
    }

    fn position(&self, now: Instant) -> f64 {
        (now.duration_since(self.started).as_secs_f64() * RATE) % self.frames as f64
    }

    /// One beat: the position when it is due, then whatever comes before the next. It may be dropped at any point that waits.
    async fn step(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        self.keep_account(now);
        if now >= self.next_beat {
            self.next_beat = now.max(self.next_beat + BEAT);
            let mut raw = json!({});
            if now >= self.next_turn {
                (self.next_turn, self.turns) = (now + TURN, self.turns + 1);
                raw = json!({ "denoise": 0.6 + 0.1 * f64::from(self.turns % 4) });
            }
            let params = json!({ "type": "params", "raw": raw, "playback_pos": self.position(now) / RATE });
            self.socket.send(Message::text(params.to_string())).await?;
        }
        let until = tokio::time::Instant::from_std(self.next_beat);
        match tokio::time::timeout_at(until, self.socket.next()).await {
            Err(_) => Ok(()),
            Ok(None) => bail!("the pod closed the connection"),
            Ok(Some(message)) => self.take(message?),
        }
    }

    fn take(&mut self, message: Message) -> anyhow::Result<()> {
        match message {
            Message::Binary(bytes) => {
                // The first frame is the whole buffer as it is before anything is made.
                if let Ok(header) = SliceHeader::parse(&bytes)
                    && (header.num_samples as usize) < self.frames
                {
                    self.slice(&header);
                }
            }
            Message::Text(text) => match serde_json::from_str(&text)? {
                ServerMessage::StemAssets { .. } => self.stems += 1,
                ServerMessage::StemFailed { error, .. } => bail!("{error}"),
                ServerMessage::Error { message, .. } => bail!("{message}"),
                _ => {}
            },
            Message::Close(close) => bail!("the pod closed the connection: {close:?}"),
            _ => {}
        }
        Ok(())
    }

    fn slice(&mut self, header: &SliceHeader) {
        let (start, frames) = (header.start_sample as usize, header.num_samples as usize);
        let now = Instant::now();
        self.account.slices += 1;
        let after = self
            .last_slice
            .replace(now)
            .map_or(Duration::ZERO, |last| now.duration_since(last));
        self.account.gap = self.account.gap.max(after);
        // Far behind means that it lies ahead, round the loop.
        let behind = (self.position(now) - start as f64).rem_euclid(self.frames as f64);
        if behind < self.frames as f64 / 2.0 {
            self.account.late.push(Late {
                by_ms: behind / RATE * 1e3,
                after_ms: after.as_secs_f64() * 1e3,
                tick_ms: header.tick_ms,
                decode_ms: header.dec_ms,
            });
        }
        let last = ((start + frames) / BLOCK).min(self.made.len());
        for block in start.div_ceil(BLOCK)..last {
            self.made[block] = Some(now);
        }
    }

    fn keep_account(&mut self, now: Instant) {
        let position = (now.duration_since(self.started).as_secs_f64() * RATE) as usize / BLOCK;
        while self.played < position {
            let made = self.made[self.played % self.made.len().max(1)];
            self.account.blocks += 1;
            self.account.fresh += u64::from(made.is_some_and(|made| now.duration_since(made) <= FRESH));
            self.played += 1;
        }
    }
}
