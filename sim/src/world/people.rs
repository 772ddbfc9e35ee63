//! What clients do, and what becomes of their connections.

use greenroom_director::{Close, ConnectionId, Event, Failure, Moment, Source, Span, TrackId};

use super::{ACTS, Chance, Deed, Fault, Mark, RHYTHMS, SOCKETS, Stand, Thing, Violation, World};
use crate::clients::Act;

/// A pause in reading that is shorter than the limit, with room for a clock that jumps a little.
const PAUSE_MAX: u64 = 15_000_000;

impl World {
    pub(super) fn act(&mut self, number: u8) -> Result<(), Violation> {
        let index = usize::from(number);
        if self.healing {
            return Ok(());
        }
        if self.clients[index].stand == Stand::Away && self.now < self.clients[index].not_before {
            let at = self.clients[index].not_before;
            self.queue.add(at, Thing::Act(number));
            return Ok(());
        }
        let wait = self.rhythm(number);
        self.soon(wait, Thing::Act(number));
        let client = &mut self.clients[index];
        client.acts += 1;
        let deed = Deed {
            actor: number,
            number: client.acts,
        };
        let mut chance = Chance::apart(self.seed, ACTS + u64::from(number), u64::from(client.acts));
        if !self.does(deed) {
            return Ok(());
        }
        let client = &mut self.clients[index];
        let connection = client.connection;
        match client.act(&mut chance, &self.faults, &self.tracks, &mut self.ids) {
            Act::Nothing => Ok(()),
            Act::Tell(event) => {
                let brought = brought(&event);
                self.tell(event)?;
                // Plain audio says at once how long it is; of a compressed file phase 1 finds out.
                brought
                    .filter(|track| track.0.is_multiple_of(2))
                    .map_or(Ok(()), |track| self.measure(track))
            }
            Act::Vanish => self.go(connection),
            Act::FallSilent => {
                let live = client.stand == Stand::Live;
                client.stand = Stand::HalfOpen;
                if live {
                    self.soon(Span(chance.between(200_000, 3_000_000)), Thing::Stuck(connection));
                }
                Ok(())
            }
            Act::ReadSlowly => {
                self.soon(Span(chance.between(500_000, PAUSE_MAX)), Thing::Moves(connection));
                self.get_stuck(connection)
            }
        }
    }

    /// How long a client takes until it does something again; tabs of one client may keep the same rhythm.
    pub(super) fn rhythm(&self, number: u8) -> Span {
        let client = &self.clients[usize::from(number)];
        let mut chance = self.chance(RHYTHMS + client.rhythm, u64::from(client.acts));
        Span(match client.stand {
            Stand::Live => chance.between(10_000, 900_000),
            _ => chance.between(1_000, 300_000),
        })
    }

    pub(super) fn get_stuck(&mut self, connection: ConnectionId) -> Result<(), Violation> {
        if self.gone.contains(&connection) || self.stuck.iter().any(|(other, _)| *other == connection) {
            return Ok(());
        }
        self.stuck.push((connection, self.now));
        self.tell(Event::ClientStuck { connection })?;
        // Counted by the clock that the director is shown.
        let shown = self.shown;
        if let Some((_, since)) = self.stuck.iter_mut().find(|(other, _)| *other == connection) {
            *since = shown;
        }
        Ok(())
    }

    pub(super) fn move_again(&mut self, connection: ConnectionId) -> Result<(), Violation> {
        let half_open =
            |client: &crate::clients::Client| client.connection == connection && client.stand == Stand::HalfOpen;
        if self.gone.contains(&connection) || self.clients.iter().any(half_open) {
            return Ok(());
        }
        let before = self.stuck.len();
        self.stuck.retain(|(other, _)| *other != connection);
        if self.stuck.len() < before && self.onlooker.is_live(connection) {
            self.marks.hit(Mark::SlowReaderSpared);
        }
        self.tell(Event::ClientMoving { connection })
    }

    /// A tick found no memory: the session is refused by the driver, and its client hears of it and closes.
    pub(super) fn tick_failed(&mut self, connection: ConnectionId) -> Result<(), Violation> {
        if self.gone.contains(&connection) {
            return Ok(());
        }
        self.soon(Span::milliseconds(50), Thing::Gone(connection));
        self.tell(Event::Playing {
            connection,
            wanted: false,
        })
    }

    pub(super) fn go(&mut self, connection: ConnectionId) -> Result<(), Violation> {
        if !self.gone.insert(connection) {
            return Ok(());
        }
        self.stuck.retain(|(other, _)| *other != connection);
        let mut chance = self.chance(SOCKETS, connection.0 ^ (1 << 40));
        let lost_close = self.strikes(&mut chance, Fault::LostClose);
        for client in self.clients.iter_mut().filter(|client| client.connection == connection) {
            if client.preempted && lost_close {
                self.marks.hit(Mark::LostClose);
            }
            client.gone(self.now, &mut chance, lost_close);
        }
        self.tell(Event::ConnectionGone { connection })
    }

    pub(super) fn proceed(&mut self, connection: ConnectionId) {
        for client in self.clients.iter_mut().filter(|client| client.connection == connection) {
            if client.stand == Stand::Proceeding {
                client.stand = Stand::Body(client.intent);
            }
        }
    }

    pub(super) fn ready(&mut self, connection: ConnectionId) {
        for client in self.clients.iter_mut().filter(|client| client.connection == connection) {
            if client.stand != Stand::HalfOpen {
                client.ready();
            } else {
                self.queue.add(self.now + Span::seconds(1), Thing::Stuck(connection));
            }
        }
    }

    /// A close with a code: a slow reader must not be taken for a dead one.
    pub(super) fn close(&mut self, connection: ConnectionId, code: Close) -> Result<(), Violation> {
        if code == Close::Stalled {
            let since = self
                .stuck
                .iter()
                .find(|(other, _)| *other == connection)
                .map(|(_, since)| *since);
            if since.is_none_or(|since| self.shown.since(since) < self.plan.times.stall) {
                return Err(Violation::Safety(format!(
                    "{connection:?} is closed as stalled, and was stuck since {since:?} at {:?}",
                    self.shown
                )));
            }
            let half_open =
                |client: &crate::clients::Client| client.connection == connection && client.stand == Stand::HalfOpen;
            if self.clients.iter().any(half_open) {
                self.marks.hit(Mark::HalfOpenReaped);
            }
        }
        for client in self.clients.iter_mut().filter(|client| client.connection == connection) {
            client.preempted = code == Close::Preempted;
        }
        self.closing(connection);
        Ok(())
    }

    pub(super) fn closing(&mut self, connection: ConnectionId) {
        // An answer to somebody who has left already reaches nobody.
        if self.gone.contains(&connection) {
            return;
        }
        let mut answers = true;
        for client in self.clients.iter_mut().filter(|client| client.connection == connection) {
            answers = client.stand != Stand::HalfOpen;
            if answers {
                client.stand = Stand::Closing;
            }
        }
        let mut chance = self.chance(SOCKETS, connection.0 ^ (1 << 41));
        if answers && !self.strikes(&mut chance, Fault::Wedged) {
            let wait = Span(chance.between(0, 100_000));
            self.soon(wait, Thing::Gone(connection));
        }
    }

    /// Connections that have not been told to end since `at`, for the healing: whoever is wedged or gone is let go.
    pub(super) fn let_go(&mut self, at: Moment) {
        for client in &self.clients {
            if matches!(client.stand, Stand::Closing) {
                self.queue.add(at, Thing::Gone(client.connection));
            }
        }
    }

    /// A connection that never was one: no first frame, and away.
    pub(super) fn garbage(&mut self) -> Result<(), Violation> {
        self.onlooker.garbage(&mut self.marks);
        let connection = self.ids.connection();
        self.tell(Event::HandshakeOpened { connection })?;
        self.tell(Event::ConnectionGone { connection })
    }

    /// What the driver refuses by itself (a tick without memory) is out of memory or the device's loss.
    pub(super) fn refused_tick(&mut self, connection: ConnectionId, failure: Failure) {
        if failure == Failure::DeviceLost {
            self.soon(Span(0), Thing::LossSeen);
        } else {
            self.soon(Span::milliseconds(5), Thing::TickFailed(connection));
        }
    }
}

/// The track that comes with an event.
fn brought(event: &Event) -> Option<TrackId> {
    match event {
        Event::UploadAsked { track, .. }
        | Event::SessionAsked {
            source: Source::Sent(track),
            ..
        }
        | Event::SwapAsked {
            source: Source::Sent(track),
            ..
        } => Some(*track),
        _ => None,
    }
}
