//! Measures a whole separation: `cargo run --release -p greenroom-separator --example rtf -- [seconds] [threads]`.
//! Prints one JSON object.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use greenroom_audio::{Pcm, SAMPLE_RATE};
use greenroom_separator::{BatchOutcome, Rip, Separator, Spleeter};
use greenroom_stage::{Home, Tenant};
use greenroom_sync::CancelFlag;

#[path = "../tests/support/mod.rs"]
mod support;

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .map(|text| text.parse::<usize>().expect("a number"));
    let seconds = arguments.next().unwrap_or(120);
    let threads = arguments.next().unwrap_or(2);

    let song = support::song_with_stems();
    let opened = Instant::now();
    let separator = support::resident_separator(threads);
    let open_seconds = opened.elapsed().as_secs_f64();
    let restored = Instant::now();
    assert!(separator.detach(), "nothing is leased");
    separator.attach(&Home::Ram).expect("the networks can be built");
    let restore_seconds = restored.elapsed().as_secs_f64();
    let stems = support::separate(&separator, &song.mixture);

    let frames = seconds * SAMPLE_RATE as usize;
    let looped = song
        .mixture
        .samples()
        .iter()
        .copied()
        .cycle()
        .take(2 * frames)
        .collect();
    let track = Arc::new(Pcm::new(SAMPLE_RATE, 2, looped));
    let started = Instant::now();
    let mut rip = separator.begin(Arc::clone(&track)).expect("the track is suitable");
    let begin_seconds = started.elapsed().as_secs_f64();
    let (flag, mut longest_batch) = (CancelFlag::new(), 0.0_f64);
    while rip.progress().0 < rip.progress().1 {
        let batch = Instant::now();
        rip.run_batch(&flag).expect("a batch runs");
        longest_batch = longest_batch.max(batch.elapsed().as_secs_f64());
    }
    let finishing = Instant::now();
    let batches = rip.progress().1;
    rip.finish().expect("all batches are done");
    let finish_seconds = finishing.elapsed().as_secs_f64();
    let total = started.elapsed().as_secs_f64();

    let figures = serde_json::json!({
        "separation_rtf": total / track.seconds(),
        "separation_seconds": total,
        "track_seconds": track.seconds(),
        "threads": threads,
        "batches": batches,
        "begin_seconds": begin_seconds,
        "batch_seconds_max": longest_batch,
        "cancel_seconds_max": cancel_seconds_max(&separator, &track, total / f64::from(batches)),
        "finish_seconds": finish_seconds,
        "open_seconds": open_seconds,
        "restore_seconds": restore_seconds,
        "sdr_vocals_db": support::sdr(&song.vocals, &stems.vocals),
        "sdr_instruments_db": support::sdr(&song.instruments, &stems.instruments),
        "weights_bytes": separator.weights_bytes(),
        "workspace_bytes": separator.workspace_bytes(),
        "memory_bytes_max": memory_bytes_max(),
    });
    #[expect(clippy::print_stdout, reason = "this is what the example is for")]
    {
        println!("{figures:#}");
    }
}

/// The longest that a batch went on after the flag, which is raised at 20 moments spread over each of four batches of about
/// `batch_seconds`. They are those of the second block, which has neighbours on both sides.
fn cancel_seconds_max(separator: &Spleeter, track: &Arc<Pcm>, batch_seconds: f64) -> f64 {
    const BATCHES: u32 = 4;
    const MOMENTS: u32 = 20;
    let mut rip = separator.begin(Arc::clone(track)).expect("the track is suitable");
    for _ in 0..BATCHES {
        rip.run_batch(&CancelFlag::new()).expect("a batch runs");
    }
    let mut longest = 0.0_f64;
    for _ in 0..BATCHES {
        for moment in 0..MOMENTS {
            let patience = Duration::from_secs_f64(batch_seconds * f64::from(moment) / f64::from(MOMENTS));
            let Some(late) = seconds_after_flag(rip.as_mut(), patience) else {
                break;
            };
            longest = longest.max(late);
        }
        rip.run_batch(&CancelFlag::new()).expect("a batch runs");
    }
    longest
}

/// How long a batch went on after the flag that is raised after `patience`; nothing if it was done by then.
fn seconds_after_flag(rip: &mut dyn Rip, patience: Duration) -> Option<f64> {
    let flag = CancelFlag::new();
    std::thread::scope(|scope| {
        let raiser = scope.spawn(|| {
            std::thread::sleep(patience);
            flag.raise();
            Instant::now()
        });
        let outcome = rip.run_batch(&flag).expect("a batch runs");
        let ended = Instant::now();
        let raised = raiser.join().expect("the raiser does not panic");
        (outcome == BatchOutcome::Abandoned).then(|| ended.saturating_duration_since(raised).as_secs_f64())
    })
}

/// The most memory that this process ever held, where the system tells.
fn memory_bytes_max() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}
