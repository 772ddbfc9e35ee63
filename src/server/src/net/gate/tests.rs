//! Frames through a gate on a real socket, whole and in crumbs.

use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{Role, frame::Frame},
    },
};

use super::*;

const MASK: [u8; 4] = [7, 77, 177, 3];
const ALLOWANCE: u64 = 100;

/// A frame as a client sends it.
fn frame(kind: OpCode, is_final: bool, payload: &[u8]) -> Vec<u8> {
    masked(Frame::message(payload.to_vec(), kind, is_final))
}

fn masked(mut frame: Frame) -> Vec<u8> {
    frame.header_mut().mask = Some(MASK);
    let mut bytes = Vec::new();
    frame.format(&mut bytes).unwrap();
    bytes
}

fn binary(payload: &[u8]) -> Vec<u8> {
    frame(OpCode::Data(Data::Binary), true, payload)
}

fn audio(frames: u32, bytes: usize) -> Vec<u8> {
    let mut payload = [2_u32.to_le_bytes(), frames.to_le_bytes()].concat();
    payload.resize(bytes, 9);
    payload
}

struct Served {
    socket: WebSocketStream<Gate>,
    keeper: GateKeeper,
    announced: mpsc::Receiver<Announcement>,
    client: TcpStream,
}

/// A gate whose first bytes came along with the HTTP request.
async fn served(read_already: &[u8]) -> Served {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.set_nodelay(true).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let (gate, keeper, announced) = Gate::new(Arc::new(stream), read_already, ALLOWANCE);
    Served {
        socket: WebSocketStream::from_raw_socket(gate, Role::Server, None).await,
        keeper,
        announced,
        client,
    }
}

impl Served {
    /// What comes next: a message, or word of one.
    async fn next(&mut self) -> Result<Message, Announcement> {
        tokio::select! {
            biased;
            Some(announcement) = self.announced.recv() => Err(announcement),
            message = self.socket.next() => Ok(message.expect("a message").expect("a whole one")),
        }
    }
}

#[tokio::test]
async fn what_is_small_passes_even_in_crumbs_and_from_before_the_upgrade() {
    let bytes = [
        binary(b"one"),
        frame(OpCode::Data(Data::Text), true, b"two"),
        binary(&[3; 100]),
    ]
    .concat();
    let mut served = served(&bytes[..4]).await;
    let rest = bytes[4..].to_vec();
    let mut client = served.client;
    tokio::spawn(async move {
        for byte in rest {
            client.write_all(&[byte]).await.unwrap();
            client.flush().await.unwrap();
        }
    });
    for expected in [
        Message::binary(b"one".to_vec()),
        Message::text("two"),
        Message::binary(vec![3; 100]),
    ] {
        assert_eq!(served.socket.next().await.unwrap().unwrap(), expected);
    }
}

#[tokio::test]
async fn what_is_large_is_announced_once_and_waits() {
    let mut served = served(&[]).await;
    let payload = audio(30, 248);
    served
        .client
        .write_all(&[binary(&payload), binary(b"next")].concat())
        .await
        .unwrap();
    let expected = Announcement {
        is_binary: true,
        bytes: 248,
    };
    assert_eq!(served.next().await, Err(expected));
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(50), served.next())
            .await
            .is_err(),
        "neither it nor what follows comes before there is room"
    );
    served.keeper.pass(248);
    assert_eq!(served.next().await, Ok(Message::binary(payload)));
    assert_eq!(served.next().await, Ok(Message::binary(b"next".to_vec())));
}

#[tokio::test]
async fn a_message_in_pieces_is_announced_by_its_audio_header_and_held_to_it() {
    let mut served = served(&[]).await;
    served.keeper.pass(0);
    let pieces = |last: usize| {
        [
            frame(OpCode::Data(Data::Binary), false, &audio(100, 300)),
            frame(OpCode::Data(Data::Continue), false, &[1; 300]),
            frame(OpCode::Data(Data::Continue), true, &vec![2; last]),
        ]
        .concat()
    };
    let promised = Announcement {
        is_binary: true,
        bytes: 808,
    };
    served.client.write_all(&pieces(208)).await.unwrap();
    assert_eq!(served.next().await, Err(promised));
    served.keeper.pass(808);
    assert_eq!(served.next().await.unwrap().len(), 808);

    served.keeper.pass(0);
    served.client.write_all(&pieces(209)).await.unwrap();
    assert_eq!(served.next().await, Err(promised));
    served.keeper.pass(808);
    let overrun = Announcement {
        is_binary: true,
        bytes: 809,
    };
    assert_eq!(served.next().await, Err(overrun));
}

#[tokio::test]
async fn what_is_discarded_is_read_and_the_close_still_comes_through() {
    let mut served = served(&[]).await;
    served.client.write_all(&binary(&audio(1_000, 8_008))).await.unwrap();
    assert!(served.next().await.is_err());
    served.keeper.discard();
    let close = masked(Frame::close(None));
    served
        .client
        .write_all(&[binary(&[5; 70_000]), binary(b"x"), close].concat())
        .await
        .unwrap();
    assert_eq!(served.next().await, Ok(Message::Close(None)));
}
