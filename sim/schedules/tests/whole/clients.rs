//! Clients, and the clock.

use greenroom_director::{ClientKey, Close, ConnectionId, Effect, Event, Intent, Mode, Source, Span, TrackId};
use greenroom_sync::{Latest, Mailbox, ReceiveError};
use shuttle::rand::{Rng, thread_rng};

use super::{News, seen, tell};
use crate::PATIENCE;

/// Moments at which time passes.
const BEATS: u32 = 4;

/// One connection, as its client sees it.
pub(super) struct Client {
    pub(super) connection: ConnectionId,
    pub(super) hears: Mailbox<Effect>,
    pub(super) news: Mailbox<News>,
}

/// What a session does once it plays.
pub(super) struct Habits {
    pub(super) key: Option<ClientKey>,
    pub(super) source: Source,
    pub(super) mode: Mode,
    /// Another track, to swap to.
    pub(super) other: TrackId,
    /// Whether it is there to the end.
    pub(super) stays: bool,
    pub(super) knobs: Latest<u32>,
    /// Has the live thread look at the knobs.
    pub(super) orders: Mailbox<greenroom_schedules::Job>,
}

impl Client {
    /// The next thing that it hears; none at the pod's end.
    fn hear(&self) -> Option<Effect> {
        match self.hears.receive(PATIENCE) {
            Ok(effect) => Some(effect),
            Err(ReceiveError::Closed) => None,
            Err(error) => unreachable!("{error:?}: nobody nudges or measures time"),
        }
    }

    fn tell(&self, event: Event) {
        tell(&self.news, event);
    }

    fn done(&self) {
        assert!(self.news.send(News::Done).is_ok());
    }

    /// Says what it is. Whether it may go on.
    fn greets(&self, intent: Intent) -> bool {
        let connection = self.connection;
        let bytes = 1;
        self.tell(Event::HandshakeOpened { connection });
        self.tell(Event::HandshakeDeclared {
            connection,
            intent,
            bytes,
        });
        matches!(self.hear(), Some(Effect::Proceed { .. }))
    }

    fn goes(&self) {
        let connection = self.connection;
        self.tell(Event::ConnectionGone { connection });
    }

    /// An upload: exactly one answer, and then it goes.
    pub(super) fn uploads(&self, track: TrackId) {
        let connection = self.connection;
        if self.greets(Intent::Upload) {
            self.tell(Event::UploadAsked { connection, track });
            let answer = self.hear();
            match answer {
                Some(Effect::UploadOk(_)) => seen::note(seen::Mark::UploadOk),
                Some(Effect::UploadFailed { .. }) => seen::note(seen::Mark::UploadFailed),
                other => panic!("an upload hears {other:?}"),
            }
        }
        self.goes();
        self.done();
    }

    /// A session, until it goes or the pod ends.
    pub(super) fn plays(&self, habits: &Habits) {
        let connection = self.connection;
        if !self.greets(Intent::Session) {
            self.goes();
            return self.done();
        }
        self.tell(Event::SessionAsked {
            connection,
            client: habits.key,
            source: habits.source,
            mode: habits.mode,
        });
        let mut said = false;
        let (mut swaps, mut prompts) = (0_u32, 0_u32);
        let ended = loop {
            let Some(effect) = self.hear() else { break false };
            match effect {
                Effect::SessionReady { .. } => {
                    (swaps, prompts) = self.asks_for_more(habits);
                    if !habits.stays && thread_rng().gen_range(0..2) == 0 {
                        seen::note(seen::Mark::Left);
                        break true;
                    }
                    said = true;
                    self.done();
                }
                Effect::SwapReady { .. } | Effect::SwapFailed { .. } => {
                    seen::note(seen::Mark::SwapAnswered);
                    swaps = swaps.checked_sub(1).expect("a swap is answered twice");
                }
                Effect::PromptApplied { .. } | Effect::PromptFailed { .. } => prompts = prompts.saturating_sub(1),
                Effect::PushStems { .. } => seen::note(seen::Mark::StemsPushed),
                Effect::PushStemFailure { .. } | Effect::PushStemProgress { .. } => {}
                Effect::Close { code, .. } => {
                    if code == Close::Preempted {
                        seen::note(seen::Mark::Preempted);
                    }
                    break true;
                }
                Effect::Refuse { .. } | Effect::ForceClose { .. } => break true,
                other => panic!("a session hears {other:?}"),
            }
        };
        assert!(
            ended || (swaps, prompts) == (0, 0),
            "{swaps} swaps and {prompts} prompts were never answered"
        );
        if ended {
            self.goes();
        }
        if !said {
            self.done();
        }
    }

    /// Turns a knob, asks for a prompt, a swap: all at once and in any order. Swaps and prompts that are owed an answer come back.
    fn asks_for_more(&self, habits: &Habits) -> (u32, u32) {
        let connection = self.connection;
        let (mut swaps, mut prompts) = (0, 0);
        for _ in 0..thread_rng().gen_range(0..3) {
            match thread_rng().gen_range(0..3) {
                0 => {
                    habits.knobs.put(1);
                    habits.orders.nudge();
                }
                1 => {
                    prompts = 1;
                    self.tell(Event::PromptAsked { connection });
                }
                _ => {
                    let mode = any_mode();
                    let source = Source::Track(habits.other);
                    swaps += 1;
                    self.tell(Event::SwapAsked {
                        connection,
                        source,
                        mode,
                    });
                }
            }
        }
        (swaps, prompts)
    }
}

/// Any part of a source.
pub(super) fn any_mode() -> Mode {
    const MODES: [Mode; 3] = [Mode::Plain, Mode::Full, Mode::Vocals];
    MODES[thread_rng().gen_range(0..MODES.len())]
}

/// Lets time pass a few times: about as much as a turn of the stage.
pub(super) fn clock(news: &Mailbox<News>) {
    for _ in 0..BEATS {
        let span = Span::milliseconds(thread_rng().gen_range(5..30));
        assert!(news.send(News::Time(span)).is_ok());
    }
    assert!(news.send(News::Done).is_ok());
}
