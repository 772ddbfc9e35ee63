//! Seeded bugs. In the canary build (feature `canary`) one of them can be switched on, to see that every layer of the proof that should
//! notice it does. In every other build each is a constant `false`, and nothing of it is left.

/// A bug that could have been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[cfg_attr(
    not(feature = "canary"),
    allow(dead_code, unreachable_pub, reason = "only the canary build names them all, outside")
)]
pub enum Bug {
    /// The separator is let in while eager groups are on the device.
    OverlapAdmitted = 1,
    /// A group is parked although work holds a lease on it.
    LeaseIgnored,
    /// The drain of an earlier closing counts as that of the gate that is closing now.
    StaleGenerationAccepted,
    /// A track whose stems are being written is ripped again.
    DoubleRip,
    /// What is under way for a doomed track goes on to the disk.
    WipeNotFinal,
    /// Stems that are owed are struck off and never told.
    PendingStemLost,
    /// A restore that failed leaves its bytes in the ledger.
    LedgerLeak,
    /// The incumbent is closed at the first frame of a handshake.
    PreemptedTooEarly,
    /// Turns of the stage end before a rip has begun, however long the moves of groups take.
    TurnsEatenByMoves,
    /// People who ask without a pause keep the device, however long a rip waits for it.
    RipOvertakenForEver,
    /// An engine is freed although work may still call it.
    EngineLeavesUnderCalls,
}

#[cfg(feature = "canary")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Bug;

    static ACTIVE: AtomicU8 = AtomicU8::new(0);

    impl Bug {
        /// All of them.
        pub const ALL: [Self; 11] = [
            Self::OverlapAdmitted,
            Self::LeaseIgnored,
            Self::StaleGenerationAccepted,
            Self::DoubleRip,
            Self::WipeNotFinal,
            Self::PendingStemLost,
            Self::LedgerLeak,
            Self::PreemptedTooEarly,
            Self::TurnsEatenByMoves,
            Self::RipOvertakenForEver,
            Self::EngineLeavesUnderCalls,
        ];

        /// Switches one bug on, in the whole process, or none.
        pub fn activate(bug: Option<Self>) {
            ACTIVE.store(bug.map_or(0, |bug| bug as u8), Ordering::Relaxed);
        }

        pub(crate) fn is_active(self) -> bool {
            ACTIVE.load(Ordering::Relaxed) == self as u8
        }
    }
}

#[cfg(not(feature = "canary"))]
impl Bug {
    pub(crate) const fn is_active(self) -> bool {
        false
    }
}
