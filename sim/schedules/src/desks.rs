//! What clients hear, and what they must never hear.

use std::collections::{BTreeMap, BTreeSet};

use greenroom_director::{Close, ConnectionId, Effect, StemsAtHand, TrackId};
use greenroom_sync::Mailbox;

/// The ways to the clients, and a record of what they were promised.
#[derive(Debug, Default)]
pub struct Desks {
    clients: BTreeMap<ConnectionId, Mailbox<Effect>>,
    /// Told that another connection took over: nothing comes after that.
    evicted: BTreeSet<ConnectionId>,
    /// How often the stems that an `upload_ok` promised were answered.
    promised: BTreeMap<TrackId, u32>,
}

impl Desks {
    /// Opens the desk of a connection whose client listens to `mailbox`.
    pub fn open(&mut self, connection: ConnectionId, mailbox: Mailbox<Effect>) {
        self.clients.insert(connection, mailbox);
    }

    /// Passes an effect on to the client that it is for.
    ///
    /// # Panics
    /// If it must not be: something after 4001, or a second answer about stems.
    pub fn pass_on(&mut self, effect: Effect) {
        self.record(&effect);
        let Some(connection) = connection_of(&effect) else {
            return;
        };
        let force = matches!(effect, Effect::ForceClose { .. });
        assert!(
            force || !self.evicted.contains(&connection),
            "{connection:?} hears {effect:?} after 4001"
        );
        if let Effect::Close {
            code: Close::Preempted, ..
        } = effect
        {
            self.evicted.insert(connection);
        }
        if let Some(client) = self.clients.get(&connection) {
            let sent = client.send(effect);
            assert!(
                sent.is_ok(),
                "a client's mailbox has room for all it can hear: {sent:?}"
            );
        }
    }

    /// Tracks whose stems were promised, with the number of answers.
    #[must_use]
    pub fn promised(&self) -> &BTreeMap<TrackId, u32> {
        &self.promised
    }

    /// Whether the client was told that another connection took over.
    #[must_use]
    pub fn is_evicted(&self, connection: ConnectionId) -> bool {
        self.evicted.contains(&connection)
    }

    /// Ends every client that still listens.
    pub fn close(&self) {
        for client in self.clients.values() {
            client.close();
        }
    }

    fn record(&mut self, effect: &Effect) {
        let answered = match effect {
            Effect::UploadOk(ack) if ack.stems_pending() => {
                self.promised.insert(ack.track(), 0);
                return;
            }
            Effect::Forget { track } => {
                // A discard is the answer where there was none yet.
                self.promised.remove(track);
                return;
            }
            Effect::PushStems { track, .. } | Effect::PushStemFailure { track, .. } => *track,
            Effect::SessionReady { track, stems, .. } | Effect::SwapReady { track, stems, .. }
                if *stems != StemsAtHand::Nothing && self.promised.get(track) == Some(&0) =>
            {
                *track
            }
            _ => return,
        };
        if let Some(answers) = self.promised.get_mut(&answered) {
            *answers += 1;
            assert_eq!(*answers, 1, "the stems of {answered:?} are answered twice");
        }
    }
}

/// Whom an effect is for.
fn connection_of(effect: &Effect) -> Option<ConnectionId> {
    match effect {
        Effect::Proceed { connection }
        | Effect::Refuse { connection, .. }
        | Effect::Close { connection, .. }
        | Effect::ForceClose { connection }
        | Effect::SessionReady { connection, .. }
        | Effect::SwapReady { connection, .. }
        | Effect::SwapFailed { connection, .. }
        | Effect::PromptApplied { connection }
        | Effect::PromptFailed { connection, .. }
        | Effect::ReferenceApplied { connection, .. }
        | Effect::ReferenceFailed { connection, .. }
        | Effect::UploadFailed { connection, .. }
        | Effect::PushStems { connection, .. }
        | Effect::PushStemFailure { connection, .. }
        | Effect::PushStemProgress { connection, .. } => Some(*connection),
        Effect::UploadOk(ack) => Some(ack.connection()),
        Effect::Start { .. }
        | Effect::Cancel { .. }
        | Effect::Lend { .. }
        | Effect::GateOpen { .. }
        | Effect::GateClose { .. }
        | Effect::Forget { .. }
        | Effect::PlacementChanged { .. }
        | Effect::Exit { .. } => None,
    }
}
