//! The driver: carries out the director's effects and tells it what happened. Decides nothing.
//!
//! ```text
//! sockets ── PodHandle ──events──▶ director thread ──effects──▶ lanes: live · work · stage · disk
//!    ▲                                   │                          │
//!    └────────── Outbox (per connection) ◀──────── announcements ◀──┘ JobEnded, RipProgress, GateDrained
//! ```
//! Data that is too large for an event (audio, prompts, parameters) is deposited beside it.

mod announce;
pub mod deposit;
mod desk;
mod director_thread;
mod disk;
mod encode;
mod engines;
mod events;
mod handle;
mod job;
mod live;
mod live_session;
mod loras;
mod needs;
pub mod outbox;
mod recovered;
mod shared;
mod shelf;
mod stage_lane;
mod telemetry;
mod threads;
mod tracks;
#[cfg(feature = "simulated-stage")]
mod wedge;
mod work;

use std::{
    num::NonZeroUsize,
    sync::{Arc, atomic::Ordering},
};

use greenroom_director::Plan;
use greenroom_generator::{Generator, PlayerSettings};
use greenroom_library::Library;
use greenroom_separator::Separator;
use greenroom_stage::Stage;
use greenroom_sync::mailbox;
use tokio::sync::oneshot;

pub use deposit::{Params, SessionCommand, SessionDeposit, SwapDeposit, UploadBody, UploadDeposit, Wants};
pub use events::TellError;
pub use handle::PodHandle;
pub use needs::needs;
pub use outbox::{Echo, Ending, Frame, Inbox, Outgoing, Playback, Refusal};
pub use telemetry::Metric;
pub use threads::ThreadSettings;
pub use tracks::{StemsState, TrackFacts, TrackView};

use self::{
    director_thread::{Driver, Lanes},
    live::Live,
    shared::{Parts, Shared},
};

/// Orders that may wait for the work or the stage thread; the director has at most one job on each, and a few tracks to forget.
const LANE_ORDERS_MAX: usize = 256;

/// The exit code after the event loop itself broke: the log says which invariant.
pub const EXIT_BROKEN: u8 = 70;

/// What a pod is made of.
pub struct PodConfig {
    /// Makes the music.
    pub generator: Arc<dyn Generator>,
    /// Makes the stems; its group, and the generator's, are registered with the stage.
    pub separator: Option<Arc<dyn Separator>>,
    /// Moves their weights.
    pub stage: Arc<dyn Stage>,
    /// Keeps the tracks; recovered.
    pub library: Library,
    /// Groups, budget, policy, limits and times.
    pub plan: Plan,
    /// Audio and stems kept in memory beyond what plays, in bytes.
    pub cache_bytes_max: usize,
    /// Longest source in seconds, where the generator serves longer ones; longer audio is trimmed.
    pub source_seconds_max: u32,
    /// When slices are made, and when a session that nobody touches rests.
    pub player: PlayerSettings,
    /// Whether the pod is ready only once its weights are on the device.
    pub startup_warmup: bool,
    /// How many threads, and how nice they are.
    pub threads: ThreadSettings,
}

/// Why a pod did not start.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// The machine gives no more threads.
    #[error("no thread could be started ({0}): raise the limit of processes, or stop some")]
    Threads(#[from] std::io::Error),
    /// Likewise, for a pool.
    #[error("no pool of threads could be started ({0}): raise the limit of processes, or stop some")]
    Pool(#[from] rayon::ThreadPoolBuildError),
}

/// A running pod. It ends when the director says so, after `ShutdownAsked` or a lost device.
pub struct Pod {
    handle: PodHandle,
    exit: oneshot::Receiver<u8>,
}

impl Pod {
    /// Starts the pod's threads and tells the director what the disk had.
    ///
    /// # Errors
    /// [`PodError`] where the machine gives no threads.
    pub fn start(config: PodConfig) -> Result<Self, PodError> {
        let (events, mut told) = events::channel();
        let signal = config.threads.signal_pool()?;
        let disk = config.threads.disk_pool()?;
        let plan = config.plan.clone();
        let shared = Arc::new(Shared::new(Parts {
            events,
            generator: config.generator,
            separator: config.separator,
            stage: config.stage,
            plan: config.plan,
            signal,
            disk,
            library: config.library,
            cache_bytes_max: config.cache_bytes_max,
            source_seconds_max: config.source_seconds_max,
            player: config.player,
            startup_warmup: config.startup_warmup,
        }));
        let lanes = Lanes {
            work: mailbox(LANE_ORDERS_MAX),
            stage: mailbox(LANE_ORDERS_MAX),
        };
        let found = recovered::tracks(&shared);

        let live = Live::new(Arc::clone(&shared));
        threads::spawn("live", move || live.run())?;
        let (there, orders) = (Arc::clone(&shared), lanes.work.clone());
        threads::spawn("work", move || work::run(&there, &orders))?;
        let (there, orders) = (Arc::clone(&shared), lanes.stage.clone());
        threads::spawn("stage", move || stage_lane::run(&there, &orders))?;

        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (exit_sender, exit) = oneshot::channel();
        let driver = Driver::new(plan, Arc::clone(&shared), lanes, exit_sender);
        threads::spawn("director", move || driver.run(&runtime, &mut told, found))?;
        Ok(Self {
            handle: PodHandle::new(shared),
            exit,
        })
    }

    /// What sockets and routes talk to.
    #[must_use]
    pub fn handle(&self) -> PodHandle {
        self.handle.clone()
    }

    /// Waits for the pod's end; gives the process's exit code, [`EXIT_BROKEN`] if the event loop panicked.
    pub async fn exited(self) -> u8 {
        self.exit.await.unwrap_or(EXIT_BROKEN)
    }
}

impl ThreadSettings {
    /// One thread fewer than there are cores, at least one; a step down in priority, so that the live thread goes first.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            signal: cores.saturating_sub(1).max(1),
            ..Self::default()
        }
    }
}

impl Shared {
    /// Everything that boot found has been told.
    fn set_warm(&self) {
        self.warm.store(true, Ordering::Release);
    }
}
