//! A listener: plays what it holds on a clock of its own and tells the pod where it is.

use std::time::{Duration, Instant};

use anyhow::Context;
use greenroom_tests::{Client, Incoming};
use greenroom_wire::ServerMessage;
use serde_json::{Map, Value, json};

const RATE: f64 = 48_000.0;
/// 125 params a second.
const BEAT: Duration = Duration::from_millis(8);
/// Frames of one block of the freshness account: 10 ms.
const BLOCK: usize = 480;
/// Played samples are fresh if a slice that covers them came within this time before.
const FRESH: Duration = Duration::from_secs(1);
/// A change of a sample that an ear could notice.
const CHANGED: f32 = 1e-3;

/// A listener at its playhead.
pub(crate) struct Listener {
    pub(crate) client: Client,
    started: Instant,
    frames: usize,
    made: Vec<Option<Instant>>,
    played: usize,
    next_beat: Instant,
    /// Buffers that came after the first.
    sources: u32,
    pub(crate) account: Account,
}

/// What a listener met.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    pub(crate) slices: u64,
    pub(crate) late: u64,
    blocks: u64,
    fresh: u64,
    pub(crate) stale_ms_max: f64,
}

impl Account {
    pub(crate) fn fresh_pct(self) -> f64 {
        100.0 * self.fresh as f64 / (self.blocks as f64).max(1.0)
    }
}

impl Listener {
    /// Listens on a session whose buffer has come.
    pub(crate) fn new(client: Client) -> anyhow::Result<Self> {
        let now = Instant::now();
        let mut listener = Self {
            client,
            started: now,
            frames: 0,
            made: Vec::new(),
            played: 0,
            next_beat: now,
            sources: 0,
            account: Account::default(),
        };
        listener.begin()?;
        Ok(listener)
    }

    /// Plays the buffer that came from its beginning.
    fn begin(&mut self) -> anyhow::Result<()> {
        let mirror = self.client.mirror.as_ref().context("the session has no buffer yet")?;
        self.frames = mirror.samples().len() / usize::from(mirror.channels());
        self.made = vec![None; self.frames / BLOCK];
        (self.started, self.played) = (Instant::now(), 0);
        Ok(())
    }

    /// Asks for another source, and plays the one that is there until the other comes.
    #[cfg_attr(
        not(feature = "engines"),
        allow(dead_code, reason = "only engines are swapped between")
    )]
    pub(crate) async fn swap(&mut self, name: &str) -> anyhow::Result<()> {
        /// A swap takes a fraction of it.
        const PATIENCE: Duration = Duration::from_secs(60);
        self.client
            .text(&json!({ "type": "swap_source", "use_server_source": true, "fixture_name": name }))
            .await?;
        let (asked, sources) = (Instant::now(), self.sources);
        while self.sources == sources {
            anyhow::ensure!(asked.elapsed() < PATIENCE, "the swap to {name} does not end");
            self.step(&mut Map::new()).await?;
        }
        Ok(())
    }

    fn position(&self, now: Instant) -> f64 {
        (now.duration_since(self.started).as_secs_f64() * RATE) % self.frames as f64
    }

    /// Begins the account anew.
    pub(crate) fn forget(&mut self) {
        self.account = Account::default();
    }

    /// Plays for a while; `raw` goes along with the first params. Gives what came, with its time.
    pub(crate) async fn play(&mut self, time: Duration, mut raw: Map<String, Value>) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.step(&mut raw).await?;
        }
        Ok(())
    }

    /// Turns a knob and plays on until the playhead is at the first sample that changed because of it.
    pub(crate) async fn knob_to_ear(&mut self, raw: Map<String, Value>) -> anyhow::Result<Duration> {
        let sent = Instant::now();
        self.next_beat = sent;
        let mut raw = raw;
        loop {
            let before = self.client.mirror.clone();
            let Some((start, frames)) = self.step(&mut raw).await? else {
                continue;
            };
            let (Some(before), Some(after)) = (before, self.client.mirror.as_ref()) else {
                continue;
            };
            let channels = usize::from(after.channels());
            let range = start * channels..(start + frames) * channels;
            let pairs = before.samples()[range.clone()].iter().zip(&after.samples()[range]);
            let Some(first) = pairs
                .map(|(old, new)| (old - new).abs())
                .position(|change| change > CHANGED)
            else {
                continue;
            };
            let now = Instant::now();
            let ahead = ((start + first / channels) as f64 - self.position(now)).rem_euclid(self.frames as f64);
            // What changed behind the playhead is not what is heard next.
            if ahead < self.frames as f64 / 2.0 {
                return Ok(now.duration_since(sent) + Duration::from_secs_f64(ahead / RATE));
            }
        }
    }

    /// One beat: params when due, then whatever comes before the next. Gives the region of a slice that came.
    async fn step(&mut self, raw: &mut Map<String, Value>) -> anyhow::Result<Option<(usize, usize)>> {
        let now = Instant::now();
        self.keep_account(now);
        if now >= self.next_beat {
            let position = self.position(now) / RATE;
            self.client
                .text(&json!({ "type": "params", "raw": std::mem::take(raw), "playback_pos": position }))
                .await?;
            self.next_beat = now.max(self.next_beat + BEAT);
        }
        let until = tokio::time::Instant::from_std(self.next_beat);
        match tokio::time::timeout_at(until, self.client.next()).await {
            Err(_) => Ok(None),
            Ok(Ok(Incoming::Slice(header, _))) => {
                let (start, frames) = (header.start_sample as usize, header.num_samples as usize);
                self.slice(start, frames);
                Ok(Some((start, frames)))
            }
            Ok(Ok(Incoming::Initial)) => {
                self.sources += 1;
                self.begin()?;
                Ok(None)
            }
            Ok(Ok(Incoming::Text(ServerMessage::SwapFailed { error, .. }))) => anyhow::bail!("no swap: {error}"),
            Ok(Ok(Incoming::Closed(code))) => anyhow::bail!("the session ended with {code:?}"),
            Ok(other) => other.map(|_| None),
        }
    }

    fn slice(&mut self, start: usize, frames: usize) {
        let now = Instant::now();
        self.account.slices += 1;
        let behind = (self.position(now) - start as f64).rem_euclid(self.frames as f64);
        // Late: fully received after the playhead passed its first sample. Far behind means that it lies ahead, round the loop.
        if behind < self.frames as f64 / 2.0 {
            self.account.late += 1;
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
            let age = made.map(|made| now.duration_since(made));
            self.account.blocks += 1;
            if age.is_some_and(|age| age <= FRESH) {
                self.account.fresh += 1;
            }
            if let Some(age) = age.filter(|age| *age < Duration::from_secs(5)) {
                self.account.stale_ms_max = self.account.stale_ms_max.max(age.as_secs_f64() * 1000.0);
            }
            self.played += 1;
        }
    }
}
