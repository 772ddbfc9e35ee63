//! Milliseconds of each codec on this machine: `cargo run --release -p greenroom-wire --example speed`.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::{hint::black_box, time::Instant};

use greenroom_wire::{Mirror, PcmFrame, SliceHeader, constants::SAMPLE_RATE, slice};

const RUNS: usize = 40;
/// 120 s, stereo: what the bars of an upload are measured with.
const TRACK_SAMPLES: usize = SAMPLE_RATE as usize * 120 * 2;
/// 0.36 s, stereo.
const SLICE_SAMPLES: usize = 17_280 * 2;

fn main() {
    let track = waveform(TRACK_SAMPLES, 1);
    let frame = PcmFrame::build(2, &track);
    report("read a PCM frame of 120 s", || PcmFrame::parse(&frame).is_ok());
    report("encode an initial buffer of 120 s", || {
        slice::encode_halves(&track).len() == TRACK_SAMPLES * 2
    });
    report("make a mirror of 120 s", || {
        Mirror::from_source(&track, 2).channels() == 2
    });
    let mut mirror = Mirror::from_source(&track, 2);
    let regions: Vec<Vec<f32>> = (0..RUNS as u32).map(|run| waveform(SLICE_SAMPLES, run + 2)).collect();
    let mut regions = regions.iter();
    report("encode a slice of 0.36 s", || {
        regions
            .next()
            .is_some_and(|region| mirror.encode(SliceHeader::default(), region).is_some())
    });
}

/// A tone with noise from a linear congruential generator: as hard to compress as music.
fn waveform(samples: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    (0..samples)
        .map(|at| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = f64::from(state) / f64::from(u32::MAX) - 0.5;
            ((at as f64 * 0.02).sin() * 0.5 + noise * 0.1) as f32
        })
        .collect()
}

fn report(what: &str, mut work: impl FnMut() -> bool) {
    let mut took: Vec<f64> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            assert!(black_box(work()), "{what}");
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    took.sort_by(f64::total_cmp);
    println!(
        "{what}: median {:.2} ms, p95 {:.2} ms",
        took[RUNS / 2],
        took[RUNS * 19 / 20]
    );
}
