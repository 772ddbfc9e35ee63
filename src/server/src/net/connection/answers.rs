//! The last words of a connection.

use greenroom_wire::{CloseCode, ErrorCode, FirstFrame, Ignored, ServerMessage};
use statig::prelude::*;

use super::{Action, Actions, State};

pub(super) fn refuse(first: &FirstFrame, code: ErrorCode, message: String, context: &mut Actions) -> Outcome<State> {
    match first {
        FirstFrame::Upload(_) => upload_failed(code, message, context),
        FirstFrame::Session(_) => broken(code, message, context),
    }
}

pub(super) fn upload_failed(code: ErrorCode, error: String, context: &mut Actions) -> Outcome<State> {
    answer_and_close(ServerMessage::UploadFailed { error, code }, CloseCode::Done, context)
}

pub(super) fn broken(code: ErrorCode, message: String, context: &mut Actions) -> Outcome<State> {
    let error = ServerMessage::Error {
        code,
        message,
        build_command: None,
        duration_s: None,
    };
    answer_and_close(error, CloseCode::Broken, context)
}

pub(super) fn answer_and_close(answer: ServerMessage, code: CloseCode, context: &mut Actions) -> Outcome<State> {
    context.extend([
        Action::Discard,
        Action::Answer(Box::new(answer)),
        Action::CloseLast(code),
    ]);
    Transition(State::closing())
}

pub(super) fn close_first(code: CloseCode, context: &mut Actions) -> Outcome<State> {
    context.extend([Action::Discard, Action::CloseFirst(code)]);
    Transition(State::closing())
}

pub(super) fn abort(context: &mut Actions) -> Outcome<State> {
    context.push(Action::Abort);
    Transition(State::ended())
}

pub(super) fn ignore(what: Ignored, context: &mut Actions) -> Outcome<State> {
    context.push(Action::Ignore(what));
    Handled
}
