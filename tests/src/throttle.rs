//! A slow line to the pod: what comes back through it comes so fast and no faster.

use std::time::Duration;

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// As little as the kernel lets wait here: what is not taken yet is to wait at the pod.
const WINDOW_BYTES: u32 = 16 << 10;
/// How often a portion passes.
const PORTION_EVERY: Duration = Duration::from_millis(20);

/// A line for one connection.
pub struct Throttle {
    address: String,
    bytes_a_second: watch::Sender<Option<usize>>,
}

impl Throttle {
    /// A line to the pod, as fast as it gets until it is told otherwise.
    ///
    /// # Errors
    /// If no socket is to be had.
    pub async fn to(pod: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (bytes_a_second, rate) = watch::channel(None);
        let pod = pod.parse().context("no address of a pod")?;
        tokio::spawn(async move {
            let socket = TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(WINDOW_BYTES)?;
            let (client, _) = listener.accept().await?;
            let (from_pod, to_pod) = socket.connect(pod).await?.into_split();
            let (from_client, to_client) = client.into_split();
            tokio::try_join!(pass(from_client, to_pod, None), pass(from_pod, to_client, Some(rate)))?;
            anyhow::Ok(())
        });
        Ok(Self {
            address,
            bytes_a_second,
        })
    }

    /// Where a client finds the line: `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on so many bytes a second come back; without a number, as many as there are.
    pub fn set(&self, bytes_a_second: Option<usize>) {
        self.bytes_a_second.send_replace(bytes_a_second);
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    rate: Option<watch::Receiver<Option<usize>>>,
) -> anyhow::Result<()> {
    let mut portion = vec![0; 64 << 10];
    loop {
        let rate = rate.as_ref().and_then(|rate| *rate.borrow());
        let most = rate.map_or(portion.len(), |rate| {
            (rate * PORTION_EVERY.as_millis() as usize / 1000).clamp(1, portion.len())
        });
        let bytes = from.read(&mut portion[..most]).await?;
        if bytes == 0 {
            return Ok(to.shutdown().await?);
        }
        to.write_all(&portion[..bytes]).await?;
        if rate.is_some() {
            tokio::time::sleep(PORTION_EVERY).await;
        }
    }
}
