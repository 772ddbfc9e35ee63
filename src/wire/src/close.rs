//! Close codes (wire §6): no other code is ever sent.

use serde::Serialize;

/// Why a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseCode {
    /// 1000: an upload was answered, or the client ended its session.
    Done,
    /// 1001: the server is shutting down.
    GoingAway,
    /// 1008: not authorised, or the origin is not allowed.
    Refused,
    /// 1009: a frame was larger than the limit.
    TooLarge,
    /// 1011: the session could not start or broke; an `error` text came first.
    Broken,
    /// 4001: another connection took over this pod.
    Preempted,
    /// 4002: the client acknowledged nothing for too long.
    Stalled,
    /// 4003: no valid first frame in time.
    NoFirstFrame,
}

/// What a client does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reaction {
    /// Nothing more.
    Stop,
    /// Nothing more, and say why.
    StopAndSay,
    /// Connect again, with backoff.
    Reconnect,
}

impl CloseCode {
    /// Every code there is.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::GoingAway,
        Self::Refused,
        Self::TooLarge,
        Self::Broken,
        Self::Preempted,
        Self::Stalled,
        Self::NoFirstFrame,
    ];

    /// Its number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Done => 1000,
            Self::GoingAway => 1001,
            Self::Refused => 1008,
            Self::TooLarge => 1009,
            Self::Broken => 1011,
            Self::Preempted => 4001,
            Self::Stalled => 4002,
            Self::NoFirstFrame => 4003,
        }
    }

    /// The code of that number.
    #[must_use]
    pub fn numbered(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// What a client does.
    #[must_use]
    pub const fn reaction(self) -> Reaction {
        match self {
            Self::Done => Reaction::Stop,
            Self::GoingAway | Self::Broken | Self::Stalled => Reaction::Reconnect,
            Self::Refused | Self::TooLarge | Self::Preempted | Self::NoFirstFrame => Reaction::StopAndSay,
        }
    }

    /// Words for a person, also sent as the close frame's reason.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::GoingAway => "the server is shutting down",
            Self::Refused => "not authorised, or this origin is not allowed",
            Self::TooLarge => "a frame is larger than the limit",
            Self::Broken => "the session could not start or broke",
            Self::Preempted => "another connection took over this pod",
            Self::Stalled => "nothing was acknowledged for too long",
            Self::NoFirstFrame => "no valid first frame in time",
        }
    }
}
