//! A client of the pod, as strict as the protocol.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use greenroom_wire::{ErrorCode, Mirror, PcmFrame, ServerMessage, SliceHeader, UploadOk, http::HttpError, slice};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async_with_config, connect_async_with_config,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        protocol::{
            WebSocketConfig,
            frame::{
                FrameHeader,
                coding::{Data, OpCode},
            },
        },
    },
};

use crate::song;

/// Patience of every wait: far more than anything should take, so that a slow machine does not fail a test.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a binary frame is to be.
enum Expected {
    Initial { channels: u16 },
    Stem { name: String },
}

/// Something that the pod sent.
#[derive(Debug)]
pub enum Incoming {
    /// A text.
    Text(ServerMessage),
    /// The initial buffer; the mirror is new.
    Initial,
    /// A stem: its name and samples.
    Stem(String, Vec<f32>),
    /// A slice, applied to the mirror; `bytes` long.
    Slice(SliceHeader, usize),
    /// The end, with its code if there was one.
    Closed(Option<u16>),
}

/// An upload that came to nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// For a program.
    pub code: ErrorCode,
    /// For a person.
    pub error: String,
}

/// One connection.
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    expected: VecDeque<Expected>,
    /// How often [`Self::generation_after`] turned its knob.
    turned: u32,
    /// What this client holds, once a buffer came.
    pub mirror: Option<Mirror>,
    /// Every text so far.
    pub texts: Vec<ServerMessage>,
    /// When the connection was made.
    pub since: Instant,
}

impl Client {
    /// Connects and says nothing yet.
    ///
    /// # Errors
    /// If the socket cannot be opened.
    pub async fn connect(address: &str) -> anyhow::Result<Self> {
        Self::connect_with(address, &[]).await
    }

    /// Connects with more headers, or to a path of its own: `("path", "/ws?apiKey=…")`.
    ///
    /// # Errors
    /// If the socket cannot be opened.
    pub async fn connect_with(address: &str, headers: &[(&'static str, &str)]) -> anyhow::Result<Self> {
        let path = headers
            .iter()
            .find(|(name, _)| *name == "path")
            .map_or("/ws", |(_, path)| path);
        let mut request = format!("ws://{address}{path}").into_client_request()?;
        for (name, value) in headers.iter().filter(|(name, _)| *name != "path") {
            request.headers_mut().insert(*name, value.parse()?);
        }
        let (socket, _) = connect_async_with_config(request, Some(no_limits()), true).await?;
        Ok(Self::on(socket))
    }

    /// Becomes a client on a connection that is there already.
    ///
    /// # Errors
    /// If the pod does not upgrade it.
    pub async fn over(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        let request = format!("ws://{}/ws", stream.peer_addr()?).into_client_request()?;
        let stream = MaybeTlsStream::Plain(stream);
        let (socket, _) = client_async_with_config(request, stream, Some(no_limits())).await?;
        Ok(Self::on(socket))
    }

    fn on(socket: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Self {
        Self {
            socket,
            expected: VecDeque::new(),
            turned: 0,
            mirror: None,
            texts: Vec::new(),
            since: Instant::now(),
        }
    }

    /// A whole session handshake that brings its audio.
    ///
    /// # Errors
    /// If the socket cannot be opened or written.
    pub async fn session(address: &str, config: &Value, samples: &[f32]) -> anyhow::Result<Self> {
        let mut client = Self::connect(address).await?;
        client.text(config).await?;
        client.audio(2, samples).await?;
        Ok(client)
    }

    /// A session on a track of the pod's.
    ///
    /// # Errors
    /// If the socket cannot be opened or written.
    pub async fn session_on(address: &str, name: &str, client_id: &str, mode: Option<&str>) -> anyhow::Result<Self> {
        let mut client = Self::connect(address).await?;
        let mut config = json!({ "use_server_fixture": true, "fixture_name": name, "client_id": client_id, "wants": ["stem_progress", "vram"] });
        if let Some(mode) = mode {
            config["stem_source_mode"] = json!(mode);
        }
        client.text(&config).await?;
        Ok(client)
    }

    /// A live session to stand beside what a test does, and to be harmed by none of it.
    ///
    /// # Errors
    /// If it does not get its seat.
    pub async fn witness(address: &str) -> anyhow::Result<Self> {
        let mut client = Self::session(address, &json!({ "client_id": "witness" }), &song(4.0)).await?;
        client.ready().await?;
        Ok(client)
    }

    /// Turns a knob, and waits until the turned knob is told and heard.
    ///
    /// # Errors
    /// If the session has ended.
    pub async fn still_plays(&mut self) -> anyhow::Result<()> {
        // Another one each time: every turn waits for several texts.
        let seed = self.texts.len();
        self.text(&json!({ "type": "params", "raw": { "seed": seed, "denoise": 0.5 }, "playback_pos": 0.5 }))
            .await?;
        self.message(
            "the turned knob",
            |message| matches!(message, ServerMessage::ParamsUpdate { params } if params["seed"] == json!(seed as f64)),
        )
        .await?;
        self.slice().await
    }

    /// Turns a knob, and waits for a slice of a younger generation than `known`; gives how many there were by then.
    ///
    /// # Errors
    /// If the session has ended.
    pub async fn generation_after(&mut self, known: u32) -> anyhow::Result<u32> {
        // Never to where it stands already: that wakes nobody who rests.
        self.turned += 1;
        self.text(&json!({ "type": "params", "raw": { "seed": self.turned, "denoise": 0.8 }, "playback_pos": 0.5 }))
            .await?;
        self.until("a new generation", |incoming| match incoming {
            Incoming::Slice(header, _) if header.num_gens > known => Some(header.num_gens),
            _ => None,
        })
        .await
    }

    /// Waits for a slice.
    ///
    /// # Errors
    /// If the connection ends first.
    pub async fn slice(&mut self) -> anyhow::Result<()> {
        self.until("a slice", |incoming| {
            matches!(incoming, Incoming::Slice(..)).then_some(())
        })
        .await
    }

    /// Sends a JSON text.
    ///
    /// # Errors
    /// If the socket is gone.
    pub async fn text(&mut self, value: &Value) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::text(value.to_string())).await?)
    }

    /// Sends a text as it is.
    ///
    /// # Errors
    /// If the socket is gone.
    pub async fn raw_text(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::text(text)).await?)
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// If the socket is gone.
    pub async fn binary(&mut self, bytes: Vec<u8>) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::binary(bytes)).await?)
    }

    /// Sends bytes that need be no frame at all.
    ///
    /// # Errors
    /// If the socket is gone.
    pub async fn raw_bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.socket.get_mut().write_all(bytes).await?)
    }

    /// Sends a PCM frame.
    ///
    /// # Errors
    /// If the socket is gone.
    pub async fn audio(&mut self, channels: u32, samples: &[f32]) -> anyhow::Result<()> {
        self.binary(PcmFrame::build(channels, samples)).await
    }

    /// Begins a binary frame that says it has so many bytes, and sends only these, the first of them. Nothing can follow them but its rest.
    ///
    /// # Errors
    /// If the socket is gone.
    pub async fn begin_frame(&mut self, bytes: u64, is_final: bool, first: &[u8]) -> anyhow::Result<()> {
        let header = FrameHeader {
            is_final,
            opcode: OpCode::Data(Data::Binary),
            // Masked with zeros, a payload stays as it is.
            mask: Some([0; 4]),
            ..FrameHeader::default()
        };
        let mut begun = Vec::new();
        header.format(bytes, &mut begun)?;
        begun.extend_from_slice(first);
        Ok(self.socket.get_mut().write_all(&begun).await?)
    }

    /// The next thing that comes.
    ///
    /// # Errors
    /// If nothing comes for a very long time, or something that the protocol does not know.
    pub async fn next(&mut self) -> anyhow::Result<Incoming> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .context("the pod says nothing any more")?;
            return Ok(match message {
                None | Some(Err(_)) => Incoming::Closed(None),
                Some(Ok(Message::Close(frame))) => Incoming::Closed(frame.map(|frame| frame.code.into())),
                Some(Ok(Message::Text(text))) => self.take_text(&text)?,
                Some(Ok(Message::Binary(bytes))) => self.take_binary(&bytes)?,
                Some(Ok(_)) => continue,
            });
        }
    }

    fn take_text(&mut self, text: &str) -> anyhow::Result<Incoming> {
        let message: ServerMessage =
            serde_json::from_str(text).with_context(|| format!("not of the protocol: {text}"))?;
        match &message {
            ServerMessage::Ready(ready) => self.expected.push_back(Expected::Initial {
                channels: ready.channels,
            }),
            ServerMessage::SwapReady { channels, .. } => {
                self.expected.push_back(Expected::Initial { channels: *channels })
            }
            ServerMessage::StemAssets { stems, .. } => {
                self.expected
                    .extend(stems.iter().map(|name| Expected::Stem { name: name.clone() }));
            }
            _ => anyhow::ensure!(
                self.expected.is_empty(),
                "a text came where a binary frame was due: {text}"
            ),
        }
        self.texts.push(message.clone());
        Ok(Incoming::Text(message))
    }

    fn take_binary(&mut self, bytes: &[u8]) -> anyhow::Result<Incoming> {
        Ok(match self.expected.pop_front() {
            Some(Expected::Initial { channels }) => {
                self.mirror = Some(Mirror::from_source(&slice::decode_halves(bytes), channels));
                Incoming::Initial
            }
            Some(Expected::Stem { name }) => Incoming::Stem(name, slice::decode_halves(bytes)),
            None => {
                let mirror = self.mirror.as_mut().context("a slice came before its buffer")?;
                Incoming::Slice(mirror.apply(bytes)?, bytes.len())
            }
        })
    }

    /// Waits for something; everything before it is taken in. The end of the connection is an error unless it is asked for.
    ///
    /// # Errors
    /// If the connection ends first.
    pub async fn until<T>(&mut self, what: &str, mut pick: impl FnMut(&Incoming) -> Option<T>) -> anyhow::Result<T> {
        loop {
            let incoming = self.next().await.with_context(|| format!("while waiting for {what}"))?;
            if let Some(picked) = pick(&incoming) {
                return Ok(picked);
            }
            if let Incoming::Closed(code) = incoming {
                bail!(
                    "the connection ended with {code:?} before {what}; texts: {:?}",
                    self.texts
                );
            }
        }
    }

    /// Waits for the initial buffer of a session.
    ///
    /// # Errors
    /// If the connection ends first.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        self.until("ready and its buffer", |incoming| {
            matches!(incoming, Incoming::Initial).then_some(())
        })
        .await
    }

    /// Waits for a text.
    ///
    /// # Errors
    /// If the connection ends first.
    pub async fn message(
        &mut self,
        what: &str,
        pick: impl Fn(&ServerMessage) -> bool,
    ) -> anyhow::Result<ServerMessage> {
        self.until(what, |incoming| match incoming {
            Incoming::Text(message) if pick(message) => Some(message.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for the end; gives its code.
    ///
    /// # Errors
    /// If it does not come.
    pub async fn closed(&mut self) -> anyhow::Result<Option<u16>> {
        self.until("the end", |incoming| match incoming {
            Incoming::Closed(code) => Some(*code),
            _ => None,
        })
        .await
    }

    /// Goes without a close frame: with a reset, or with the mere end of the stream.
    pub fn vanish(self, reset: bool) {
        if let (true, MaybeTlsStream::Plain(stream)) = (reset, self.socket.get_ref()) {
            // One that is gone already needs no reset.
            let _ = stream.set_zero_linger();
        }
    }

    /// Closes in good order.
    ///
    /// # Errors
    /// If the socket is gone.
    pub async fn close(mut self) -> anyhow::Result<()> {
        self.socket.close(None).await?;
        while !matches!(self.next().await?, Incoming::Closed(_)) {}
        Ok(())
    }
}

fn no_limits() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(None).max_frame_size(None)
}

/// Uploads PCM over a socket, as the reference's clients do.
///
/// # Errors
/// If the protocol is broken; a refusal is the inner result.
pub async fn upload(address: &str, name: &str, samples: &[f32]) -> anyhow::Result<Result<UploadOk, Refused>> {
    let mut client = Client::connect(address).await?;
    client.text(&json!({ "type": "upload_track", "name": name })).await?;
    client.audio(2, samples).await?;
    let answer = client
        .message("an answer", |message| {
            matches!(
                message,
                ServerMessage::UploadOk(_) | ServerMessage::UploadFailed { .. } | ServerMessage::Error { .. }
            )
        })
        .await?;
    let code = client.closed().await?;
    Ok(match answer {
        ServerMessage::UploadOk(track) => {
            anyhow::ensure!(code == Some(1000), "an answered upload ends with {code:?}");
            Ok(track)
        }
        ServerMessage::UploadFailed { error, code }
        | ServerMessage::Error {
            message: error, code, ..
        } => Err(Refused { code, error }),
        other => bail!("an upload is answered with {other:?}"),
    })
}

/// Uploads a file by POST.
///
/// # Errors
/// If the pod cannot be reached; a refusal is the inner result, with its status.
pub fn post_track(url: &str, name: &str, bytes: &[u8]) -> anyhow::Result<Result<UploadOk, (u16, Refused)>> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent
        .post(format!("{url}/api/tracks"))
        .query("name", name)
        .send(bytes)?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().read_to_string()?;
    if status < 300 {
        return Ok(Ok(serde_json::from_str(&body)?));
    }
    let error: HttpError = serde_json::from_str(&body).with_context(|| format!("{status}: {body}"))?;
    Ok(Err((
        status,
        Refused {
            code: error.code,
            error: error.error,
        },
    )))
}
