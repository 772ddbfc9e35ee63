//! What all threads of the pod share.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use greenroom_director::{ConnectionId, Failure, Plan, Work};
use greenroom_generator::{Generator, PlayerSettings};
use greenroom_library::{Library, LibraryError};
use greenroom_separator::Separator;
use greenroom_stage::{Stage, StageError, Workspace};
use greenroom_sync::{Heartbeat, Mailbox, ReceiveError};

use super::{
    desk::Desks,
    engines::Loads,
    events::EventSender,
    job::guarded,
    live::LiveLine,
    outbox::Refusal,
    telemetry::Telemetry,
    tracks::{Origin, Tracks},
};

/// An event loop that did not come round for this long is wedged: it does at least once a second.
const HEALTHY_WITHIN: Duration = Duration::from_secs(5);

/// The pod's common ground. Locks in here are held for moments, and never two at once.
pub(super) struct Shared {
    pub(super) events: EventSender,
    pub(super) desks: Desks,
    pub(super) tracks: Tracks,
    pub(super) live: LiveLine,
    pub(super) generator: Arc<dyn Generator>,
    pub(super) separator: Option<Arc<dyn Separator>>,
    pub(super) stage: Arc<dyn Stage>,
    pub(super) plan: Plan,
    /// Analyses. Its threads have lowered priority.
    pub(super) signal: rayon::ThreadPool,
    /// Jobs on the disk.
    pub(super) disk: rayon::ThreadPool,
    pub(super) telemetry: Telemetry,
    pub(super) loads: Loads,
    pub(super) player: PlayerSettings,
    startup_warmup: bool,
    source_seconds_max: u32,
    pub(super) connections_accepted: AtomicU64,
    pub(super) client_hasher: RandomState,
    /// Everything that boot found has been told.
    pub(super) warm: AtomicBool,
    pub(super) started: Instant,
    heartbeat: Heartbeat,
    library: Mutex<Library>,
}

/// What a pod is made of, before it has threads.
pub(super) struct Parts {
    pub(super) events: EventSender,
    pub(super) generator: Arc<dyn Generator>,
    pub(super) separator: Option<Arc<dyn Separator>>,
    pub(super) stage: Arc<dyn Stage>,
    pub(super) plan: Plan,
    pub(super) signal: rayon::ThreadPool,
    pub(super) disk: rayon::ThreadPool,
    pub(super) library: Library,
    pub(super) cache_bytes_max: usize,
    pub(super) source_seconds_max: u32,
    pub(super) player: PlayerSettings,
    pub(super) startup_warmup: bool,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            events: parts.events,
            desks: Desks::default(),
            tracks: Tracks::new(parts.cache_bytes_max),
            live: LiveLine::new(),
            generator: parts.generator,
            separator: parts.separator,
            stage: parts.stage,
            telemetry: Telemetry::new(&parts.plan),
            loads: Loads::default(),
            plan: parts.plan,
            signal: parts.signal,
            disk: parts.disk,
            player: parts.player,
            startup_warmup: parts.startup_warmup,
            source_seconds_max: parts.source_seconds_max,
            connections_accepted: AtomicU64::new(0),
            client_hasher: RandomState::new(),
            warm: AtomicBool::new(false),
            started: Instant::now(),
            heartbeat: Heartbeat::new(),
            library: Mutex::new(parts.library),
        }
    }

    /// The library. Its calls are quick but for syncing; what is slow is in its drafts and readers.
    pub(super) fn library(&self) -> MutexGuard<'_, Library> {
        // The library keeps its own order: whatever a panic left half-done is swept by the next change.
        self.library.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room on the device for a kind of work, for as long as the value lives.
    pub(super) fn room_for(&self, work: Work) -> Result<Workspace, StageError> {
        self.stage.admit(self.plan.need(work).workspace_bytes)
    }

    /// The event loop got round.
    pub(super) fn beat(&self) {
        self.heartbeat.beat(self.moment());
    }

    pub(super) fn is_healthy(&self) -> bool {
        let since = self.moment().saturating_sub(self.heartbeat.last());
        Duration::from_micros(since) < HEALTHY_WITHIN
    }

    /// A session's name for people and logs, unlike those of other runs of the program.
    pub(super) fn session_id(&self, connection: ConnectionId) -> String {
        format!("{:08x}-{connection}", self.client_hasher.hash_one("session") as u32)
    }

    /// The folder that LoRAs are read from.
    pub(super) fn lora_dir(&self) -> Option<String> {
        let folder = self.generator.loras().folder.as_ref();
        folder.map(|folder| folder.display().to_string())
    }

    /// Longest source served, in seconds.
    pub(super) fn seconds_max(&self) -> f64 {
        f64::from(self.generator.description().seconds_max.min(self.source_seconds_max))
    }

    /// Whether what boot found is told, the seat is empty, and no weights are on their way in.
    pub(super) fn is_ready(&self) -> bool {
        self.is_healthy() && self.is_warm() && !self.telemetry.is_live()
    }

    /// Whether what boot found is told and, where start-up waits for them, no weights are on their way in.
    pub(super) fn is_warm(&self) -> bool {
        self.warm.load(Ordering::Acquire) && !(self.startup_warmup && self.telemetry.is_restoring())
    }

    /// Microseconds since the pod started.
    pub(super) fn moment(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The WAV file of a listed track, read on the disk's pool.
    pub(super) async fn audio_file(self: &Arc<Self>, name: &str) -> Result<Option<Bytes>, Refusal> {
        let Some(track) = self.tracks.find(name) else {
            return Ok(None);
        };
        let (answer, read) = tokio::sync::oneshot::channel();
        let shared = Arc::clone(self);
        self.disk.spawn_fifo(move || {
            let reading = guarded(|| {
                let origin = shared.tracks.with(track, |entry| entry.origin);
                Ok(match origin {
                    Some(Origin::Upload(id) | Origin::Fixture(id)) => shared.reader(id)?.source_bytes().map(Some),
                    Some(Origin::FixtureFile(id)) => shared.library().fixture_bytes(id).map(Some),
                    Some(Origin::Memory) | None => Ok(None),
                })
            });
            // A request that has gone needs no answer.
            let _ = answer.send(reading);
        });
        match read.await {
            Ok(Ok(Ok(bytes))) => Ok(bytes.map(Bytes::from)),
            // Wiped between the listing and the reading: there is no such track any more.
            Ok(Ok(Err(LibraryError::Wiped { .. } | LibraryError::UnknownTrack { .. }))) => Ok(None),
            Ok(Ok(Err(error))) => Err(Refusal::new(Failure::Internal, error.to_string())),
            Ok(Err(_)) | Err(_) => Err(Refusal::plain(Failure::Internal)),
        }
    }
}

/// Waits on a lane's mailbox.
pub(super) struct Patience(Duration);

/// Lanes have nothing to do between orders; how often they look for nothing does not matter.
pub(super) const PATIENCE: Patience = Patience(Duration::from_secs(60));

impl Patience {
    /// The next order; none once the mailbox is closed and empty.
    pub(super) fn next<T>(&self, orders: &Mailbox<T>) -> Option<T> {
        loop {
            match orders.receive(self.0) {
                Ok(order) => return Some(order),
                Err(ReceiveError::TimedOut | ReceiveError::Nudged) => {}
                Err(ReceiveError::Closed) => return None,
            }
        }
    }
}
