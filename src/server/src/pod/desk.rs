//! One desk a connection: its outbox, and what it left beside its events until somebody needs it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use greenroom_director::{ConnectionId, Failure, TrackId};
use greenroom_generator::{Prompt, Walk};
use greenroom_sync::Latest;
use greenroom_wire::http::LoraEntry;

use super::{
    deposit::{Params, SessionDeposit, SwapDeposit, Wants},
    outbox::{Ending, Outbox, Outgoing, Playback, Refusal},
};

/// Swap requests kept a session: one plays, one is in hand, one waits; an older one was superseded.
const SWAPS_MAX: usize = 4;

/// The desks of all connections.
#[derive(Debug, Default)]
pub(super) struct Desks {
    desks: Mutex<BTreeMap<ConnectionId, Desk>>,
}

#[derive(Debug)]
struct Desk {
    outbox: Outbox,
    session: Option<SessionDeposit>,
    swaps: VecDeque<SwapDeposit>,
    prompt: Option<Prompt>,
    params: Latest<Params>,
    /// What the live thread has opened or swapped to and nobody has announced yet.
    playback: Option<Playback>,
    /// The LoRAs as the stream was opened with them.
    loras: Vec<LoraEntry>,
    /// Tags of the prompt that was encoded last.
    tags_applied: String,
    /// Better words for the next refusal than its code has.
    explanation: Option<Refusal>,
}

impl Desks {
    pub(super) fn register(&self, connection: ConnectionId, outbox: Outbox) {
        let desk = Desk {
            outbox,
            session: None,
            swaps: VecDeque::new(),
            prompt: None,
            params: Latest::new(),
            playback: None,
            loras: Vec::new(),
            tags_applied: String::new(),
            explanation: None,
        };
        self.lock().insert(connection, desk);
    }

    /// Forgets a connection that has gone.
    pub(super) fn remove(&self, connection: ConnectionId) {
        self.lock().remove(&connection);
    }

    /// Queues something for a connection; nothing happens where it has gone.
    pub(super) fn send(&self, connection: ConnectionId, outgoing: Outgoing) {
        if let Some(desk) = self.lock().get(&connection) {
            desk.outbox.send(outgoing);
        }
    }

    /// Queues what the next of its kind makes old; a slow client gets fewer of it.
    pub(super) fn send_news(&self, connection: ConnectionId, outgoing: Outgoing) {
        if let Some(desk) = self.lock().get(&connection) {
            desk.outbox.send_news(outgoing);
        }
    }

    /// Ends a connection ahead of everything that waits.
    pub(super) fn end(&self, connection: ConnectionId, ending: Ending) {
        if let Some(desk) = self.lock().get(&connection) {
            desk.outbox.end(ending);
        }
    }

    pub(super) fn deposit_session(&self, connection: ConnectionId, deposit: SessionDeposit) {
        self.at(connection, |desk| desk.session = Some(deposit));
    }

    pub(super) fn session(&self, connection: ConnectionId) -> Option<SessionDeposit> {
        self.lock().get(&connection).and_then(|desk| desk.session.clone())
    }

    /// How the connection's session walks through long sources, if it has one and does.
    pub(super) fn walk(&self, connection: ConnectionId) -> Option<Walk> {
        self.lock()
            .get(&connection)
            .and_then(|desk| desk.session.as_ref()?.settings.walk)
    }

    /// What the client asked for beyond the old protocol.
    pub(super) fn wants(&self, connection: ConnectionId) -> Wants {
        self.lock()
            .get(&connection)
            .and_then(|desk| desk.session.as_ref())
            .map(|session| session.wants)
            .unwrap_or_default()
    }

    /// The sessions that asked for `vram` messages.
    pub(super) fn vram_watchers(&self) -> Vec<ConnectionId> {
        let wants = |desk: &Desk| desk.session.as_ref().is_some_and(|session| session.wants.vram);
        self.lock()
            .iter()
            .filter(|(_, desk)| wants(desk))
            .map(|(connection, _)| *connection)
            .collect()
    }

    pub(super) fn deposit_swap(&self, connection: ConnectionId, deposit: SwapDeposit) {
        self.at(connection, |desk| {
            if desk.swaps.len() == SWAPS_MAX {
                desk.swaps.pop_front();
            }
            desk.swaps.push_back(deposit);
        });
    }

    /// The newest request to swap to that track; stays until newer ones push it out, for the answer needs it again.
    pub(super) fn swap(&self, connection: ConnectionId, track: TrackId) -> Option<SwapDeposit> {
        self.lock()
            .get(&connection)
            .and_then(|desk| desk.swaps.iter().rev().find(|swap| swap.track == track).cloned())
    }

    pub(super) fn deposit_prompt(&self, connection: ConnectionId, prompt: Prompt) {
        self.at(connection, |desk| desk.prompt = Some(prompt));
    }

    /// Puts a prompt back that was taken and not encoded, unless a newer one came.
    pub(super) fn return_prompt(&self, connection: ConnectionId, prompt: Prompt) {
        self.at(connection, |desk| {
            desk.prompt.get_or_insert(prompt);
        });
    }

    pub(super) fn set_playback(&self, connection: ConnectionId, playback: Playback) {
        self.at(connection, |desk| desk.playback = Some(playback));
    }

    pub(super) fn take_playback(&self, connection: ConnectionId) -> Option<Playback> {
        self.lock().get_mut(&connection).and_then(|desk| desk.playback.take())
    }

    pub(super) fn set_loras(&self, connection: ConnectionId, loras: Vec<LoraEntry>) {
        self.at(connection, |desk| desk.loras = loras);
    }

    pub(super) fn take_loras(&self, connection: ConnectionId) -> Vec<LoraEntry> {
        let mut desks = self.lock();
        let desk = desks.get_mut(&connection);
        desk.map(|desk| std::mem::take(&mut desk.loras)).unwrap_or_default()
    }

    pub(super) fn set_tags_applied(&self, connection: ConnectionId, tags: String) {
        self.at(connection, |desk| desk.tags_applied = tags);
    }

    pub(super) fn tags_applied(&self, connection: ConnectionId) -> String {
        self.lock()
            .get(&connection)
            .map(|desk| desk.tags_applied.clone())
            .unwrap_or_default()
    }

    pub(super) fn newest_prompt(&self, connection: ConnectionId) -> Option<Prompt> {
        self.lock().get_mut(&connection).and_then(|desk| desk.prompt.take())
    }

    pub(super) fn set_params(&self, connection: ConnectionId, params: Params) {
        if let Some(cell) = self.params(connection) {
            // The newest of each knob wins; one that is not said again stays where it was turned to.
            cell.merge(|waiting| match waiting {
                None => params,
                Some(mut waiting) => {
                    waiting.knobs.extend(params.knobs);
                    waiting.playback_pos_s = params.playback_pos_s.or(waiting.playback_pos_s);
                    waiting
                }
            });
        }
    }

    /// The cell of a session's newest parameters.
    pub(super) fn params(&self, connection: ConnectionId) -> Option<Latest<Params>> {
        self.lock().get(&connection).map(|desk| desk.params.clone())
    }

    /// Keeps words for a refusal that the director will ask for.
    pub(super) fn explain(&self, connection: ConnectionId, refusal: Refusal) {
        self.at(connection, |desk| desk.explanation = Some(refusal));
    }

    /// The words kept for this failure, or its plain ones.
    pub(super) fn refusal(&self, connection: ConnectionId, failure: Failure) -> Refusal {
        let kept = self
            .lock()
            .get_mut(&connection)
            .and_then(|desk| desk.explanation.take());
        kept.filter(|refusal| refusal.failure == failure)
            .unwrap_or_else(|| Refusal::plain(failure))
    }

    fn at(&self, connection: ConnectionId, change: impl FnOnce(&mut Desk)) {
        if let Some(desk) = self.lock().get_mut(&connection) {
            change(desk);
        }
    }

    /// Every change here is whole before anything can panic, so a poisoned lock guards whole data.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Desk>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
