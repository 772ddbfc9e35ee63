//! How long a track takes to the disk: `cargo run --release -p greenroom-library --example commit_time [directory]`.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::{error::Error, path::PathBuf, sync::Arc, time::Instant};

use greenroom_audio::Pcm;
use greenroom_library::{Library, Limits, RealDisk, TrackFacts, Uploads};

const RUNS: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let root = std::env::args_os()
        .nth(1)
        .map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let root = root.join("greenroom-commit-time");
    let noise = (0_u32..11_520_000).map(|index| (index.wrapping_mul(2_654_435_769) >> 8) as f32 / 1.7e7 - 0.5);
    let pcm = Pcm::new(48_000, 2, noise.collect());
    let (mut library, _) = Library::open(Arc::new(RealDisk), &root, Uploads::Wipe, Limits::default())?;
    let mut all = [const { Vec::new() }; 6];
    for _ in 0..RUNS {
        let mut at = vec![Instant::now()];
        let mut draft = library.begin_draft("two minutes.wav", Library::source_bytes(&pcm))?;
        at.push(Instant::now());
        draft.write_source(&pcm)?;
        at.push(Instant::now());
        let facts = TrackFacts {
            owner: None,
            created_unix_s: 0,
            bpm: 120.0,
            key: "C major".into(),
            time_signature: "4".into(),
        };
        let id = library.commit(draft, facts)?.id;
        at.push(Instant::now());
        let reader = library.reader(id)?;
        let read = reader.read_source()?;
        at.push(Instant::now());
        assert_eq!(read.frames(), pcm.frames());
        drop(read);
        let before_wipe = Instant::now();
        library.wipe(&[id])?;
        let wiped = before_wipe.elapsed();
        for (figures, pair) in all.iter_mut().zip(at.windows(2)) {
            figures.push(pair[1] - pair[0]);
        }
        all[4].push(wiped);
        all[5].push(at[3] - at[0]);
    }
    for (name, mut figures) in [
        "begin",
        "write_source",
        "commit",
        "read_source",
        "wipe",
        "begin to commit",
    ]
    .into_iter()
    .zip(all)
    {
        figures.sort();
        let (median, p95) = (figures[RUNS / 2], figures[RUNS * 95 / 100]);
        println!("{name:16} median {median:8.1?}  p95 {p95:8.1?}  ({RUNS} runs, 120 s stereo, 46 MB, fsync included)");
    }
    drop(library);
    std::fs::remove_dir_all(root)?;
    Ok(())
}
