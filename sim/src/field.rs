//! How pods like this fail in the field, line by line, and what covers each: what brings it about in the world, the mark that proves that
//! it happened, and a test of its own. Lines that live outside the director have tests on sockets, files and threads instead.

use std::fmt::Write;

use crate::{faults::Fault, marks::Mark};

/// One line of the list.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Its number there.
    pub number: u8,
    /// What fails.
    pub words: &'static str,
    /// What brings it about in the world; nothing where it lives outside.
    pub injectors: &'static [Fault],
    /// What proves that it happened.
    pub marks: &'static [Mark],
    /// Tests of its own: file and function.
    pub tests: &'static [(&'static str, &'static str)],
}

const SCENARIOS: &str = "src/director/tests/scenarios.rs";
const ENGINES: &str = "src/director/tests/engines.rs";
const SHORTAGE: &str = "src/director/tests/shortage.rs";
const POD: &str = "src/server/tests/pod.rs";
const STAGE: &str = "engines/stage/tests/faults.rs";
const CONFORMANCE: &str = "engines/stage/tests/conformance.rs";
const STORM: &str = "tests/tests/reconnect_storm.rs";
const BAD_INPUT: &str = "tests/tests/bad_input.rs";
const OWNERSHIP: &str = "tests/tests/ownership.rs";
const WEDGED: &str = "tests/tests/wedged_incumbent.rs";
const FULL: &str = "src/library/tests/failing_disk.rs";
const GATE: &str = "src/sync/tests/models/gate.rs";
const MAILBOX: &str = "src/sync/tests/models/mailbox.rs";
const HEARTBEAT: &str = "src/sync/tests/models/heartbeat.rs";
const JOB: &str = "src/server/src/pod/job.rs";

macro_rules! lines {
    ($( $number:literal $words:literal [$($fault:ident)*] [$($mark:ident)*] [$($file:tt :: $test:ident),* $(,)?] ; )+) => {
        /// All lines, in their order.
        pub const LINES: &[Line] = &[$( Line {
            number: $number,
            words: $words,
            injectors: &[$( Fault::$fault ),*],
            marks: &[$( Mark::$mark ),*],
            tests: &[$( ($file, stringify!($test)) ),*],
        } ),+];
    };
}

lines! {
    1 "doubled connects run two creations at once" [DoubledTab] [DoubledTab PreemptedWhileCreating]
        [SCENARIOS::a_storm_leaves_exactly_the_last_one, STORM::exactly_one_survives_while_weights_move];
    2 "reconnect storms" [Storm] [StormOfReconnects CandidatePassedOver]
        [STORM::exactly_one_survives_with_the_embedded_generator];
    3 "eviction ping-pong" [LostClose] [PingPong LostClose HeldOut]
        [SCENARIOS::a_wedged_incumbent_is_forced_out_and_does_not_come_back_to_evict_the_winner];
    4 "the incumbent is too wedged to hear its eviction" [Wedged] [ForcedClose HeldOut]
        [WEDGED::it_is_forced_out_and_kept_out];
    5 "a stale eviction reaches the winner" [StaleEvents] [StaleEvictionIgnored]
        [SCENARIOS::a_later_connection_takes_the_pod_over_and_an_older_one_does_not];
    6 "a malformed or unauthenticated connect evicts a live session" [Garbage] [GarbageWhileLive OlderPassedOver]
        [BAD_INPUT::first_frames_that_are_none_close_4003_and_touch_nobody,
         "tests/tests/limits.rs"::without_the_key_nothing_but_the_page_and_health_answers];
    7 "half-open socket, seat never released" [HalfOpen] [HalfOpenReaped]
        ["src/server/src/net/backlog.rs"::the_kernel_counts_what_a_client_does_not_read_and_not_what_it_reads];
    8 "a slow but living consumer is reaped" [SlowReader] [SlowReaderSpared]
        ["tests/tests/slow_consumer.rs"::after_a_minute_it_holds_what_the_server_holds_with_the_embedded_generator,
         "src/server/src/net/backlog.rs"::a_full_backlog_that_is_worked_off_is_moving_and_one_that_is_not_is_stuck];
    9 "the close frame's own write blocks the reaper" [Wedged] [CloseUnanswered]
        [WEDGED::it_is_forced_out_and_kept_out];
    10 "a client never sends its first frame" [Silent] [FirstFrameMissed BodyMissed HandshakesFull]
        [BAD_INPUT::first_frames_that_are_none_close_4003_and_touch_nobody, SCENARIOS::handshakes_have_limits];
    11 "disconnect in every state" [Vanishes]
        [GoneInGreeting GoneInBody GoneInCreation GoneWhileWaiting GoneWhileLive GoneWhileDraining UploadCut]
        [BAD_INPUT::sessions_that_vanish_at_every_step_leave_the_seat_to_the_next];
    12 "late messages, a lost close code, TCP closed without a frame" [StaleEvents LostClose Vanishes]
        [StaleEvictionIgnored LostClose GoneWhileLive]
        ["src/server/src/net/connection/tests.rs"::nothing_follows_a_close_but_the_end];
    13 "raw source audio bleeds through on slow links" [] []
        ["tests/tests/slow_consumer.rs"::after_a_minute_it_holds_what_the_server_holds_with_the_embedded_generator];
    14 "after a swap the old song plays on" [] [] [POD::a_swap_brings_its_buffer_and_slices_of_the_new_source_only];
    15 "out of memory at any allocation, and again in the retry" [AllocationFails ComputeOutOfMemory]
        [OutOfMemoryTwice RestoreRetried RipRetried RipOutOfMemoryTwice]
        [SCENARIOS::out_of_memory_is_tried_once_more_and_then_told, SHORTAGE::the_second_time_the_owner_is_told_and_the_session_plays_on,
         POD::a_rip_without_room_is_tried_again_and_its_stems_come, STAGE::an_allocation_that_fails_takes_nothing_and_the_retry_may_fail_too];
    16 "out of memory halfway through a restore" [HalfRestore] [HalfRestoreRetried]
        [CONFORMANCE::the_simulated_stage_conforms];
    17 "freed memory is not back when the next load starts" [LateFrees] [FreedLate]
        [CONFORMANCE::memory_that_is_freed_late_is_not_given_twice];
    18 "freeing races kernels in flight" [JobSlow Vanishes] [ClosedMidTick]
        [GATE::a_closing_is_drained_exactly_once_and_nothing_runs_after];
    19 "a null context without an error is cached" [NullContext] [NullContext NullContextOfEngine LoadRetried]
        [STAGE::a_null_context_is_seen_once_and_the_next_one_is_good,
         ENGINES::the_old_engine_comes_back_when_the_new_one_fails_and_the_session_plays_on];
    20 "evict-old-then-load-new fails in between" [AllocationFails NullContext]
        [EvictedThenFailed OldEngineFirst OldEngineBack SwapFellBack]
        [SCENARIOS::what_failed_for_a_session_that_left_is_tried_again_for_the_next,
         ENGINES::the_old_engine_comes_back_when_the_new_one_fails_and_the_session_plays_on,
         ENGINES::a_session_without_any_engine_ends_and_the_next_one_is_served];
    21 "sticky device error" [DeviceLost] [StickyError DeviceLostInMidRip DeviceLostInRestore]
        [SCENARIOS::a_lost_device_ends_the_pod_with_75_and_a_shutdown_with_0, JOB::a_lost_device_is_told_before_the_jobs_end];
    22 "two half-admitted loads each hold part of the memory" [ForeignMemory JobSlow] [TwoNeeds]
        ["engines/weighted/tests/placement.rs"::the_stage_counts_the_bytes_and_refuses_what_does_not_fit];
    23 "the eviction target is revived by a concurrent request" [JobSlow] [RevivedWhileParking]
        [SCENARIOS::a_second_upload_makes_the_rip_give_way_and_the_rip_goes_on_after];
    24 "a completion is consumed by the wrong waiter" [DoubledCompletion] [DoubledCompletion]
        [JOB::every_job_ends_exactly_once];
    25 "another process takes the memory" [ForeignMemory] [ForeignOverReserve ForeignRefuses]
        [STAGE::memory_that_another_process_holds_is_not_given_and_comes_back];
    26 "pinned host memory runs out while parking" [HostMemory] [HostMemoryAtPark]
        [STAGE::without_page_locked_memory_a_group_stays_where_it_is];
    27 "a late completion after a cancel" [CancelMissed] [LateCompletion] [SCENARIOS::a_wipe_in_mid_rip_discards_it];
    28 "a stale engine of another duration: rejected input shape" [WrongShape] [WrongShape SwapBesideTicks]
        ["tests/tests/uploads_and_swaps.rs"::sixty_then_a_hundred_and_twenty_then_sixty_seconds_and_swaps_between_them,
         "engines/compiled/tests/choice.rs"::the_smallest_covering_profile_serves_whatever_is_resident,
         ENGINES::ticks_go_on_until_the_next_engine_is_there_and_the_old_one_leaves_after_them];
    29 "an upload is cancelled, superseded, resumed" [Vanishes] [UploadCut UploadSuperseded UploadResumed]
        [OWNERSHIP::a_reload_keeps_the_upload_and_another_client_finds_none,
         BAD_INPUT::uploaders_that_vanish_at_every_step_leave_no_trace_and_the_session_plays_on];
    30 "the separator fails to load, runs out of memory, yields NaN, hangs, or outlives the session"
        [AllocationFails ComputeOutOfMemory StemsFail JobHangs CancelMissed]
        [SeparatorNotLoaded RipOutOfMemory RipFails RipHangs StemsEncodeFails RipOutlivesSession]
        ["engines/separator/tests/tracks.rs"::a_network_that_gives_nan_is_caught_wherever_it_begins,
         POD::a_separator_that_panics_fails_its_track_and_nothing_else];
    31 "a wipe races a rip and the file is written again" [Vanishes JobSlow] [WipeInMidRip WipeWhileStemsEncoded WipeWhileStemsSaved]
        [OWNERSHIP::a_wipe_in_mid_rip_leaves_nothing_on_disk, "src/library/tests/wipe_is_final.rs"::in_the_middle_of_saving_stems];
    32 "crash between any two persist steps; torn and empty files" [PowerLoss Killed]
        [CrashInSave CrashInStemsSave CrashInWipe TornFileAtBoot AckedSurvivesCrash OwedAtBoot]
        ["src/library/tests/crash_at_every_step.rs"::what_was_acknowledged_is_whole_and_the_rest_is_gone];
    33 "disk full at each write; read-only disk" [DiskFull DiskReadOnly DiskFails]
        [FullInSave FullInStemsSave FullInWipe ReadOnlyInSave]
        [FULL::a_full_disk, FULL::a_disk_that_turns_read_only];
    34 "boot finds the previous user's files" [PowerLoss Killed Shutdown] [PreviousFilesAtBoot]
        ["src/library/tests/foreign_files_at_boot.rs"::wipe_leaves_nothing_of_the_previous_user];
    35 "clock jumps, suspend and resume" [ClockJumps Suspend ClockBack] [JumpOverDeadline Suspended ClockBack]
        ["sim/tests/swarm.rs"::time_that_jumps_sleeps_and_goes_back_breaks_nothing];
    36 "SIGTERM in every state, and a second one" [Shutdown ShutdownTwice]
        [ShutdownInCreation ShutdownInMidRip ShutdownWhileLive ShutdownTwice]
        [SCENARIOS::a_lost_device_ends_the_pod_with_75_and_a_shutdown_with_0];
    37 "a panic in a worker; channels full or closed" [ComputeFails] [WorkerFails]
        [JOB::a_panic_is_a_failure_told_once, MAILBOX::it_loses_nothing_keeps_the_order_and_tells_full_from_closed];
    38 "health stays green while something is wedged" [JobHangs] [DeadlineOnly]
        [SCENARIOS::a_job_that_hangs_is_cancelled_and_then_the_device_counts_as_lost, HEARTBEAT::it_never_goes_back_whoever_beats];
}

/// The table of the docs: line, what brings it about, what proves that it happened, tests.
#[must_use]
pub fn table() -> String {
    let mut text = String::from(
        "| line | what fails in the field | brought about by | proved by the marks | tests of its own |\n|---|---|---|---|---|\n",
    );
    for line in LINES {
        let list = |words: Vec<&str>, none: &str| {
            if words.is_empty() {
                none.to_owned()
            } else {
                words.join(" · ")
            }
        };
        let tests: Vec<String> = line
            .tests
            .iter()
            .map(|(file, test)| format!("`{file}` {test}"))
            .collect();
        // Writing into a string does not fail.
        let _written = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            line.number,
            line.words,
            list(
                line.injectors.iter().map(|fault| fault.name()).collect(),
                "real sockets"
            ),
            list(
                line.marks.iter().map(|mark| mark.name()).collect(),
                "outside the director"
            ),
            tests.join(" · ").replace('_', " "),
        );
    }
    text
}
