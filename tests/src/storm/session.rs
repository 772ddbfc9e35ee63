//! Clients that want the seat.

use std::time::Duration;

use greenroom_wire::{ErrorCode, ServerMessage};
use serde_json::json;
use tokio::{sync::watch, time::Instant};

use super::{
    plan::{Dice, Guest},
    scene::Scene,
    verdict::End,
};
use crate::{Client, Incoming};

/// Tries of a client that is told that the pod is busy.
const TRIES: u32 = 6;
/// The longest pause before the second try; it doubles with every further one (full jitter).
const BACKOFF: Duration = Duration::from_millis(60);
/// How often a live client tells its playhead.
const BEAT: Duration = Duration::from_millis(40);
/// Slices that a survivor must get once the storm is over.
const SLICES: u32 = 2;
/// A hang guard: nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a live client says that makes no sense.
const CHATTER: [&str; 7] = [
    "{",
    "[]",
    r#"{"type":"no_such_thing","raw":{}}"#,
    r#"{"type":"params","raw":{"denoise":"loud","seed":-1e300},"playback_pos":-7}"#,
    r#"{"type":"loop_band","start_sec":9,"end_sec":1}"#,
    r#"{"type":"swap_source","use_server_source":true,"fixture_name":"nobody's.wav"}"#,
    r#"{"type":"prompt","tags":"storm"}"#,
];

/// A client that has connected and wants the seat.
pub(super) struct Seeker {
    pub(super) client: Client,
    pub(super) order: u64,
    pub(super) client_id: String,
    /// Milliseconds between what it reads.
    pub(super) pace_ms: u64,
    /// Chooses the nonsense that it says, if it does.
    pub(super) chatter: Option<Dice>,
    pub(super) leave_at: Option<Instant>,
    /// Whether anything of its session was heard.
    pub(super) noted: bool,
}

/// How a seeker's connection ended.
pub(super) struct Ended {
    pub(super) order: u64,
    pub(super) client_id: String,
    pub(super) end: End,
    /// Whether it was to stay.
    pub(super) stays: bool,
    /// Of one that has the seat.
    pub(super) survivor: Option<Seeker>,
    /// What is against the protocol, whoever has the seat.
    pub(super) complaint: Option<String>,
}

/// Connects, with a whole handshake, and stays as the guest does; where the pod is busy it tries again, unless it is to leave.
///
/// # Errors
/// If the pod is gone.
pub(super) async fn visit(
    scene: &Scene,
    guest: &Guest,
    pace_ms: u64,
    chatter: bool,
    leave_after: Option<Duration>,
    over: &mut watch::Receiver<bool>,
) -> anyhow::Result<Ended> {
    let mut dice = Dice::new(guest.seed);
    let mut pause = BACKOFF;
    let mut order = 0;
    for attempt in 0..TRIES {
        if attempt > 0 {
            let jitter = dice.below(pause.as_millis() as u64);
            tokio::time::sleep(Duration::from_millis(jitter)).await;
            pause *= 2;
        }
        let (stream, place) = scene.door.enter(true).await?;
        order = place;
        tokio::time::sleep(Duration::from_millis(guest.delay_ms)).await;
        let Ok(mut client) = Client::over(stream).await else {
            continue;
        };
        // Whoever is refused may not get all of it out; what the pod says to that is read all the same.
        let sent = client.text(&config(&guest.client_id)).await.is_ok();
        let _ = sent && client.binary(scene.frame.to_vec()).await.is_ok();
        let seeker = Seeker {
            client,
            order,
            client_id: guest.client_id.clone(),
            pace_ms,
            chatter: chatter.then(|| Dice::new(guest.seed)),
            leave_at: leave_after.map(|after| Instant::now() + after),
            noted: false,
        };
        let ended = seeker.stay(over).await;
        if ended.end != End::Outside || leave_after.is_some() {
            return Ok(ended);
        }
    }
    Ok(Ended {
        order,
        client_id: guest.client_id.clone(),
        end: End::Outside,
        stays: leave_after.is_none(),
        survivor: None,
        complaint: None,
    })
}

pub(super) fn config(client_id: &str) -> serde_json::Value {
    json!({ "client_id": client_id, "prompt": "storm" })
}

pub(super) fn params(position_s: f64) -> serde_json::Value {
    json!({ "type": "params", "raw": { "denoise": position_s }, "playback_pos": position_s })
}

impl Seeker {
    /// Stays until it is sent away, leaves, or has got its slices after the storm.
    pub(super) async fn stay(mut self, over: &mut watch::Receiver<bool>) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut refused = None;
        let mut slices = 0;
        loop {
            let leave_at = self.leave_at.unwrap_or(deadline);
            let incoming = tokio::select! {
                incoming = self.client.next() => incoming,
                _ = beat.tick() => {
                    self.beat().await;
                    continue;
                }
                () = tokio::time::sleep_until(leave_at) => {
                    let end = if self.leave_at.is_some() { End::Over } else { End::Mute };
                    return self.ended(end, None);
                }
            };
            match incoming {
                Err(error) => return self.ended(End::Over, Some(format!("{error:#}"))),
                Ok(Incoming::Text(ServerMessage::Error { code, .. })) => refused = Some(code),
                Ok(Incoming::Text(ServerMessage::Ready(_))) => self.noted = true,
                Ok(Incoming::Closed(code)) => {
                    let (end, complaint) = self.meaning(code, refused);
                    return self.ended(end, complaint);
                }
                Ok(Incoming::Slice(..)) if *over.borrow() => {
                    slices += 1;
                    if slices >= SLICES && self.leave_at.is_none() {
                        return Ended {
                            order: self.order,
                            client_id: self.client_id.clone(),
                            end: End::Live,
                            stays: true,
                            complaint: None,
                            survivor: Some(self),
                        };
                    }
                }
                Ok(_) => {}
            }
            if self.pace_ms > 0 {
                tokio::time::sleep(Duration::from_millis(self.pace_ms)).await;
            }
        }
    }

    /// Waits for what becomes of its stems.
    pub(super) async fn hear_of_stems(&mut self) -> anyhow::Result<()> {
        let is_about_stems = |message: &ServerMessage| {
            matches!(
                message,
                ServerMessage::StemAssets { .. } | ServerMessage::StemFailed { .. }
            )
        };
        if !self.client.texts.iter().any(is_about_stems) {
            self.client.message("stems", is_about_stems).await?;
        }
        Ok(())
    }

    /// Tells the playhead, and nonsense now and then.
    async fn beat(&mut self) {
        if !self.noted {
            return;
        }
        let seconds = self.client.since.elapsed().as_secs_f64() % 1.0;
        // A socket that is gone says so when it is read.
        let _ = self.client.text(&params(seconds)).await;
        if let Some(dice) = &mut self.chatter {
            let words = CHATTER[dice.below(CHATTER.len() as u64) as usize];
            let _ = match dice.below(8) {
                0 => self.client.binary(dice.bytes(64)).await,
                _ => self.client.raw_text(words).await,
            };
        }
    }

    fn meaning(&self, code: Option<u16>, refused: Option<ErrorCode>) -> (End, Option<String>) {
        match (code, refused) {
            (_, Some(ErrorCode::Busy)) => (End::Outside, None),
            // The simulated device fails on purpose; the session that it hits may have sent others away.
            (_, Some(ErrorCode::OutOfMemory)) => (End::Over, None),
            (Some(4001), None) => (End::Preempted, None),
            (None, None) if self.noted => (End::Dropped, None),
            (None, None) => (End::Outside, None),
            (code, refused) => {
                let words = format!("a session ended with {code:?} after the error {refused:?}");
                (End::Over, Some(words))
            }
        }
    }

    fn ended(self, end: End, complaint: Option<String>) -> Ended {
        // Every other one goes with a reset.
        self.client.vanish(self.order.is_multiple_of(2));
        Ended {
            order: self.order,
            client_id: self.client_id,
            end,
            stays: self.leave_at.is_none(),
            survivor: None,
            complaint,
        }
    }
}
