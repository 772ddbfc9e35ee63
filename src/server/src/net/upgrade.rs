//! From an HTTP request to a socket, and the farewell of those that the pod never knows.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header},
};
use futures_util::{SinkExt, StreamExt};
use greenroom_director::ConnectionId;
use greenroom_wire::{CloseCode, ErrorCode, ServerMessage};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, handshake::derive_accept_key, protocol::CloseFrame},
};

use super::{
    Net,
    access::Denied,
    gate::Gate,
    socket::{FAREWELL_MAX, serve},
};
use crate::pod::TellError;

/// Whether a request wants to become a socket.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Answers a request for a socket. Who is denied is upgraded first and then closed with 1008: browsers cannot see a 401.
pub(super) fn upgrade<B>(
    net: Arc<Net>,
    connection: ConnectionId,
    request: &mut Request<B>,
    denied: Option<Denied>,
    permit: Arc<OwnedSemaphorePermit>,
) -> Response<Body> {
    let headers = request.headers();
    let version_fits = headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_some_and(|version| version == "13");
    let (Some(key), true) = (headers.get(header::SEC_WEBSOCKET_KEY), version_fits) else {
        return refused(
            StatusCode::BAD_REQUEST,
            "a WebSocket needs a Sec-WebSocket-Key and version 13",
        );
    };
    let accept = derive_accept_key(key.as_bytes());
    let Some(upgrading) = request.extensions_mut().remove::<OnUpgrade>() else {
        return refused(
            StatusCode::BAD_REQUEST,
            "this connection cannot become a WebSocket: use HTTP/1.1",
        );
    };
    let Ok(accept) = HeaderValue::from_str(&accept) else {
        return refused(StatusCode::BAD_REQUEST, "the Sec-WebSocket-Key makes no sense");
    };
    tokio::spawn(async move {
        // A socket counts among the open connections as long as it lives.
        let _permit = permit;
        let upgraded = match upgrading.await {
            Ok(upgraded) => upgraded,
            Err(error) => return tracing::debug!(%connection, %error, "a client left before its socket was one"),
        };
        match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => serve(net, connection, parts.io.into_inner(), &parts.read_buf, denied).await,
            Err(_) => tracing::error!(%connection, "a socket is not the TCP stream that was accepted"),
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

fn refused(status: StatusCode, words: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(words));
    *response.status_mut() = status;
    response
}

/// What to say when the pod cannot be told of anything.
pub(super) fn not_heard(error: TellError) -> (Option<ServerMessage>, CloseCode) {
    match error {
        TellError::Full => {
            let words = ServerMessage::Error {
                code: ErrorCode::Busy,
                message: error.to_string(),
                build_command: None,
                duration_s: None,
            };
            (Some(words), CloseCode::Broken)
        }
        TellError::Closed => (None, CloseCode::GoingAway),
    }
}

/// Closes a socket that the pod never knew.
pub(super) async fn turn_away(mut socket: WebSocketStream<Gate>, words: Option<ServerMessage>, code: CloseCode) {
    let farewell = async {
        if let Some(words) = words {
            socket.send(Message::Text(words.to_text().into())).await?;
        }
        let frame = CloseFrame {
            code: code.number().into(),
            reason: code.reason().into(),
        };
        socket.send(Message::Close(Some(frame))).await?;
        while socket.next().await.is_some_and(|frame| frame.is_ok()) {}
        Ok::<(), tungstenite::Error>(())
    };
    // Whoever does not listen is let go without it.
    let _ = tokio::time::timeout(FAREWELL_MAX, farewell).await;
}
