//! The task of one socket: brings what happens to the connection's machine and carries its actions out.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::SplitStream};
use greenroom_director::{ConnectionId, Event as PodEvent, Failure};
use greenroom_wire::{CloseCode, Ignored, TEXT_BYTES_MAX, constants::FRAME_BYTES_MAX};
use statig::{blocking::StateMachine, prelude::*};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    Net,
    access::Denied,
    backlog::{Backlog, Change, unacknowledged},
    connection::{Action, Connection, Due, Event},
    gate::{Gate, GateKeeper},
    reader::{Asker, Audio, check},
    upgrade::{not_heard, turn_away},
    writer::{Item, WriteError, Writer},
};
use crate::pod::{Ending, Inbox, Outgoing, Refusal, TellError, UploadBody};

/// How long a client may take to answer a close frame; a longer wait serves nobody.
pub(super) const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// How often the client's backlog is looked at.
const BACKLOG_EVERY: Duration = Duration::from_secs(1);
/// Things that wait for the writer.
const QUEUE_MAX: usize = 64;
/// Places in that queue that are kept for answers to what the client says.
const QUEUE_FOR_ANSWERS: usize = 48;
/// Bytes that may wait in the kernel unsent: more would only grow stale there.
const UNSENT_BYTES_MAX: u32 = 128 << 10;

/// Serves a socket until it is gone.
pub(super) async fn serve(
    net: Arc<Net>,
    connection: ConnectionId,
    stream: TcpStream,
    read_already: &[u8],
    denied: Option<Denied>,
) {
    let stream = Arc::new(stream);
    if let Err(error) = socket2::SockRef::from(&*stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX) {
        tracing::debug!(%error, "the kernel keeps its own limit of unsent bytes");
    }
    let (gate, keeper, announced) = Gate::new(Arc::clone(&stream), read_already, TEXT_BYTES_MAX as u64);
    let config = WebSocketConfig::default()
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    let socket = WebSocketStream::from_raw_socket(gate, Role::Server, Some(config)).await;
    if let Some(denied) = denied {
        tracing::info!(%connection, reason = %denied, "a client was refused");
        keeper.discard();
        return turn_away(socket, None, CloseCode::Refused).await;
    }
    match net.pod.open(connection) {
        Ok(inbox) => {
            let (sink, frames) = socket.split();
            let (queue, queued) = mpsc::channel(QUEUE_MAX);
            let (close_first, close_ordered) = watch::channel(None);
            let writer = Writer {
                sink,
                stream: Arc::clone(&stream),
                queue: queued,
                close_first: close_ordered,
                playing: None,
            };
            let task = Task {
                asker: Asker {
                    pod: net.pod.clone(),
                    connection,
                },
                net,
                machine: Connection.state_machine(),
                keeper,
                stream,
                queue,
                close_first,
                held: Held::default(),
                work: None,
                farewell_until: None,
                backlog: Backlog::default(),
                end: None,
            };
            task.run(inbox, frames, announced, writer.run()).await;
        }
        Err(error) => {
            keeper.discard();
            let (words, code) = not_heard(error);
            turn_away(socket, words, code).await;
        }
    }
}

/// What belongs to the event that the machine is looking at.
#[derive(Default)]
struct Held {
    /// The binary frame that came.
    frame: Option<Bytes>,
    /// What the pod says.
    item: Option<Item>,
    /// The handshake's audio, checked.
    audio: Option<Audio>,
    /// Whether the session was opened with `sde`.
    sde: bool,
}

/// Audio that is being looked at, and what for: the handshake, or a request of a live session.
type Work = BoxFuture<'static, (Option<Due>, Result<Audio, Refusal>)>;

/// How a task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Let the socket go.
    Release,
    /// Drop it at once, with what it has not sent.
    Abort,
}

/// One connection that the pod knows.
struct Task {
    net: Arc<Net>,
    asker: Asker,
    machine: StateMachine<Connection>,
    keeper: GateKeeper,
    stream: Arc<TcpStream>,
    queue: mpsc::Sender<Item>,
    close_first: watch::Sender<Option<CloseCode>>,
    held: Held,
    work: Option<Work>,
    farewell_until: Option<Instant>,
    backlog: Backlog,
    end: Option<End>,
}

impl Task {
    /// Runs until the socket is gone. The inbox is dropped last: the pod must not hear of the end before it is one.
    async fn run(
        mut self,
        mut inbox: Inbox,
        mut frames: SplitStream<WebSocketStream<Gate>>,
        mut announced: mpsc::Receiver<super::gate::Announcement>,
        writing: impl Future<Output = Result<(), WriteError>>,
    ) {
        let mut writing = Box::pin(writing);
        let mut is_writing = true;
        let mut looks = tokio::time::interval(BACKLOG_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.end.is_none() {
            let is_open = self.farewell_until.is_none();
            tokio::select! {
                biased;
                Ok(()) = inbox.ending.changed() => {
                    let ending = *inbox.ending.borrow_and_update();
                    self.ending(ending);
                }
                written = &mut writing, if is_writing => {
                    is_writing = false;
                    self.written(written);
                }
                (due, audio) = finished(&mut self.work), if self.work.is_some() => {
                    self.work = None;
                    self.checked(due, audio);
                }
                outgoing = next_outgoing(&self.queue, &mut inbox.outgoing), if is_open => self.outgoing(outgoing),
                Some(announcement) = announced.recv() => self.handle(Event::Announced {
                    is_binary: announcement.is_binary,
                    bytes: announcement.bytes,
                }),
                // What comes meanwhile waits in the kernel.
                frame = frames.next(), if self.work.is_none() => self.frame(frame),
                () = until(self.farewell_until) => self.handle(Event::Overdue),
                _ = looks.tick() => self.look_at_backlog(),
            }
        }
        if self.end == Some(End::Abort)
            && let Err(error) = socket2::SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO))
        {
            tracing::debug!(%error, "a socket is closed without being reset");
        }
        drop((writing, frames, self));
        drop(inbox);
    }

    /// Brings an event to the machine and carries out what it wants done, and so on until nothing is left.
    fn handle(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let mut actions = Vec::new();
            self.machine.handle_with_context(&event, &mut actions);
            for action in actions {
                // At most one action of a list has an answer.
                next = self.carry_out(action).or(next);
            }
        }
    }

    fn carry_out(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Find(name) => {
                let track = self.asker.pod.find(&name);
                return Some(Event::Found(track));
            }
            Action::Pass(bytes) => self.keeper.pass(bytes),
            Action::Discard => self.keeper.discard(),
            Action::Declare(intent, bytes) => {
                let connection = self.asker.connection;
                let declared = self.asker.pod.try_tell(PodEvent::HandshakeDeclared {
                    connection,
                    intent,
                    bytes,
                });
                return unheard(declared);
            }
            Action::Check(intent) => {
                let (pod, frame) = (self.asker.pod.clone(), self.held.frame.take().unwrap_or_default());
                self.work = Some(Box::pin(async move { (None, check(pod, frame, intent).await) }));
            }
            Action::AskSession { config, track } => {
                self.held.sde = config.sde;
                let audio = self.held.audio.take();
                return unheard(self.asker.session(*config, track, audio));
            }
            Action::AskUpload(header) => {
                if let Some(Audio::Raw(pcm)) = self.held.audio.take() {
                    return unheard(self.asker.upload(header, UploadBody::Pcm(pcm)));
                }
            }
            Action::Obey(message) => {
                if let Some(answer) = self.asker.obey(message) {
                    self.enqueue(Item::Text(Box::new(answer)));
                }
            }
            Action::Apply(due) => {
                let (pod, frame) = (self.asker.pod.clone(), self.held.frame.take().unwrap_or_default());
                let intent = greenroom_director::Intent::Session;
                self.work = Some(Box::pin(async move { (Some(due), check(pod, frame, intent).await) }));
            }
            Action::Answer(answer) => self.enqueue(Item::Text(answer)),
            Action::Forward => {
                if let Some(item) = self.held.item.take() {
                    self.enqueue(item);
                }
            }
            Action::CloseLast(code) => {
                self.begin_farewell(code);
                self.enqueue(Item::Close(code));
            }
            Action::CloseFirst(code) => {
                self.begin_farewell(code);
                self.close_first.send_replace(Some(code));
            }
            Action::End => self.end = Some(End::Release),
            Action::Abort => self.end = Some(End::Abort),
            Action::Ignore(what) => self.ignore(what),
        }
        None
    }

    fn begin_farewell(&mut self, code: CloseCode) {
        tracing::info!(connection = %self.asker.connection, code = code.number(), reason = code.reason(), "a socket is closed");
        self.farewell_until = Some(Instant::now() + FAREWELL_MAX);
    }

    fn ignore(&self, what: Ignored) {
        self.net.counters.ignored(what);
        tracing::debug!(connection = %self.asker.connection, ?what, "a message was passed over");
    }

    /// Queues something for the writer. A client that reads no answers while it asks on and on is let go.
    fn enqueue(&mut self, item: Item) {
        if self.queue.try_send(item).is_err() && self.end.is_none() {
            tracing::warn!(connection = %self.asker.connection, "a client reads nothing of what it is told: its socket is dropped");
            self.end = Some(End::Abort);
        }
    }

    fn ending(&mut self, ending: Ending) {
        match ending {
            Ending::Open => {}
            Ending::Close(code) => {
                let code = CloseCode::numbered(code).unwrap_or(CloseCode::GoingAway);
                self.handle(Event::CloseOrdered(code));
            }
            Ending::Force => self.handle(Event::ForceOrdered),
        }
    }

    fn written(&mut self, result: Result<(), WriteError>) {
        match result {
            // The close frame is out: the client's is awaited.
            Ok(()) => {}
            Err(error) if error.is_farewell() => {}
            Err(WriteError::Socket(error)) => {
                tracing::debug!(connection = %self.asker.connection, %error, "a socket broke");
                self.handle(Event::PeerGone);
            }
            Err(error @ WriteError::Encoding(_)) => {
                tracing::error!(connection = %self.asker.connection, %error, "a session broke");
                self.end = Some(End::Abort);
            }
        }
    }

    fn checked(&mut self, due: Option<Due>, audio: Result<Audio, Refusal>) {
        match (due, audio) {
            // Nobody is told any more.
            (Some(_), _) if self.farewell_until.is_some() => {}
            (None, Ok(audio)) => {
                self.held.audio = Some(audio);
                self.handle(Event::Usable);
            }
            (None, Err(refusal)) => self.handle(Event::Unusable(refusal)),
            (Some(due), Ok(audio)) => {
                if let Some(answer) = self.asker.apply(due, audio) {
                    self.enqueue(Item::Text(Box::new(answer)));
                }
            }
            (Some(due), Err(refusal)) => {
                let answer = due.failed(refusal.code(), refusal.message);
                self.enqueue(Item::Text(Box::new(answer)));
            }
        }
    }

    fn outgoing(&mut self, outgoing: Option<Outgoing>) {
        let event = match outgoing {
            Some(Outgoing::Proceed) => Event::Proceed,
            Some(Outgoing::Text(message)) => {
                self.held.item = Some(Item::Text(Box::new(message)));
                Event::Said
            }
            Some(Outgoing::Atomic(frames)) => {
                self.held.item = Some(Item::Atomic(frames));
                Event::Said
            }
            Some(Outgoing::Play(playback)) => {
                self.held.item = Some(Item::Play {
                    playback: Box::new(playback),
                    sde: self.held.sde,
                });
                Event::Plays
            }
            Some(Outgoing::Refuse(refusal)) => Event::Refused(refusal),
            Some(Outgoing::UploadOk(answer)) => Event::Uploaded(answer),
            Some(Outgoing::UploadFailed(refusal)) => Event::UploadFailed(refusal),
            // The pod has ended.
            None => Event::CloseOrdered(CloseCode::GoingAway),
        };
        self.handle(event);
    }

    fn frame(&mut self, frame: Option<Result<Message, tungstenite::Error>>) {
        match frame {
            Some(Ok(Message::Text(text))) => self.handle(Event::Text(text)),
            Some(Ok(Message::Binary(bytes))) => {
                self.held.frame = Some(bytes);
                self.handle(Event::Binary);
                self.held.frame = None;
            }
            Some(Ok(Message::Close(_))) => {
                // The library answers; reading on sees it through, and the stream ends.
                self.farewell_until.get_or_insert(Instant::now() + FAREWELL_MAX);
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            // Text that is no UTF-8 is malformed like any other; the frames around it are whole.
            Some(Err(tungstenite::Error::Utf8(_))) => self.handle(Event::Text("".into())),
            Some(Err(error)) => {
                tracing::debug!(connection = %self.asker.connection, %error, "a socket ended");
                self.handle(Event::PeerGone);
            }
            None => self.handle(Event::PeerGone),
        }
    }

    fn look_at_backlog(&mut self) {
        let Some(unacknowledged) = unacknowledged(&*self.stream) else {
            return;
        };
        let connection = self.asker.connection;
        let event = match self.backlog.look(self.keeper.written(), unacknowledged) {
            Some(Change::Stuck) => PodEvent::ClientStuck { connection },
            Some(Change::Moving) => PodEvent::ClientMoving { connection },
            None => return,
        };
        if self.asker.pod.try_tell(event).is_err() {
            self.backlog.look_again();
        }
    }
}

/// What the pod's deafness means for the connection.
fn unheard(told: Result<(), TellError>) -> Option<Event> {
    match told {
        Ok(()) => None,
        Err(error @ TellError::Full) => Some(Event::Refused(Refusal::new(Failure::Busy, error.to_string()))),
        Err(TellError::Closed) => Some(Event::CloseOrdered(CloseCode::GoingAway)),
    }
}

async fn finished(work: &mut Option<Work>) -> (Option<Due>, Result<Audio, Refusal>) {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

/// The pod's next word, once the writer's queue has room beyond what is kept for answers.
async fn next_outgoing(queue: &mpsc::Sender<Item>, outgoing: &mut mpsc::Receiver<Outgoing>) -> Option<Outgoing> {
    if let Ok(room) = queue.reserve_many(QUEUE_FOR_ANSWERS + 1).await {
        drop(room);
    }
    outgoing.recv().await
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
