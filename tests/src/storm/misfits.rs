//! Clients that must never get the seat, whatever they send: each does its worst, looks at the answer, and goes.

use std::time::Duration;

use anyhow::ensure;
use greenroom_wire::{ErrorCode, PcmFrame, ServerMessage};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    plan::{Behaviour, Dice, Guest},
    scene::Scene,
    session::config,
};
use crate::{Client, Incoming, song};

/// How long an answer is awaited where there need be none.
const LISTEN: Duration = Duration::from_millis(300);
/// A hang guard of answers that must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// The gap between the parts of what is cut.
const GAP: Duration = Duration::from_millis(5);

/// What a misfit saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// An upload became a track.
    pub(super) uploaded: bool,
}

/// Behaves badly.
///
/// # Errors
/// What the pod did against the protocol.
pub(super) async fn misbehave(scene: &Scene, guest: &Guest, stream: TcpStream) -> anyhow::Result<Seen> {
    let mut dice = Dice::new(guest.seed);
    match guest.behaviour {
        Behaviour::HalfUpgrade { percent } => half_upgrade(stream, percent, &mut dice).await,
        Behaviour::BadHttp => bad_http(stream, &mut dice).await,
        Behaviour::Post { percent } => return post(scene, stream, percent, &mut dice).await,
        _ => {
            // Where the door is shut there is nobody to misbehave to.
            let Ok(client) = Client::over(stream).await else {
                return Ok(Seen::default());
            };
            return on_socket(scene, guest, client, &mut dice).await;
        }
    }
    Ok(Seen::default())
}

async fn on_socket(scene: &Scene, guest: &Guest, mut client: Client, dice: &mut Dice) -> anyhow::Result<Seen> {
    match guest.behaviour {
        Behaviour::Silent { for_ms } => {
            listen(&mut client, Duration::from_millis(for_ms)).await?;
        }
        Behaviour::WrongFirst => {
            wrong_first(&mut client, dice).await;
            let end = end_of(&mut client).await?;
            ensure!(
                matches!(end, End::Code(4003) | End::Busy | End::Dropped),
                "a wrong first frame is answered with {end:?}"
            );
        }
        Behaviour::BadFrames { after_config } => {
            if after_config {
                let _ = client.text(&config(&guest.client_id)).await;
            }
            let count = 1 + dice.below(2_000);
            let _ = client.raw_bytes(&dice.bytes(count)).await;
            listen(&mut client, LISTEN).await?;
        }
        Behaviour::BadBody => {
            let _ = client.text(&config(&guest.client_id)).await;
            let _ = client.binary(bad_body(scene, dice)).await;
            let end = end_of(&mut client).await?;
            ensure!(
                matches!(
                    end,
                    End::Error(ErrorCode::BadAudio | ErrorCode::TooShort) | End::Busy | End::Dropped
                ),
                "audio that is none is answered with {end:?}"
            );
        }
        Behaviour::Cut { percent } => {
            let _ = client.text(&config(&guest.client_id)).await;
            cut_body(scene, &mut client, percent).await;
        }
        Behaviour::Upload { percent } => return upload(scene, guest, client, percent, dice).await,
        other => anyhow::bail!("{other:?} is no misfit"),
    }
    client.vanish(dice.chance(50));
    Ok(Seen::default())
}

/// How a socket ended.
#[derive(Debug, PartialEq)]
enum End {
    Busy,
    Error(ErrorCode),
    Uploaded,
    Code(u16),
    Dropped,
}

/// Waits for the end, whose cause was told before it.
async fn end_of(client: &mut Client) -> anyhow::Result<End> {
    let mut told = None;
    let ended = async {
        loop {
            match client.next().await? {
                Incoming::Text(ServerMessage::Error { code, .. } | ServerMessage::UploadFailed { code, .. }) => {
                    told = Some(if code == ErrorCode::Busy {
                        End::Busy
                    } else {
                        End::Error(code)
                    });
                }
                Incoming::Text(ServerMessage::UploadOk(_)) => told = Some(End::Uploaded),
                Incoming::Closed(code) => return Ok(told.take().unwrap_or(code.map_or(End::Dropped, End::Code))),
                other => anyhow::bail!("a misfit is served: {other:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, ended)
        .await
        .unwrap_or_else(|_| Err(anyhow::anyhow!("a misfit hears neither an answer nor an end")))
}

/// Listens for a while: it must not be served as a session is.
async fn listen(client: &mut Client, time: Duration) -> anyhow::Result<()> {
    let served = async {
        loop {
            match client.next().await? {
                Incoming::Closed(_) => return Ok(()),
                Incoming::Text(ServerMessage::Error { .. }) => {}
                other => anyhow::bail!("a misfit is served: {other:?}"),
            }
        }
    };
    tokio::time::timeout(time, served).await.unwrap_or(Ok(()))
}

async fn wrong_first(client: &mut Client, dice: &mut Dice) {
    let texts = ["", "[]", "null", "{", "hello", "\u{0}", "[{\"type\":\"upload_track\"}]"];
    let _ = match dice.below(3) {
        0 => {
            let count = dice.below(300);
            client.binary(dice.bytes(count)).await
        }
        // A text frame that is no UTF-8.
        1 => client.raw_bytes(&[0x81, 0x82, 0, 0, 0, 0, 0xFF, 0xFE]).await,
        _ => client.raw_text(texts[dice.below(texts.len() as u64) as usize]).await,
    };
}

/// A frame whose samples are not what they should be.
fn bad_body(scene: &Scene, dice: &mut Dice) -> Vec<u8> {
    match dice.below(5) {
        0 => scene.frame[..scene.frame.len() - 4].to_vec(),
        1 => vec![1, 2, 3],
        2 => PcmFrame::build(2, &song(0.2)),
        3 => {
            let mut poisoned = scene.frame.to_vec();
            let place = 8 + 4 * dice.below(1_000) as usize;
            poisoned[place..place + 4].copy_from_slice(&f32::NAN.to_le_bytes());
            poisoned
        }
        _ => PcmFrame::build(0, &[]),
    }
}

/// A part of a good frame, and no more of it.
async fn cut_body(scene: &Scene, client: &mut Client, percent: u64) {
    let bytes = scene.frame.len() as u64;
    let part = &scene.frame[..(bytes * percent / 100) as usize];
    let (first, rest) = part.split_at(part.len() / 2);
    // Whoever is refused meanwhile cannot send on.
    if client.begin_frame(bytes, true, first).await.is_ok() {
        tokio::time::sleep(GAP).await;
        let _ = client.raw_bytes(rest).await;
        tokio::time::sleep(GAP).await;
    }
}

async fn upload(
    scene: &Scene,
    guest: &Guest,
    mut client: Client,
    percent: u64,
    dice: &mut Dice,
) -> anyhow::Result<Seen> {
    let name = format!("storm-{}.wav", dice.below(9));
    let header = json!({ "type": "upload_track", "name": name, "client_id": guest.client_id });
    let _ = client.text(&header).await;
    if percent < 100 {
        cut_body(scene, &mut client, percent).await;
        client.vanish(dice.chance(50));
        return Ok(Seen::default());
    }
    let _ = client.binary(scene.frame.to_vec()).await;
    let end = end_of(&mut client).await?;
    let refused = [ErrorCode::Superseded, ErrorCode::DiskFull, ErrorCode::OutOfMemory];
    ensure!(
        match &end {
            End::Error(code) => refused.contains(code),
            End::Code(_) => false,
            End::Uploaded | End::Busy | End::Dropped => true,
        },
        "a good upload is answered with {end:?}"
    );
    Ok(Seen {
        uploaded: end == End::Uploaded,
    })
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: storm\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

async fn half_upgrade(mut stream: TcpStream, percent: u64, dice: &mut Dice) {
    let part = UPGRADE.len() as u64 * percent / 100;
    let _ = stream.write_all(&UPGRADE.as_bytes()[..part as usize]).await;
    let pause = dice.below(100);
    tokio::time::sleep(Duration::from_millis(pause)).await;
    part_from(stream, dice);
}

async fn bad_http(mut stream: TcpStream, dice: &mut Dice) {
    let count = 1 + dice.below(4_000);
    let words: Vec<u8> = match dice.below(6) {
        0 => dice.bytes(count),
        1 => b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: storm\r\n\r\n".to_vec(),
        2 => UPGRADE.replace("Version: 13", "Version: 12").into_bytes(),
        3 => UPGRADE
            .replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "")
            .into_bytes(),
        4 => format!("GET /{} HTTP/1.1\r\nHost: storm\r\n\r\n", "a".repeat(count as usize)).into_bytes(),
        _ => b"DELETE /api/tracks HTTP/1.1\r\nHost: storm\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(),
    };
    let _ = stream.write_all(&words).await;
    let mut answer = [0; 1024];
    let _ = tokio::time::timeout(LISTEN, stream.read(&mut answer)).await;
    part_from(stream, dice);
}

async fn post(scene: &Scene, mut stream: TcpStream, percent: u64, dice: &mut Dice) -> anyhow::Result<Seen> {
    let garbage = dice.chance(30);
    let file = if garbage {
        dice.bytes(scene.file.len() as u64)
    } else {
        scene.file.to_vec()
    };
    let head = format!(
        "POST /api/tracks?name=storm-{}.wav HTTP/1.1\r\nHost: storm\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        dice.below(9),
        file.len()
    );
    let part = &file[..(file.len() as u64 * percent / 100) as usize];
    if stream.write_all(head.as_bytes()).await.is_ok() {
        let _ = stream.write_all(part).await;
    }
    if percent < 100 {
        tokio::time::sleep(GAP).await;
        part_from(stream, dice);
        return Ok(Seen::default());
    }
    let mut answer = Vec::new();
    match tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await {
        Err(_) => anyhow::bail!("a POST hears neither an answer nor an end"),
        // Reset: the answer to what was still being sent is lost.
        Ok(Err(_)) => return Ok(Seen::default()),
        Ok(Ok(_)) => {}
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).unwrap_or("none").to_owned();
    // 507: the library is full; 409: the session it began in is over; 503: busy.
    let expected: &[&str] = if garbage {
        &["400", "409", "503", "507"]
    } else {
        &["200", "409", "503", "507"]
    };
    ensure!(expected.contains(&status.as_str()), "a POST is answered with {answer}");
    Ok(Seen {
        uploaded: status == "200",
    })
}

fn part_from(stream: TcpStream, dice: &mut Dice) {
    if dice.chance(50) {
        // One that is gone already needs no reset.
        let _ = stream.set_zero_linger();
    }
}
