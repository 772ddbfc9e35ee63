//! The client's bytes on their way into the WebSocket library: nothing large passes before there is room for it.
//!
//! The library reads whole messages into memory. The gate sits below it, follows the frame headers, announces a message that is larger
//! than may pass, and holds it at the door (so that the sender waits) until it is let through or thrown away.

use std::{
    io::{self, Cursor},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use futures_util::task::AtomicWaker;
use greenroom_wire::constants::PCM_HEADER_BYTES;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Data, OpCode},
};

/// Everything that comes is thrown away.
const DISCARD: u64 = u64::MAX;
/// Bytes read at once while a header is looked for.
const READ_BYTES: usize = 16 << 10;
/// Announcements that may wait: one a message, and a message waits for its answer.
const ANNOUNCEMENTS_MAX: usize = 4;

/// A message that waits at the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announcement {
    /// Binary, or text.
    pub(super) is_binary: bool,
    /// Bytes of the whole message, as far as it says: of the frame, or (where it comes in pieces, as browsers send it) of its audio header.
    pub(super) bytes: u64,
}

/// The other end of a gate: what may pass, and what went through.
#[derive(Clone, Debug)]
pub(super) struct GateKeeper(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Bytes of a message that may pass unannounced, or [`DISCARD`].
    allowance: AtomicU64,
    /// Bytes that the kernel took for the client.
    written: AtomicU64,
    waiting: AtomicWaker,
}

impl GateKeeper {
    /// Lets messages of so many bytes pass.
    pub(super) fn pass(&self, bytes: u64) {
        self.set(bytes.min(DISCARD - 1));
    }

    /// Throws every message away from the next frame on; the client's close still comes through.
    pub(super) fn discard(&self) {
        self.set(DISCARD);
    }

    /// Bytes that the kernel took for the client so far.
    pub(super) fn written(&self) -> u64 {
        self.0.written.load(Ordering::Relaxed)
    }

    fn set(&self, allowance: u64) {
        self.0.allowance.store(allowance, Ordering::Release);
        self.0.waiting.wake();
    }
}

/// What follows the bytes that were let through.
#[derive(Debug)]
enum Place {
    /// A header.
    Header,
    /// So many bytes, header included, that pass or are thrown away.
    Frame { remaining: u64, passes: bool },
}

/// A TCP stream with a gate in its reading direction.
#[derive(Debug)]
pub(super) struct Gate {
    stream: Arc<TcpStream>,
    shared: Arc<Shared>,
    announcements: mpsc::Sender<Announcement>,
    place: Place,
    /// Read and not let through.
    raw: BytesMut,
    message: Message,
}

/// The message whose frames are coming.
#[derive(Debug, Default)]
struct Message {
    is_binary: bool,
    bytes: u64,
    /// What the allowance was when it was announced.
    announced: Option<u64>,
}

impl Gate {
    /// A gate for messages of at most `allowance` bytes. `read_already` is what came behind the HTTP request.
    pub(super) fn new(
        stream: Arc<TcpStream>,
        read_already: &[u8],
        allowance: u64,
    ) -> (Self, GateKeeper, mpsc::Receiver<Announcement>) {
        let shared = Arc::new(Shared {
            allowance: AtomicU64::new(allowance),
            written: AtomicU64::new(0),
            waiting: AtomicWaker::new(),
        });
        let (announcements, announced) = mpsc::channel(ANNOUNCEMENTS_MAX);
        let gate = Self {
            stream,
            shared: Arc::clone(&shared),
            announcements,
            place: Place::Header,
            raw: BytesMut::from(read_already),
            message: Message::default(),
        };
        (gate, GateKeeper(shared), announced)
    }

    /// Reads more into `raw`; gives how much, zero at the end of the stream.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.raw.reserve(READ_BYTES);
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            match self.stream.try_read_buf(&mut self.raw) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Decides about the frame whose header is in `raw`; pending while more must be read (`None`) or while it must wait.
    fn poll_header(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Place>>> {
        let mut cursor = Cursor::new(&self.raw[..]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
        let Some((header, length)) = parsed? else {
            return Poll::Ready(Ok(None));
        };
        let header_bytes = cursor.position();
        let whole = header_bytes.saturating_add(length);
        let OpCode::Data(kind) = header.opcode else {
            return Poll::Ready(Ok(Some(Place::Frame {
                remaining: whole,
                passes: true,
            })));
        };
        self.shared.waiting.register(context.waker());
        let allowance = self.shared.allowance.load(Ordering::Acquire);
        let (is_binary, before) = match kind {
            Data::Continue => (self.message.is_binary, self.message.bytes),
            _ => (kind == Data::Binary, 0),
        };
        let bytes = before.saturating_add(length);
        if allowance != DISCARD && bytes > allowance {
            if self.message.announced != Some(allowance) {
                let prefix = (PCM_HEADER_BYTES as u64).min(length);
                if is_binary && before == 0 && (self.raw.len() as u64) < header_bytes + prefix {
                    return Poll::Ready(Ok(None));
                }
                let promised = if is_binary && before == 0 && !header.is_final {
                    promised(&self.raw[header_bytes as usize..], header.mask)
                } else {
                    0
                };
                // Full only if nobody listens any more.
                let _ = self.announcements.try_send(Announcement {
                    is_binary,
                    bytes: bytes.max(promised),
                });
                self.message.announced = Some(allowance);
            }
            return Poll::Pending;
        }
        self.message = Message {
            is_binary,
            bytes,
            announced: None,
        };
        Poll::Ready(Ok(Some(Place::Frame {
            remaining: whole,
            passes: allowance != DISCARD,
        })))
    }

    /// Lets bytes of the frame through, those in `raw` first; gives how many were read, zero at the end of the stream.
    fn poll_through(
        &mut self,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
        remaining: u64,
    ) -> Poll<io::Result<usize>> {
        let most = out.remaining().min(usize::try_from(remaining).unwrap_or(usize::MAX));
        if !self.raw.is_empty() {
            let bytes = most.min(self.raw.len());
            out.put_slice(&self.raw[..bytes]);
            self.raw.advance(bytes);
            return Poll::Ready(Ok(bytes));
        }
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            match self.stream.try_read(out.initialize_unfilled_to(most)) {
                Ok(bytes) => {
                    out.advance(bytes);
                    return Poll::Ready(Ok(bytes));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// Bytes of a PCM message by its first eight; zero if these are no header.
fn promised(payload: &[u8], mask: Option<[u8; 4]>) -> u64 {
    let Some(first) = payload.first_chunk::<PCM_HEADER_BYTES>() else {
        return 0;
    };
    let mask = mask.unwrap_or_default();
    let plain: Vec<u8> = first
        .iter()
        .zip(mask.iter().cycle())
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    let number = |at: usize| {
        u64::from(u32::from_le_bytes([
            plain[at],
            plain[at + 1],
            plain[at + 2],
            plain[at + 3],
        ]))
    };
    (number(0) * 4)
        .saturating_mul(number(4))
        .saturating_add(PCM_HEADER_BYTES as u64)
}

impl AsyncRead for Gate {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            match self.place {
                Place::Header => match ready!(self.poll_header(context))? {
                    Some(place) => self.place = place,
                    None => {
                        if ready!(self.poll_fill(context))? == 0 {
                            return Poll::Ready(Ok(()));
                        }
                    }
                },
                Place::Frame { remaining: 0, .. } => self.place = Place::Header,
                Place::Frame {
                    remaining,
                    passes: true,
                } => {
                    let bytes = ready!(self.poll_through(context, out, remaining))?;
                    self.place = Place::Frame {
                        remaining: remaining - bytes as u64,
                        passes: true,
                    };
                    return Poll::Ready(Ok(()));
                }
                Place::Frame {
                    remaining,
                    passes: false,
                } => {
                    if self.raw.is_empty() && ready!(self.poll_fill(context))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    let bytes = self.raw.len().min(usize::try_from(remaining).unwrap_or(usize::MAX));
                    self.raw.advance(bytes);
                    self.place = Place::Frame {
                        remaining: remaining - bytes as u64,
                        passes: false,
                    };
                }
            }
        }
    }
}

impl AsyncWrite for Gate {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            match self.stream.try_write(bytes) {
                Ok(taken) => {
                    self.shared.written.fetch_add(taken as u64, Ordering::Relaxed);
                    return Poll::Ready(Ok(taken));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The last owner's drop closes the stream; until then the client may still read.
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
