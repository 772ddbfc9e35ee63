//! Clients: tabs that come, ask, play, upload, misbehave and go.

use greenroom_director::{ClientKey, ConnectionId, Event, Intent, Mode, Moment, ReferenceKind, Source, Span, TrackId};

use crate::{
    chance::Chance,
    faults::{Fault, Faults},
};

/// Where a client's connection is, as far as the client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    Away,
    Greeting,
    Proceeding,
    Body(Intent),
    Asked,
    Live,
    Closing,
    /// Its network went away without a packet.
    HalfOpen,
}

/// Reconnects that a page tries before it leaves it to its user (DEMON #132).
const ATTEMPTS_MAX: u32 = 5;

/// One client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) key: Option<ClientKey>,
    pub(crate) connection: ConnectionId,
    pub(crate) stand: Stand,
    pub(crate) intent: Intent,
    /// It was told 4001: it does not come back by itself.
    pub(crate) preempted: bool,
    /// When it may next connect.
    pub(crate) not_before: Moment,
    /// Whose rhythm it keeps: its own, or that of the tab it doubles.
    pub(crate) rhythm: u64,
    attempts: u32,
    /// Acts so far.
    pub(crate) acts: u32,
}

const MODES: [Mode; 5] = [
    Mode::Full,
    Mode::Plain,
    Mode::Vocals,
    Mode::Instruments,
    Mode::Instruments,
];

/// What a client does.
pub(crate) enum Act {
    Nothing,
    Tell(Event),
    Vanish,
    /// The network goes away without a packet.
    FallSilent,
    /// It reads nothing for a while, and then goes on.
    ReadSlowly,
}

impl Client {
    pub(crate) fn new(key: Option<ClientKey>, rhythm: u64) -> Self {
        Self {
            key,
            connection: ConnectionId(0),
            stand: Stand::Away,
            intent: Intent::Session,
            preempted: false,
            not_before: Moment(0),
            rhythm,
            attempts: 0,
            acts: 0,
        }
    }

    /// What it does next.
    pub(crate) fn act(&mut self, chance: &mut Chance, faults: &Faults, tracks: &[TrackId], ids: &mut Ids) -> Act {
        let connection = self.connection;
        let reachable = !matches!(self.stand, Stand::Away | Stand::HalfOpen);
        if reachable && chance.permille(faults.weight(Fault::Vanishes)) {
            return Act::Vanish;
        }
        if reachable && self.stand != Stand::Closing && chance.permille(faults.weight(Fault::HalfOpen)) {
            return Act::FallSilent;
        }
        if reachable && chance.permille(faults.weight(Fault::Garbage)) {
            return Act::Tell(self.garbage(chance, ids));
        }
        match self.stand {
            Stand::Away => {
                self.connection = ids.connection();
                self.intent = if chance.permille(350) {
                    Intent::Upload
                } else {
                    Intent::Session
                };
                self.stand = Stand::Greeting;
                self.preempted = false;
                Act::Tell(Event::HandshakeOpened {
                    connection: self.connection,
                })
            }
            Stand::Greeting | Stand::Body(_) if chance.permille(faults.weight(Fault::Silent)) => Act::Nothing,
            Stand::Greeting => {
                self.stand = Stand::Proceeding;
                let bytes = chance.between(0, 60 << 20);
                Act::Tell(Event::HandshakeDeclared {
                    connection,
                    intent: self.intent,
                    bytes,
                })
            }
            Stand::Body(Intent::Upload) => {
                self.stand = Stand::Asked;
                Act::Tell(Event::UploadAsked {
                    connection,
                    track: ids.track(),
                })
            }
            Stand::Body(Intent::Session) => {
                self.stand = Stand::Asked;
                let (source, mode) = source(chance, tracks, ids);
                Act::Tell(Event::SessionAsked {
                    connection,
                    client: self.key,
                    source,
                    mode,
                })
            }
            Stand::Live => self.play(chance, faults, tracks, ids),
            Stand::Proceeding | Stand::Asked | Stand::Closing | Stand::HalfOpen => Act::Nothing,
        }
    }

    fn play(&self, chance: &mut Chance, faults: &Faults, tracks: &[TrackId], ids: &mut Ids) -> Act {
        let connection = self.connection;
        if chance.permille(faults.weight(Fault::SlowReader)) {
            return Act::ReadSlowly;
        }
        Act::Tell(match chance.between(0, 11) {
            0..=4 => {
                let (source, mode) = source(chance, tracks, ids);
                Event::SwapAsked {
                    connection,
                    source,
                    mode,
                }
            }
            5..=7 => Event::PromptAsked { connection },
            8..=9 => Event::ReferenceAsked {
                connection,
                kind: chance.pick(&ReferenceKind::ALL).unwrap_or(ReferenceKind::Timbre),
                source: chance.permille(750).then(|| source(chance, tracks, ids).0),
            },
            _ => Event::Playing {
                connection,
                wanted: chance.permille(700),
            },
        })
    }

    /// What no well-behaved page sends.
    fn garbage(&self, chance: &mut Chance, ids: &mut Ids) -> Event {
        let connection = self.connection;
        match chance.between(0, 5) {
            0 => Event::HandshakeOpened { connection },
            1 => Event::HandshakeDeclared {
                connection,
                intent: self.intent,
                bytes: u64::MAX,
            },
            2 => Event::UploadAsked {
                connection,
                track: ids.track(),
            },
            3 => Event::SwapAsked {
                connection,
                source: Source::Track(TrackId(u64::MAX)),
                mode: Mode::Vocals,
            },
            4 => Event::PromptAsked {
                connection: ConnectionId(u64::MAX),
            },
            _ => Event::ClientMoving { connection },
        }
    }

    /// Its socket is closed: when it comes back, if it does by itself.
    pub(crate) fn gone(&mut self, now: Moment, chance: &mut Chance, lost_close: bool) {
        self.stand = Stand::Away;
        let told = std::mem::take(&mut self.preempted) && !lost_close;
        let wait = if told || self.attempts >= ATTEMPTS_MAX {
            // Its user has to press the button.
            self.attempts = 0;
            Span(chance.between(3_000_000, 25_000_000))
        } else {
            // Full jitter: up to half a second, doubled with each try, four at most.
            let longest = (500_000_u64 << self.attempts.min(3)).min(4_000_000);
            self.attempts += 1;
            Span(chance.between(0, longest))
        };
        self.not_before = now + wait;
    }

    /// It plays.
    pub(crate) fn ready(&mut self) {
        self.stand = Stand::Live;
        self.attempts = 0;
    }
}

fn source(chance: &mut Chance, tracks: &[TrackId], ids: &mut Ids) -> (Source, Mode) {
    let mode = chance.pick(&MODES).unwrap_or(Mode::Plain);
    let source = if chance.permille(700) {
        chance.pick(tracks).map(Source::Track)
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
