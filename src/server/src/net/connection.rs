//! The life of a connection as a hierarchical machine: what came in, what to do. Pure: the socket's task carries the actions out.
//!
//! ```text
//! open ─┬─ handshake ─┬─ greeting ── lookup        which track does the config mean?
//!       │             └─ declared ── body_due ── admission ── body ── checking
//!       ├─ upload ────── phase_one                 the pod works on it
//!       └─ session ───── waiting ── live
//! closing ── ended
//! ```

mod answers;

use greenroom_director::{Intent, TrackId};
use greenroom_wire::{
    ClientMessage, CloseCode, ErrorCode, FirstFrame, Ignored, ReferenceKind, ServerMessage, SessionConfig, SwapSource,
    TEXT_BYTES_MAX, UploadHeader, UploadOk, constants::FRAME_BYTES_MAX,
};
use statig::prelude::*;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use self::answers::{abort, answer_and_close, broken, close_first, ignore, refuse, upload_failed};
use crate::pod::Refusal;

/// Something that happened to a connection.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A text frame came.
    Text(Utf8Bytes),
    /// A binary frame came; the task holds it.
    Binary,
    /// A frame is coming that is larger than what may pass so far; it waits at the gate.
    Announced {
        /// Binary, or text.
        is_binary: bool,
        /// What it says of its size.
        bytes: u64,
    },
    /// The track of the name that was asked for.
    Found(Option<TrackId>),
    /// The pod has room for the declared bytes.
    Proceed,
    /// The handshake's audio is good.
    Usable,
    /// It is not.
    Unusable(Refusal),
    /// The pod has something to say; the task holds it.
    Said,
    /// The pod plays another source from here on; the task holds it.
    Plays,
    /// The pod refuses the connection.
    Refused(Refusal),
    /// The upload is a track.
    Uploaded(UploadOk),
    /// It is not.
    UploadFailed(Refusal),
    /// The pod wants it closed with this code.
    CloseOrdered(CloseCode),
    /// The pod wants it dropped.
    ForceOrdered,
    /// The client has closed it, or the network has.
    PeerGone,
    /// The client did not answer the close frame in time.
    Overdue,
}

/// Something to do about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// Find the track of that name and say so.
    Find(String),
    /// Let messages of so many bytes pass without being announced.
    Pass(u64),
    /// Let no more messages pass: what comes is read and forgotten.
    Discard,
    /// Tell the pod what the connection is and how many bytes follow.
    Declare(Intent, u64),
    /// Check the audio that came.
    Check(Intent),
    /// The handshake is whole: ask for a session.
    AskSession {
        /// What the client asks for.
        config: Box<SessionConfig>,
        /// A track of the server; else the audio that came.
        track: Option<TrackId>,
    },
    /// The upload is whole.
    AskUpload(UploadHeader),
    /// Do what a live client says.
    Obey(ClientMessage),
    /// Do what it said before the audio that came now.
    Apply(Due),
    /// Say this.
    Answer(Box<ServerMessage>),
    /// Pass on what the pod says.
    Forward,
    /// Close once everything that waits is sent.
    CloseLast(CloseCode),
    /// Close ahead of everything that waits.
    CloseFirst(CloseCode),
    /// Let the socket go.
    End,
    /// Drop the socket at once.
    Abort,
    /// Count what was passed over.
    Ignore(Ignored),
}

/// What a binary frame is awaited for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Due {
    /// A swap's source.
    Swap(SwapSource),
    /// A timbre or structure source.
    Reference {
        /// Which of the two.
        kind: ReferenceKind,
        /// Its name.
        name: String,
    },
}

impl Due {
    /// Its `…_failed`.
    pub(super) fn failed(&self, code: ErrorCode, error: String) -> ServerMessage {
        match self {
            Self::Swap(_) => ServerMessage::SwapFailed {
                error,
                code,
                build_command: None,
            },
            Self::Reference { kind, .. } => ServerMessage::reference_failed(*kind, code, error),
        }
    }
}

/// The machine; its data is in its states.
#[derive(Debug, Default)]
pub(super) struct Connection;

type Actions = Vec<Action>;

const TEXT_WHERE_AUDIO_IS_DUE: &str =
    "a text frame came where the audio is due: send one binary frame, <u32 channels><u32 frames> and the samples";
const MORE_THAN_PROMISED: &str = "the audio frame holds more than its header promises: send what the header says";
const BEFORE_READY: &str = "the session is not ready yet: swap once `ready` has come";

#[state_machine(
    initial = "State::greeting()",
    state(derive(Debug, Clone)),
    superstate(derive(Debug)),
    visibility = "pub(super)"
)]
impl Connection {
    /// The first frame is due.
    #[state(superstate = "handshake")]
    fn greeting(event: &Event, context: &mut Actions) -> Outcome<State> {
        let Event::Text(text) = event else {
            return Super;
        };
        match FirstFrame::parse(text) {
            Ok(FirstFrame::Session(config)) if config.use_server_fixture => {
                context.push(Action::Find(config.fixture_name.clone().unwrap_or_default()));
                Transition(State::lookup(config))
            }
            Ok(first) => await_body(first, context),
            Err(_) => close_first(CloseCode::NoFirstFrame, context),
        }
    }

    /// The config names a track of the server, perhaps; answered at once.
    #[state(superstate = "handshake")]
    fn lookup(config: &mut Box<SessionConfig>, event: &Event, context: &mut Actions) -> Outcome<State> {
        let first = FirstFrame::Session(config.clone());
        match event {
            Event::Found(Some(track)) => {
                context.push(Action::Declare(Intent::Session, 0));
                Transition(State::admission(first, Some(*track), 0))
            }
            // A name that the server does not have: its audio follows.
            Event::Found(None) => await_body(first, context),
            _ => Super,
        }
    }

    /// A first frame of neither kind, or none in time.
    #[superstate(superstate = "open")]
    fn handshake(event: &Event, context: &mut Actions) -> Outcome<State> {
        match event {
            Event::Announced { bytes, .. } if *bytes > FRAME_BYTES_MAX as u64 => Super,
            Event::Announced { .. } | Event::Binary | Event::Text(_) => close_first(CloseCode::NoFirstFrame, context),
            _ => Super,
        }
    }

    /// The audio is due; the gate tells how large it is.
    #[state(superstate = "declared")]
    fn body_due(first: &mut FirstFrame, event: &Event, context: &mut Actions) -> Outcome<State> {
        match event {
            Event::Announced { is_binary: true, bytes } if *bytes <= FRAME_BYTES_MAX as u64 => {
                context.push(Action::Declare(intent(first), *bytes));
                Transition(State::admission(first.clone(), None, *bytes))
            }
            // A frame so empty that it needs no admission.
            Event::Binary => {
                context.push(Action::Check(intent(first)));
                Transition(State::checking(first.clone()))
            }
            _ => Super,
        }
    }

    /// The pod is asked for room.
    #[state(superstate = "declared")]
    fn admission(
        first: &mut FirstFrame,
        track: &mut Option<TrackId>,
        bytes: &mut u64,
        event: &Event,
        context: &mut Actions,
    ) -> Outcome<State> {
        match (event, &*first) {
            (Event::Proceed, FirstFrame::Session(config)) if track.is_some() => {
                ask_session(config.clone(), *track, context)
            }
            (Event::Proceed, _) => {
                context.push(Action::Pass(*bytes));
                Transition(State::body(first.clone()))
            }
            _ => Super,
        }
    }

    /// The audio is coming.
    #[state(superstate = "declared")]
    fn body(first: &mut FirstFrame, event: &Event, context: &mut Actions) -> Outcome<State> {
        match event {
            Event::Binary => {
                context.push(Action::Check(intent(first)));
                Transition(State::checking(first.clone()))
            }
            Event::Announced { is_binary: true, bytes } if *bytes <= FRAME_BYTES_MAX as u64 => {
                refuse(first, ErrorCode::BadAudio, MORE_THAN_PROMISED.to_owned(), context)
            }
            _ => Super,
        }
    }

    /// The audio is looked at.
    #[state(superstate = "declared")]
    fn checking(first: &mut FirstFrame, event: &Event, context: &mut Actions) -> Outcome<State> {
        match (event, &*first) {
            (Event::Usable, FirstFrame::Session(config)) => ask_session(config.clone(), None, context),
            (Event::Usable, FirstFrame::Upload(header)) => {
                context.push(Action::Pass(TEXT_BYTES_MAX as u64));
                context.push(Action::AskUpload(header.clone()));
                Transition(State::phase_one())
            }
            (Event::Unusable(refusal), _) => refuse(first, refusal.code(), refusal.message.clone(), context),
            _ => Super,
        }
    }

    /// The first frame said what the connection is: a refusal has its words.
    #[superstate(superstate = "handshake")]
    fn declared(first: &mut FirstFrame, event: &Event, context: &mut Actions) -> Outcome<State> {
        match event {
            Event::Refused(refusal) | Event::UploadFailed(refusal) => {
                refuse(first, refusal.code(), refusal.message.clone(), context)
            }
            Event::Announced {
                is_binary: false,
                bytes,
            } if *bytes <= FRAME_BYTES_MAX as u64 => {
                refuse(first, ErrorCode::BadAudio, TEXT_WHERE_AUDIO_IS_DUE.to_owned(), context)
            }
            Event::Text(_) => refuse(first, ErrorCode::BadAudio, TEXT_WHERE_AUDIO_IS_DUE.to_owned(), context),
            // More than was asked for: it is read later, or never.
            Event::Announced { bytes, .. } if *bytes <= FRAME_BYTES_MAX as u64 => Handled,
            Event::Binary => Handled,
            _ => Super,
        }
    }

    /// The pod makes a track of the upload.
    #[state(superstate = "upload")]
    fn phase_one(event: &Event, context: &mut Actions) -> Outcome<State> {
        match event {
            Event::Uploaded(answer) => {
                answer_and_close(ServerMessage::UploadOk(answer.clone()), CloseCode::Done, context)
            }
            _ => Super,
        }
    }

    /// An upload has nothing more to say than its audio.
    #[superstate(superstate = "open")]
    fn upload(event: &Event, context: &mut Actions) -> Outcome<State> {
        match event {
            Event::UploadFailed(refusal) | Event::Refused(refusal) => {
                upload_failed(refusal.code(), refusal.message.clone(), context)
            }
            Event::Text(_) | Event::Binary => ignore(Ignored::UnknownType, context),
            Event::Announced { bytes, .. } if *bytes <= FRAME_BYTES_MAX as u64 => {
                context.push(Action::Discard);
                ignore(Ignored::UnknownType, context)
            }
            _ => Super,
        }
    }

    /// The session was asked for; `ready` has not come.
    #[state(superstate = "session")]
    fn waiting(due: &mut Option<Due>, event: &Event, context: &mut Actions) -> Outcome<State> {
        match event {
            Event::Plays => {
                context.push(Action::Forward);
                Transition(State::live(due.take()))
            }
            Event::Text(text) => {
                match ClientMessage::parse(text) {
                    Ok(message @ ClientMessage::Params(_)) => context.push(Action::Obey(message)),
                    Ok(ClientMessage::SwapSource(swap)) => {
                        let failed = Due::Swap(swap).failed(ErrorCode::Busy, BEFORE_READY.to_owned());
                        context.push(Action::Answer(Box::new(failed)));
                    }
                    Ok(_) => context.push(Action::Ignore(Ignored::UnknownType)),
                    Err(ignored) => context.push(Action::Ignore(ignored)),
                }
                Handled
            }
            _ => Super,
        }
    }

    /// The session plays.
    #[state(superstate = "session")]
    fn live(due: &mut Option<Due>, event: &Event, context: &mut Actions) -> Outcome<State> {
        match event {
            Event::Plays => {
                context.push(Action::Forward);
                Handled
            }
            Event::Text(text) => {
                obey(ClientMessage::parse(text), due, context);
                Handled
            }
            Event::Binary => {
                context.push(match due.take() {
                    Some(due) => Action::Apply(due),
                    None => Action::Ignore(Ignored::UnknownType),
                });
                Handled
            }
            _ => Super,
        }
    }

    /// Words of the pod go straight through.
    #[superstate(superstate = "open")]
    fn session(due: &mut Option<Due>, event: &Event, context: &mut Actions) -> Outcome<State> {
        match event {
            Event::Said => {
                context.push(Action::Forward);
                Handled
            }
            Event::Binary => {
                *due = None;
                ignore(Ignored::UnknownType, context)
            }
            _ => Super,
        }
    }

    /// Whatever can happen to any connection that is not on its way out.
    #[superstate]
    fn open(event: &Event, context: &mut Actions) -> Outcome<State> {
        match event {
            Event::CloseOrdered(code) => close_first(*code, context),
            Event::Announced { .. } => close_first(CloseCode::TooLarge, context),
            Event::Refused(refusal) | Event::UploadFailed(refusal) => {
                broken(refusal.code(), refusal.message.clone(), context)
            }
            Event::PeerGone => {
                context.push(Action::End);
                Transition(State::ended())
            }
            Event::ForceOrdered | Event::Overdue => abort(context),
            // The pod's answer to something that is over.
            _ => Handled,
        }
    }

    /// The close frame is on its way; nothing else counts.
    #[state]
    fn closing(event: &Event, context: &mut Actions) -> Outcome<State> {
        match event {
            // What the kernel still holds may reach a slow client yet.
            Event::PeerGone | Event::Overdue => {
                context.push(Action::End);
                Transition(State::ended())
            }
            Event::ForceOrdered => abort(context),
            _ => Handled,
        }
    }

    /// Gone.
    #[state]
    fn ended(event: &Event) -> Outcome<State> {
        let _ = event;
        Handled
    }
}

fn await_body(first: FirstFrame, context: &mut Actions) -> Outcome<State> {
    // Nothing passes unannounced: the size must be reserved first.
    context.push(Action::Pass(0));
    Transition(State::body_due(first))
}

fn intent(first: &FirstFrame) -> Intent {
    match first {
        FirstFrame::Upload(_) => Intent::Upload,
        FirstFrame::Session(_) => Intent::Session,
    }
}

fn ask_session(config: Box<SessionConfig>, track: Option<TrackId>, context: &mut Actions) -> Outcome<State> {
    context.push(Action::Pass(FRAME_BYTES_MAX as u64));
    context.push(Action::AskSession { config, track });
    Transition(State::waiting(None))
}

/// What a live client says; audio may have been due instead.
fn obey(message: Result<ClientMessage, Ignored>, due: &mut Option<Due>, context: &mut Actions) {
    // The playhead is told 125 times a second, also between a request and its audio.
    if !matches!(message, Ok(ClientMessage::Params(_)))
        && let Some(due) = due.take()
    {
        let failed = due.failed(ErrorCode::BadAudio, TEXT_WHERE_AUDIO_IS_DUE.to_owned());
        context.push(Action::Answer(Box::new(failed)));
    }
    match message {
        Ok(ClientMessage::SwapSource(swap)) if !swap.use_server_source => *due = Some(Due::Swap(swap)),
        Ok(ClientMessage::SetReference { kind, name }) => *due = Some(Due::Reference { kind, name }),
        Ok(message) => context.push(Action::Obey(message)),
        Err(ignored) => context.push(Action::Ignore(ignored)),
    }
}

#[cfg(test)]
mod tests;
