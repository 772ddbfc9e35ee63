//! Situations so rare that a campaign must prove it has met each: one that it never met is a failed campaign.

macro_rules! marks {
    ($( $mark:ident $name:literal ; )+) => {
        /// A rare situation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "the name says it")]
        pub enum Mark {
            $( $mark, )+
        }

        impl Mark {
            /// The closed list.
            pub const ALL: &'static [Self] = &[$( Self::$mark ),+];

            /// What happened, in words.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$mark => $name, )+ }
            }
        }
    };
}

marks! {
    // Connections and sessions.
    DoubledTab "a tab connects while another of the same client is being created";
    StormOfReconnects "four sessions asked for within two seconds after a cut";
    PingPong "two clients preempt each other twice";
    PreemptedWhileCreating "preemption during creation";
    ForcedClose "an incumbent's close forced";
    HeldOut "an evicted client comes back and is held out";
    LostClose "a preempted client that never saw its 4001 comes back";
    StaleEvictionIgnored "a late message of a loser while the winner plays";
    GarbageWhileLive "a malformed connect while a session is live";
    OlderPassedOver "an older candidate is passed over";
    CandidatePassedOver "a waiting candidate is passed over by a later one";
    HalfOpenReaped "a half-open session closed as stalled";
    SlowReaderSpared "a slow reader moves again in time";
    CloseUnanswered "a close that nobody answers, forced after the farewell";
    FirstFrameMissed "no first frame in time";
    BodyMissed "no body in time";
    HandshakesFull "a handshake beyond the limit refused";
    GoneInGreeting "a connection gone before its first frame";
    GoneInBody "a connection gone in its body";
    GoneInCreation "a session gone while it is being created";
    GoneWhileWaiting "a candidate gone while it waits";
    GoneWhileLive "a live session gone without a close";
    GoneWhileDraining "a session gone while it is being closed";
    SwapSuperseded "a swap superseded";
    SwapWhileTicking "a swap begun while ticks ran";
    ReferenceSuperseded "a timbre or structure superseded by a newer one";
    ReferenceFails "a timbre or structure that cannot be had";
    ReferenceUnderSwap "a timbre or structure asked for while a swap is under way";
    ReferenceCleared "a timbre or structure let go of";
    // GPU and placement.
    OutOfMemoryTwice "a restore out of memory, and again in the retry";
    RestoreRetried "a restore retried after a failure";
    HalfRestoreRetried "a restore that failed halfway, and then came in whole";
    FreedLate "a load refused because freed memory was not back";
    ClosedMidTick "a session torn down while its tick ran";
    NullContext "a null context, and a good one later";
    EvictedThenFailed "a group parked for another whose restore then failed";
    StickyError "a lost device ends the pod with 75";
    DeviceLostInMidRip "device lost in mid-rip";
    DeviceLostInRestore "device lost while weights move";
    TwoNeeds "an upload and a session's work want different groups at once";
    RevivedWhileParking "a group wanted back while it is being parked";
    DoubledCompletion "a completion told twice";
    ForeignOverReserve "foreign memory over the reserve";
    ForeignRefuses "foreign memory that the pod had not heard of refuses a load";
    HostMemoryAtPark "host memory runs out while parking";
    LateCompletion "a completion after a cancel";
    NullContextOfEngine "a null context of an engine that is loaded";
    LoadRetried "an engine loaded after a load of it that failed";
    LoadHangs "a load hangs past its deadline";
    UnloadRetried "an engine that would not go goes at the second try";
    SwapBesideTicks "an engine comes beside the one that ticks call";
    OldEngineFirst "the old engine leaves before the new one comes";
    OldEngineBack "the old engine comes back when the new one failed";
    SwapFellBack "a swap whose engine failed, and ticks with an engine after it";
    RipEvictsEngine "an engine leaves for the separator";
    MeasuredAnew "ticks call another engine since their track was measured anew";
    WrongShape "no engine for the shape";
    PreemptionInMidRip "preemption during a rip";
    RipGivesWay "a rip gives way";
    RipRunsToItsEnd "a rip that gave way three times runs to its end";
    RipOwedItsTurn "a rip overtaken as often as may be is let by";
    StemsEncodeGivesWay "the encoding of stems gives way";
    // Jobs and disk.
    SwapWaitsForStems "a swap waits on stems";
    UploadDuringCreation "upload during creation";
    UploadCut "the uploader is gone before its answer";
    UploadSuperseded "an upload of an ended lineage refused";
    UploadResumed "an upload survives its client's reload";
    SeparatorNotLoaded "the separator's weights would not come in";
    RipOutOfMemory "a rip out of memory";
    RipRetried "a rip retried after memory ran out, and done";
    RipOutOfMemoryTwice "a rip out of memory, and again in the retry";
    RipFails "a rip fails";
    RipHangs "a rip hangs past its deadline";
    StemsEncodeFails "stems are written though they could not be encoded";
    RipOutlivesSession "a rip ends after its owner's session";
    WipeInMidRip "wipe in mid-rip";
    WipeWhileStemsEncoded "wipe while stems are being encoded";
    WipeWhileStemsSaved "wipe while stems are being written";
    CrashInSave "crash in the middle of a save";
    CrashInStemsSave "crash in the middle of saving stems";
    CrashInWipe "crash in the middle of a wipe";
    TornFileAtBoot "a torn file found at boot";
    AckedSurvivesCrash "an acknowledged track survives a crash";
    OwedAtBoot "stems owed at boot are made";
    FullInSave "disk full in a save";
    FullInStemsSave "disk full in saving stems";
    FullInWipe "disk trouble in a wipe, which is tried again";
    ReadOnlyInSave "read-only disk in a save";
    PreviousFilesAtBoot "the previous user's files at boot, wiped";
    // Time and process.
    JumpOverDeadline "clock jump over a deadline";
    Suspended "suspend and resume with work overdue";
    ClockBack "a clock that reads earlier";
    ShutdownInCreation "SIGTERM during creation";
    ShutdownInMidRip "SIGTERM during a rip";
    ShutdownWhileLive "SIGTERM while a session is live";
    ShutdownTwice "SIGTERM twice";
    WorkerFails "a worker fails in the middle of a session's work";
    DeadlineOnly "a hung job noticed by its deadline alone";
}

/// Which marks a history met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(u128);

const _: () = assert!(Mark::ALL.len() <= 128, "marks are bits of one word");

impl Marks {
    pub(crate) fn hit(&mut self, mark: Mark) {
        self.0 |= 1 << mark as u32;
    }

    pub(crate) fn has(self, mark: Mark) -> bool {
        self.0 & 1 << mark as u32 != 0
    }
}
