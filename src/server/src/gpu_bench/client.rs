//! A client of the pod for measurements: a live session that listens, and uploads beside it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use greenroom_wire::{PcmFrame, ServerMessage};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

/// Patience of every wait.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The live session.
pub(super) struct Session(Socket);

/// What one upload took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upload {
    /// Last byte in to `upload_ok` out.
    pub(super) accepted: Duration,
    /// `upload_ok` to the stems on the live session.
    pub(super) stems: Duration,
}

impl Session {
    /// Opens a session on stereo audio at 48 kHz and waits for the stems of its own source.
    pub(super) async fn open(address: &str, samples: &[f32]) -> anyhow::Result<Self> {
        let mut socket = connect(address).await?;
        let config = json!({ "client_id": "bench", "prompt": "deep house" });
        socket.send(Message::text(config.to_string())).await?;
        socket.send(Message::binary(PcmFrame::build(2, samples))).await?;
        let mut session = Self(socket);
        session.until_stems().await.context("the session's own stems")?;
        Ok(session)
    }

    /// Uploads a track and waits until its stems arrive on this session.
    pub(super) async fn upload(&mut self, address: &str, name: &str, samples: &[f32]) -> anyhow::Result<Upload> {
        let accepted = upload(address, name, samples).await?;
        let answered = Instant::now();
        self.until_stems()
            .await
            .with_context(|| format!("the stems of {name}"))?;
        Ok(Upload {
            accepted,
            stems: answered.elapsed(),
        })
    }

    async fn until_stems(&mut self) -> anyhow::Result<()> {
        loop {
            match next_text(&mut self.0).await? {
                ServerMessage::StemAssets { .. } => return Ok(()),
                ServerMessage::StemFailed { error, .. } => bail!("{error}"),
                ServerMessage::Error { message, .. } => bail!("{message}"),
                _ => {}
            }
        }
    }
}

/// Uploads stereo audio at 48 kHz: the time from its last byte in to `upload_ok` out.
pub(super) async fn upload(address: &str, name: &str, samples: &[f32]) -> anyhow::Result<Duration> {
    let mut socket = connect(address).await?;
    let header = json!({ "type": "upload_track", "name": name });
    socket.send(Message::text(header.to_string())).await?;
    socket.send(Message::binary(PcmFrame::build(2, samples))).await?;
    let sent = Instant::now();
    match next_text(&mut socket).await? {
        ServerMessage::UploadOk(_) => Ok(sent.elapsed()),
        other => bail!("the upload was answered {other:?}"),
    }
}

pub(super) async fn connect(address: &str) -> anyhow::Result<Socket> {
    let no_limits = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let (socket, _) = connect_async_with_config(format!("ws://{address}/ws"), Some(no_limits), true)
        .await
        .with_context(|| format!("no connection to {address}"))?;
    Ok(socket)
}

async fn next_text(socket: &mut Socket) -> anyhow::Result<ServerMessage> {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next())
            .await
            .context("the pod says nothing")?
            .context("the pod closed the connection")??;
        match message {
            Message::Text(text) => return Ok(serde_json::from_str(&text)?),
            Message::Close(close) => bail!("the pod closed the connection: {close:?}"),
            _ => {}
        }
    }
}
