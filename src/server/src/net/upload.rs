//! `POST /api/tracks?name=…`: a compressed file becomes a track, in the same two phases as over a socket.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::{Body, BodyDataStream, HttpBody},
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use greenroom_director::{Event, Failure, Intent};
use greenroom_wire::{ErrorCode, UploadHeader, http::HttpError, is_time_signature};
use serde::Deserialize;

use super::{Net, reader::Asker};
use crate::pod::{Ending, Inbox, Outgoing, Refusal, TellError, UploadBody};

/// How long the rest of a refused body is read and forgotten: a client that still sends would not see the answer.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// What the address says of the upload.
#[derive(Debug, Deserialize)]
pub(super) struct Address {
    name: Option<String>,
    key: Option<String>,
    time_signature: Option<String>,
}

/// A refused request.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: ErrorCode,
    error: String,
}

impl Problem {
    /// A problem with the status that fits its code.
    pub(super) fn new(code: ErrorCode, error: impl Into<String>) -> Self {
        Self::with_status(status(code), code, error)
    }

    /// A problem with a status of its own.
    pub(super) fn with_status(status: StatusCode, code: ErrorCode, error: impl Into<String>) -> Self {
        Self {
            status,
            code,
            error: error.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal.failure {
            Failure::TooSlow => Self::with_status(StatusCode::REQUEST_TIMEOUT, refusal.code(), refusal.message),
            _ => Self::new(refusal.code(), refusal.message),
        }
    }
}

impl From<TellError> for Problem {
    fn from(error: TellError) -> Self {
        Self::new(ErrorCode::Busy, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = HttpError {
            error: self.error,
            code: self.code,
        };
        (self.status, Json(body)).into_response()
    }
}

/// The status of an error code.
fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadAudio | ErrorCode::TooShort => StatusCode::BAD_REQUEST,
        ErrorCode::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::Superseded => StatusCode::CONFLICT,
        ErrorCode::Busy | ErrorCode::OutOfMemory | ErrorCode::DeviceLost => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Takes an upload. If the client leaves, this is dropped, and with it the inbox, which tells the pod.
pub(super) async fn post(State(net): State<Arc<Net>>, Query(address): Query<Address>, body: Body) -> Response {
    let declared = body.size_hint().exact();
    let mut stream = body.into_data_stream();
    match take(&net, address, declared, &mut stream).await {
        Ok(response) => response,
        Err(problem) => {
            tracing::info!(code = ?problem.code, error = %problem.error, "an upload was refused");
            drain(stream).await;
            problem.into_response()
        }
    }
}

async fn take(
    net: &Net,
    address: Address,
    declared: Option<u64>,
    stream: &mut BodyDataStream,
) -> Result<Response, Problem> {
    let Some(name) = address.name else {
        let words = "the address must say the track's name: POST /api/tracks?name=song.mp3";
        return Err(Problem::new(ErrorCode::BadAudio, words));
    };
    let bytes = declared_bytes(declared, net.body_bytes_max)?;
    let connection = net.pod.accept();
    let mut inbox = net.pod.open(connection)?;
    net.pod.try_tell(Event::HandshakeDeclared {
        connection,
        intent: Intent::Upload,
        bytes: bytes as u64,
    })?;
    match answer(&mut inbox).await? {
        Outgoing::Proceed => {}
        other => return Err(unexpected(&other)),
    }
    let file = receive(&mut inbox, stream, bytes).await?;
    let header = UploadHeader {
        name,
        key: address.key,
        time_signature: address.time_signature.filter(|meter| is_time_signature(meter)),
    };
    let asker = Asker {
        pod: net.pod.clone(),
        connection,
    };
    asker.upload(header, UploadBody::File(file))?;
    match answer(&mut inbox).await? {
        Outgoing::UploadOk(track) => Ok(Json(track).into_response()),
        other => Err(unexpected(&other)),
    }
}

/// The size that is reserved before anything is read.
fn declared_bytes(declared: Option<u64>, bytes_max: u64) -> Result<usize, Problem> {
    let Some(bytes) = declared else {
        let words = "the request must say how large the file is: send it with a Content-Length";
        return Err(Problem::with_status(
            StatusCode::LENGTH_REQUIRED,
            ErrorCode::BadAudio,
            words,
        ));
    };
    if bytes == 0 {
        return Err(Problem::new(
            ErrorCode::BadAudio,
            "the request has no body: send the audio file as it is",
        ));
    }
    match usize::try_from(bytes) {
        Ok(size) if bytes <= bytes_max => Ok(size),
        _ => Err(Problem::new(
            ErrorCode::TooLong,
            format!("the file has {bytes} bytes and this pod takes {bytes_max}: send a shorter one, or compress it"),
        )),
    }
}

/// The whole body; the pod may refuse it in the middle.
async fn receive(inbox: &mut Inbox, stream: &mut BodyDataStream, bytes: usize) -> Result<Bytes, Problem> {
    let mut file = BytesMut::with_capacity(bytes);
    loop {
        tokio::select! {
            biased;
            unasked = answer(inbox) => return Err(unexpected(&unasked?)),
            chunk = stream.next() => match chunk {
                Some(Ok(chunk)) => file.extend_from_slice(&chunk),
                Some(Err(error)) => {
                    return Err(Problem::new(ErrorCode::BadAudio, format!("the file did not come whole: {error}")));
                }
                None => return Ok(file.freeze()),
            },
        }
    }
}

/// The pod's next word; a refusal or an order to close is a problem.
async fn answer(inbox: &mut Inbox) -> Result<Outgoing, Problem> {
    let Inbox { outgoing, ending, .. } = inbox;
    let word = tokio::select! {
        biased;
        _ = ending.wait_for(|ending| *ending != Ending::Open) => None,
        word = outgoing.recv() => word,
    };
    match word {
        Some(Outgoing::Refuse(refusal) | Outgoing::UploadFailed(refusal)) => Err(refusal.into()),
        Some(other) => Ok(other),
        None => Err(Problem::new(
            ErrorCode::Busy,
            "the pod gave the upload up: try again in a few seconds",
        )),
    }
}

fn unexpected(word: &Outgoing) -> Problem {
    tracing::error!(?word, "an upload was told what it did not ask");
    Problem::new(
        ErrorCode::Internal,
        "something failed inside the pod: its log says what; try again",
    )
}

async fn drain(mut stream: BodyDataStream) {
    let rest = async { while let Some(Ok(_)) = stream.next().await {} };
    // Whoever sends on for longer learns it from the closed connection.
    let _ = tokio::time::timeout(DRAIN_MAX, rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_declares_its_size_and_keeps_within_the_limit() {
        assert_eq!(declared_bytes(Some(10), 10).unwrap(), 10);
        for (declared, status) in [
            (None, StatusCode::LENGTH_REQUIRED),
            (Some(0), StatusCode::BAD_REQUEST),
            (Some(11), StatusCode::PAYLOAD_TOO_LARGE),
            (Some(u64::MAX), StatusCode::PAYLOAD_TOO_LARGE),
        ] {
            assert_eq!(declared_bytes(declared, 10).unwrap_err().status, status, "{declared:?}");
        }
    }

    #[test]
    fn a_body_that_did_not_arrive_in_time_is_told_so() {
        let problem = Problem::from(Refusal::plain(Failure::TooSlow));
        assert_eq!((problem.status.as_u16(), problem.code), (408, ErrorCode::BadAudio));
        assert!(problem.error.contains("did not arrive in time"), "{}", problem.error);
    }

    #[test]
    fn every_code_has_its_status() {
        for (code, expected) in [
            (ErrorCode::BadAudio, 400),
            (ErrorCode::TooShort, 400),
            (ErrorCode::Superseded, 409),
            (ErrorCode::TooLong, 413),
            (ErrorCode::Internal, 500),
            (ErrorCode::Busy, 503),
            (ErrorCode::DiskFull, 507),
        ] {
            assert_eq!(status(code).as_u16(), expected, "{code:?}");
        }
    }
}
