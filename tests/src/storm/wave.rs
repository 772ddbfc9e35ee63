//! One wave: everybody comes at once, and whoever has the seat in the end is asked whether it is really served.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet};

use super::{
    misfits,
    plan::{self, Behaviour, Guest},
    scene::Scene,
    session::{self, Ended, Seeker},
    verdict::{End, Visit, judge},
};
use crate::Client;

/// How long the pod keeps an evicted client out that may not have heard of it, and a while more.
const HOLD: Duration = Duration::from_secs(35);
/// How long a client that reads nothing goes on with that.
const WEDGED: Duration = Duration::from_millis(1_200);
/// A hang guard: a wave in which more than one client stays for so long is judged as it is.
const PATIENCE: Duration = Duration::from_secs(60);
/// Tries of the client that comes after a wave without a survivor.
const LATE_TRIES: u32 = 10;

/// What all waves came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) preempted: u64,
    pub(super) dropped: u64,
    pub(super) outside: u64,
    pub(super) over: u64,
    pub(super) uploads: u64,
    pub(super) without_survivor: u64,
    /// Against the rule of the seat.
    pub(super) wrong: Vec<String>,
    /// Against the protocol otherwise.
    pub(super) complaints: Vec<String>,
}

/// A storm that goes on: who has the seat, and who may not know that it has lost it.
pub(super) struct Storm {
    pub(super) scene: Arc<Scene>,
    pub(super) tally: Tally,
    pub(super) seed: u64,
    incumbent: Option<Seeker>,
    unheard: BTreeMap<String, Instant>,
}

/// What a task of a wave reports.
enum Outcome {
    Sought(Box<Ended>),
    Misfit(anyhow::Result<misfits::Seen>),
}

impl Storm {
    pub(super) fn new(scene: Arc<Scene>, seed: u64) -> Self {
        Self {
            scene,
            tally: Tally::default(),
            seed,
            incumbent: None,
            unheard: BTreeMap::new(),
        }
    }

    /// Lets a wave of clients in, and judges what they saw.
    ///
    /// # Errors
    /// If the pod is gone.
    pub(super) async fn wave(&mut self, number: u64, clients: usize) -> anyhow::Result<()> {
        let guests = plan::wave(self.seed, number, clients);
        let (settle, over) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut staying = 0;
        if let Some(incumbent) = self.incumbent.take() {
            let mut over = over.clone();
            tasks.spawn(async move { Ok(Outcome::Sought(Box::new(incumbent.stay(&mut over).await))) });
            staying += 1;
        }
        for guest in guests {
            if guest.behaviour == Behaviour::Wedge {
                self.unheard.insert(guest.client_id.clone(), Instant::now() + WEDGED);
            }
            staying += usize::from(matches!(guest.behaviour, Behaviour::Stay { .. }));
            tasks.spawn(come(Arc::clone(&self.scene), guest, over.clone()));
        }
        let mut ended = Vec::new();
        let stuck = tokio::time::sleep(PATIENCE);
        tokio::pin!(stuck);
        loop {
            // The last that stays must show that it is served; so must, after a long while, whoever is still there.
            if tasks.len() <= 1 && staying <= 1 {
                settle.send_replace(true);
            }
            let joined = tokio::select! {
                joined = tasks.join_next() => joined,
                () = &mut stuck, if !*settle.borrow() => {
                    settle.send_replace(true);
                    continue;
                }
            };
            match joined {
                None => break,
                Some(report) => match report?? {
                    Outcome::Sought(one) => {
                        staying -= usize::from(one.stays);
                        ended.push(*one);
                    }
                    Outcome::Misfit(Ok(seen)) => self.tally.uploads += u64::from(seen.uploaded),
                    Outcome::Misfit(Err(error)) => self.tally.complaints.push(format!("wave {number}: {error:#}")),
                },
            }
        }
        self.conclude(number, ended);
        if self.incumbent.is_none() {
            self.tally.without_survivor += 1;
            self.late_comer(number).await?;
        }
        Ok(())
    }
    /// The seat goes to somebody who comes alone.
    async fn late_comer(&mut self, number: u64) -> anyhow::Result<()> {
        let (_settled, mut over) = watch::channel(true);
        for attempt in 0..LATE_TRIES {
            let guest = Guest {
                behaviour: Behaviour::Stay {
                    pace_ms: 0,
                    chatter: false,
                },
                client_id: format!("late-{number}-{attempt}"),
                delay_ms: 0,
                seed: self.seed,
            };
            let one = session::visit(&self.scene, &guest, 0, false, None, &mut over).await?;
            self.conclude(number, vec![one]);
            if self.incumbent.is_some() {
                return Ok(());
            }
        }
        let words = format!("wave {number}: nobody gets the seat, though nobody has it");
        self.tally.wrong.push(words);
        Ok(())
    }

    /// Takes in how everybody ended, and judges it.
    fn conclude(&mut self, number: u64, ended: Vec<Ended>) {
        self.unheard.retain(|_, since| since.elapsed() < HOLD);
        let mut visits = Vec::new();
        for one in ended {
            let held = self.unheard.contains_key(&one.client_id);
            match one.end {
                End::Live | End::Mute => {}
                End::Preempted => self.tally.preempted += 1,
                End::Dropped => self.tally.dropped += 1,
                End::Over => self.tally.over += 1,
                End::Outside => self.tally.outside += 1,
            }
            if let Some(words) = one.complaint {
                self.tally.complaints.push(format!("wave {number}: {words}"));
            }
            if one.survivor.is_some() {
                self.incumbent = one.survivor;
            }
            visits.push(Visit {
                order: one.order,
                client_id: one.client_id,
                held,
                end: one.end,
            });
        }
        for visit in visits.iter().filter(|visit| visit.end == End::Dropped) {
            self.unheard.insert(visit.client_id.clone(), Instant::now());
        }
        let wrong = judge(&visits);
        if !wrong.is_empty() {
            self.tally
                .wrong
                .extend(wrong.into_iter().map(|words| format!("wave {number}: {words}")));
        }
    }

    /// Everybody leaves; somebody whom nobody knows comes and leaves, so that nothing of the others is kept for their return. Where the pod `rips`,
    /// it stays until the stems of its own audio are there: the separator has then been on the device, in the beginning as in the end.
    ///
    /// # Errors
    /// If the pod is gone.
    pub(super) async fn clear(&mut self, number: u64, rips: bool) -> anyhow::Result<()> {
        if let Some(incumbent) = self.incumbent.take() {
            incumbent.client.vanish(number.is_multiple_of(2));
        }
        self.late_comer(number).await?;
        if let Some(mut stranger) = self.incumbent.take() {
            if rips {
                stranger.hear_of_stems().await?;
            }
            stranger.client.close().await?;
        }
        Ok(())
    }
}

/// One guest, from its connection to its end.
async fn come(scene: Arc<Scene>, guest: Guest, mut over: watch::Receiver<bool>) -> anyhow::Result<Outcome> {
    match guest.behaviour {
        Behaviour::Stay { pace_ms, chatter } => {
            let ended = session::visit(&scene, &guest, pace_ms, chatter, None, &mut over).await?;
            Ok(Outcome::Sought(Box::new(ended)))
        }
        Behaviour::Leave { after_ms } => {
            let after = Duration::from_millis(after_ms);
            let ended = session::visit(&scene, &guest, 0, false, Some(after), &mut over).await?;
            Ok(Outcome::Sought(Box::new(ended)))
        }
        Behaviour::Wedge => Ok(Outcome::Sought(Box::new(wedge(&scene, &guest).await?))),
        _ => {
            let (stream, _) = scene.door.enter(true).await?;
            tokio::time::sleep(Duration::from_millis(guest.delay_ms)).await;
            Ok(Outcome::Misfit(misfits::misbehave(&scene, &guest, stream).await))
        }
    }
}

/// A whole handshake, and from there on nothing is read, though the client goes on talking.
async fn wedge(scene: &Scene, guest: &Guest) -> anyhow::Result<Ended> {
    let (stream, order) = scene.door.enter(false).await?;
    let mut client = Client::over(stream).await;
    if let Ok(client) = &mut client {
        let talk = async {
            client.text(&session::config(&guest.client_id)).await?;
            client.binary(scene.frame.to_vec()).await?;
            loop {
                client.text(&session::params(0.5)).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Ends by the clock, or because the pod has dropped it.
        let _: Result<anyhow::Result<()>, _> = tokio::time::timeout(WEDGED, talk).await;
    }
    if let Ok(client) = client {
        client.vanish(true);
    }
    Ok(Ended {
        order,
        client_id: guest.client_id.clone(),
        end: End::Over,
        stays: false,
        survivor: None,
        complaint: None,
    })
}
