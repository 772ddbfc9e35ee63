//! What goes wrong in a history, in times per thousand: each seed has its own subset of classes with its own weights (swarm testing).

use crate::chance::Chance;

macro_rules! faults {
    ($( $(#[$doc:meta])* $fault:ident $name:literal $heaviest:literal ; )+) => {
        /// A class of faults.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $( $(#[$doc])* $fault, )+
        }

        impl Fault {
            /// All classes.
            pub const ALL: &'static [Self] = &[$( Self::$fault ),+];
            const HEAVIEST: &'static [u16] = &[$( $heaviest ),+];

            /// What `--without` and the table of fault classes call it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$fault => $name, )+ }
            }
        }
    };
}

faults! {
    /// Bringing weights in runs out of device memory, sometimes again in the retry.
    AllocationFails "allocation-fails" 350;
    /// It fails with half of the group mapped.
    HalfRestore "half-restore" 200;
    /// Page-locked host memory runs out while weights move.
    HostMemory "host-memory" 60;
    /// What was freed is back only later.
    LateFrees "late-frees" 500;
    /// An engine context comes back null without an error.
    NullContext "null-context" 120;
    /// No engine covers the shape, or a stale one of another duration says it does.
    WrongShape "wrong-shape" 100;
    /// Another process takes memory; the pod hears of it late.
    ForeignMemory "foreign-memory" 60;
    /// The device is lost for good.
    DeviceLost "device-lost" 3;
    /// A computation fails, or the worker's code panics.
    ComputeFails "compute-fails" 150;
    /// A computation's workspace does not fit after all.
    ComputeOutOfMemory "compute-out-of-memory" 150;
    /// The separator gives NaN or another failure of its own.
    StemsFail "stems-fail" 250;
    /// A job never ends, not even when cancelled.
    JobHangs "job-hangs" 4;
    /// A job takes many times as long.
    JobSlow "job-slow" 200;
    /// A job does not see that it was cancelled and ends on its own terms.
    CancelMissed "cancel-missed" 600;
    /// The disk is full for a while.
    DiskFull "disk-full" 40;
    /// The disk turns read-only for a while.
    DiskReadOnly "disk-read-only" 40;
    /// One write fails.
    DiskFails "disk-fails" 100;
    /// The machine loses power: what was not synced is lost or torn.
    PowerLoss "power-loss" 4;
    /// The process is killed: the disk keeps what was written.
    Killed "killed" 3;
    /// SIGTERM.
    Shutdown "shutdown" 8;
    /// SIGTERM again before the first was done.
    ShutdownTwice "shutdown-twice" 700;
    /// A client does not answer a close.
    Wedged "wedged" 500;
    /// A client vanishes, in whatever state; an upload is cut.
    Vanishes "vanishes" 60;
    /// A client never goes on with its handshake.
    Silent "silent" 150;
    /// A client reads slowly, with pauses shorter than the limit.
    SlowReader "slow-reader" 120;
    /// A client's network goes away without a packet: it acknowledges nothing, and no socket closes.
    HalfOpen "half-open" 40;
    /// A client never learns why it was closed and comes back at once.
    LostClose "lost-close" 500;
    /// Two tabs of one client act at the same moment.
    DoubledTab "doubled-tab" 300;
    /// The network is cut for everybody at once; all reconnect, with full jitter.
    Storm "storm" 25;
    /// First frames that are none, frames in the wrong order, sizes that no memory has.
    Garbage "garbage" 100;
    /// Late messages about what is gone.
    StaleEvents "stale-events" 200;
    /// A completion comes twice, the second time with another outcome.
    DoubledCompletion "doubled-completion" 150;
    /// Time jumps ahead by minutes.
    ClockJumps "clock-jumps" 20;
    /// The machine sleeps: everything that was due happens late.
    Suspend "suspend" 10;
    /// A clock reads earlier than before.
    ClockBack "clock-back" 100;
}

/// Fault classes and their weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults([u16; Fault::ALL.len()]);

impl Faults {
    /// A random subset with random weights.
    pub(crate) fn of(chance: &mut Chance) -> Self {
        let mut weights = [0; Fault::ALL.len()];
        for (weight, heaviest) in weights.iter_mut().zip(Fault::HEAVIEST) {
            let included = chance.permille(350);
            let drawn = chance.between(1, u64::from(*heaviest)) as u16;
            if included {
                *weight = drawn;
            }
        }
        Self(weights)
    }

    /// No class at all.
    pub(crate) const fn none() -> Self {
        Self([0; Fault::ALL.len()])
    }

    /// How often `fault` strikes, in times per thousand.
    pub(crate) fn weight(&self, fault: Fault) -> u64 {
        u64::from(self.0[fault as usize])
    }

    /// Takes one class out.
    pub(crate) fn remove(&mut self, fault: Fault) {
        self.0[fault as usize] = 0;
    }

    /// The classes of this history.
    pub(crate) fn classes(&self) -> impl Iterator<Item = Fault> + '_ {
        Fault::ALL.iter().copied().filter(|fault| self.weight(*fault) > 0)
    }
}
