//! Clients: tabs that come, ask, play, upload, misbehave and go.

use greenroom_director::{ClientKey, ConnectionId, Event, Intent, Mode, Source, TrackId};

use crate::{chance::Chance, faults::Faults};

/// Where a client's connection is, as far as the client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    Away,
    Greeting,
    Proceeding,
    Body(Intent),
    Asked,
    Closing,
}

/// One client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) key: Option<ClientKey>,
    pub(crate) connection: ConnectionId,
    pub(crate) stand: Stand,
    intent: Intent,
}

const MODES: [Mode; 4] = [Mode::Full, Mode::Plain, Mode::Vocals, Mode::Instruments];

impl Client {
    pub(crate) fn new(key: Option<ClientKey>) -> Self {
        Self {
            key,
            connection: ConnectionId(0),
            stand: Stand::Away,
            intent: Intent::Session,
        }
    }

    pub(crate) fn intent(&self) -> Intent {
        self.intent
    }

    /// What it does next.
    pub(crate) fn act(
        &mut self,
        chance: &mut Chance,
        faults: &Faults,
        tracks: &[TrackId],
        ids: &mut Ids,
    ) -> Option<Event> {
        let connection = self.connection;
        if self.stand != Stand::Away && chance.permille(faults.client_vanishes / 4 + 5) {
            self.stand = Stand::Away;
            return Some(Event::ConnectionGone { connection });
        }
        match self.stand {
            Stand::Away => {
                self.connection = ids.connection();
                self.intent = if chance.permille(400) {
                    Intent::Upload
                } else {
                    Intent::Session
                };
                self.stand = Stand::Greeting;
                Some(Event::HandshakeOpened {
                    connection: self.connection,
                })
            }
            Stand::Greeting | Stand::Body(_) if chance.permille(faults.client_silent) => None,
            Stand::Greeting => {
                self.stand = Stand::Proceeding;
                let bytes = chance.between(0, 60 << 20);
                Some(Event::HandshakeDeclared {
                    connection,
                    intent: self.intent,
                    bytes,
                })
            }
            Stand::Body(Intent::Upload) => {
                self.stand = Stand::Asked;
                Some(Event::UploadAsked {
                    connection,
                    track: ids.track(),
                })
            }
            Stand::Body(Intent::Session) => {
                self.stand = Stand::Asked;
                let (source, mode) = source(chance, tracks, ids);
                Some(Event::SessionAsked {
                    connection,
                    client: self.key,
                    source,
                    mode,
                })
            }
            Stand::Asked if self.intent == Intent::Session => Some(self.play(chance, faults, tracks, ids)),
            Stand::Proceeding | Stand::Asked | Stand::Closing => None,
        }
    }

    fn play(&self, chance: &mut Chance, faults: &Faults, tracks: &[TrackId], ids: &mut Ids) -> Event {
        let connection = self.connection;
        if chance.permille(faults.client_stalls) {
            return Event::ClientStuck { connection };
        }
        match chance.between(0, 9) {
            0..=3 => {
                let (source, mode) = source(chance, tracks, ids);
                Event::SwapAsked {
                    connection,
                    source,
                    mode,
                }
            }
            4 | 5 => Event::PromptAsked { connection },
            6 => Event::Playing {
                connection,
                wanted: chance.permille(500),
            },
            7 => Event::Playing {
                connection,
                wanted: true,
            },
            _ => Event::ClientMoving { connection },
        }
    }
}

fn source(chance: &mut Chance, tracks: &[TrackId], ids: &mut Ids) -> (Source, Mode) {
    let mode = chance.pick(&MODES).copied().unwrap_or(Mode::Plain);
    let source = if chance.permille(600) {
        chance.pick(tracks).map(|track| Source::Track(*track))
    } else {
        None
    };
    (source.unwrap_or_else(|| Source::Sent(ids.track())), mode)
}

/// Numbers that the driver gives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids {
    connections: u64,
    tracks: u64,
}

impl Ids {
    pub(crate) fn connection(&mut self) -> ConnectionId {
        self.connections += 1;
        ConnectionId(self.connections)
    }

    pub(crate) fn track(&mut self) -> TrackId {
        self.tracks += 1;
        TrackId(self.tracks)
    }
}
