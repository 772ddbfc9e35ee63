//! What must be so at rest, and between two events.

use greenroom_director::{ClientKey, Event, Intent, Mode, Source, Span};

use super::{Violation, World};

/// A visitor to a pod that has healed is live, and has its stems, after so long.
const VISIT: Span = Span::seconds(120);

impl World {
    /// Nothing armed and nothing to do while something is owed: nobody would ever come back to it.
    pub(super) fn not_stranded(&self) -> Result<(), Violation> {
        if self.director.is_at_rest() || self.queue.awaits() {
            return Ok(());
        }
        Err(Violation::Liveness(format!(
            "nothing is armed and nothing under way, and this is owed: {:?}",
            self.director.unfinished()
        )))
    }

    /// Invariants 4 and 7: the ledger is what the device holds.
    pub(super) fn account(&mut self) -> Result<(), Violation> {
        if let Some(record) = &mut self.record {
            let (resident, workspace) = self.device.bytes();
            record.bytes(self.now, resident + workspace);
        }
        let ledger = self.director.ledger_bytes();
        self.device.compare(ledger).map_err(Violation::Leak)
    }

    /// Nothing is owed to anybody, and nothing lies about.
    pub(super) fn at_rest(&self, when: &str) -> Result<(), Violation> {
        let unfinished = self.director.unfinished();
        if !unfinished.is_empty() {
            return Err(Violation::Liveness(format!(
                "{when}, still unfinished: {unfinished:?}; armed: {:?}",
                self.director.armed()
            )));
        }
        match self.director.seat() {
            Some((_, state)) if state != "Live" => {
                return Err(Violation::Liveness(format!("{when}, the seat is stuck: {state}")));
            }
            Some(_) if !self.director.owing().is_empty() => {
                let owing = self.director.owing();
                return Err(Violation::Liveness(format!(
                    "{when}, stems are owed and never told: {owing:?}"
                )));
            }
            _ => {}
        }
        let strays = self.disk.strays(&self.director.tracks_on_disk());
        if !strays.is_empty() {
            return Err(Violation::Leak(format!(
                "{when}, files that no manifest names: {strays:?}"
            )));
        }
        let live = self.director.seat().map(|(connection, _)| connection);
        let open = self
            .director
            .connections()
            .find(|(connection, _)| Some(*connection) != live);
        match open {
            Some(connection) => Err(Violation::Leak(format!(
                "{when}, a connection nobody closes: {connection:?}"
            ))),
            None => Ok(()),
        }
    }

    /// Whatever happened: somebody who comes now is served, stems and all, without a restart.
    pub(super) fn visit(&mut self) -> Result<(), Violation> {
        let connection = self.ids.connection();
        let (client, source) = (Some(ClientKey(u64::MAX)), Source::Sent(self.ids.track()));
        let (mode, intent, bytes) = (Mode::Full, Intent::Session, 1);
        self.tell(Event::HandshakeOpened { connection })?;
        self.tell(Event::HandshakeDeclared {
            connection,
            intent,
            bytes,
        })?;
        self.tell(Event::SessionAsked {
            connection,
            client,
            source,
            mode,
        })?;
        self.until(self.now + VISIT)?;
        if self.director.seat() != Some((connection, "Live")) {
            let seat = self.director.seat();
            return Err(Violation::Liveness(format!(
                "a visitor to the healed pod is not served: {seat:?}"
            )));
        }
        self.at_rest("after a visit")
    }
}
