//! Where clients connect: one after the other, so that the order in which the pod accepts them is known.

use std::{net::SocketAddr, sync::atomic::AtomicU64, sync::atomic::Ordering};

use anyhow::Context;
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::Mutex,
};

/// Bytes that the kernel takes for a client that will not read: few, so that its pod soon feels it.
const WEDGED_BUFFER_BYTES: u32 = 4 << 10;

/// The way in.
pub(super) struct Door {
    address: SocketAddr,
    queue: Mutex<()>,
    opened: AtomicU64,
}

impl Door {
    pub(super) fn new(address: &str) -> anyhow::Result<Self> {
        Ok(Self {
            address: address.parse().context("the pod's address is none")?,
            queue: Mutex::new(()),
            opened: AtomicU64::new(0),
        })
    }

    /// Opens a connection; gives its place in the order of acceptance.
    ///
    /// # Errors
    /// If the pod is gone.
    pub(super) async fn enter(&self, will_read: bool) -> anyhow::Result<(TcpStream, u64)> {
        let socket = TcpSocket::new_v4()?;
        if !will_read {
            socket.set_recv_buffer_size(WEDGED_BUFFER_BYTES)?;
        }
        let _turn = self.queue.lock().await;
        let stream = socket
            .connect(self.address)
            .await
            .context("the pod takes no connection any more")?;
        Ok((stream, self.opened.fetch_add(1, Ordering::Relaxed) + 1))
    }

    /// Connections opened so far.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }
}
