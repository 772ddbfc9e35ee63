//! The pod's threads: who has how many, and how nice they are.

use std::thread::{Builder, JoinHandle};

/// How many threads the pod takes beside its lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadSettings {
    /// Threads of a pool for signal processing.
    pub signal: usize,
    /// By how much the priority of those is lowered (`nice`). It matters only while something else wants the cores, which is the live
    /// session; and it stays, since an ordinary user may not raise a priority again.
    pub signal_niceness: i32,
    /// Jobs on the disk at once.
    pub disk: usize,
}

impl Default for ThreadSettings {
    fn default() -> Self {
        Self {
            signal: 1,
            signal_niceness: 5,
            disk: 3,
        }
    }
}

impl ThreadSettings {
    /// A pool for signal processing; separators are given one of their own, so that an analysis never waits for a batch.
    ///
    /// # Errors
    /// If the machine gives no threads.
    pub fn signal_pool(self) -> Result<rayon::ThreadPool, rayon::ThreadPoolBuildError> {
        let niceness = self.signal_niceness;
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.signal.max(1))
            .thread_name(|number| format!("signal-{number}"))
            .start_handler(move |_| lower_priority(niceness))
            .build()
    }

    pub(super) fn disk_pool(self) -> Result<rayon::ThreadPool, rayon::ThreadPoolBuildError> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.disk.max(1))
            .thread_name(|number| format!("disk-{number}"))
            .build()
    }
}

/// Starts one of the pod's own threads.
pub(super) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(run)
}

/// On Linux a priority is a thread's own, whatever POSIX says of processes.
fn lower_priority(niceness: i32) {
    if let Err(error) = rustix::process::setpriority_process(None, niceness) {
        tracing::warn!(%error, niceness, "the priority of signal processing could not be lowered");
    }
}
