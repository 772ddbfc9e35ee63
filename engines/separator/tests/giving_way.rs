//! Rips that give way, anywhere and often, end with the same bits as those that do not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use greenroom_audio::{Pcm, SAMPLE_RATE};
use greenroom_separator::{BatchOutcome, Rip, SeparateError, Separator};
use greenroom_stage::{Home, Tenant};
use greenroom_sync::CancelFlag;
use support::{resident_separator, run_out, separate, song_with_stems};

/// Two batches and a little.
fn track() -> Arc<Pcm> {
    let song = song_with_stems();
    let samples = song
        .mixture
        .samples()
        .iter()
        .copied()
        .cycle()
        .take(2 * 25 * SAMPLE_RATE as usize + 34);
    Arc::new(Pcm::new(SAMPLE_RATE, 2, samples.collect()))
}

/// Runs one batch and raises the flag after a while; gives what became of the batch, and how long it went on after the flag.
fn run_until(rip: &mut dyn Rip, patience: Duration) -> (BatchOutcome, Duration) {
    let flag = CancelFlag::new();
    std::thread::scope(|scope| {
        let raiser = scope.spawn(|| {
            std::thread::sleep(patience);
            flag.raise();
            Instant::now()
        });
        let outcome = rip.run_batch(&flag).unwrap();
        let ended = Instant::now();
        let raised = raiser.join().unwrap();
        (outcome, ended.saturating_duration_since(raised))
    })
}

#[test]
fn stems_are_the_same_bits_however_often_the_rip_gave_way() {
    let track = track();
    let expected = separate(&resident_separator(1), &track);
    let separator = resident_separator(3);
    let mut rip = separator.begin(Arc::clone(&track)).unwrap();
    let (mut abandoned, mut latencies_ms) = (0, Vec::new());
    for patience_ms in [0, 3, 11, 29, 43, 61, 83, 107, 131, 157, 183, 211] {
        let before = rip.progress();
        let (outcome, latency) = run_until(rip.as_mut(), Duration::from_millis(patience_ms));
        if outcome == BatchOutcome::Abandoned {
            abandoned += 1;
            latencies_ms.push(latency.as_millis());
            assert_eq!(rip.progress(), before);
            // It leaves the device, and comes back.
            assert!(separator.detach());
            assert!(matches!(
                rip.run_batch(&CancelFlag::new()),
                Err(SeparateError::NotResident)
            ));
            separator.attach(&Home::Ram).unwrap();
        }
    }
    assert!(abandoned >= 2, "nothing was interrupted");
    run_out(rip.as_mut(), &CancelFlag::new());
    let stems = rip.finish().unwrap();
    assert!(stems == expected, "the stems differ after {abandoned} interruptions");
    // For whoever runs this with --nocapture: a figure, no assertion.
    eprintln!("went on after the flag for (ms): {latencies_ms:?}");
}

#[test]
fn a_flag_that_is_up_leaves_everything_as_it_was() {
    let separator = resident_separator(2);
    let mut rip = separator.begin(track()).unwrap();
    let flag = CancelFlag::new();
    flag.raise();
    for _ in 0..3 {
        assert_eq!(rip.run_batch(&flag).unwrap(), BatchOutcome::Abandoned);
        assert_eq!(rip.progress().0, 0);
    }
    assert!(matches!(rip.finish(), Err(SeparateError::Unfinished { done: 0, .. })));
}
