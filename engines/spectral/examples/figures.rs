//! Times the three kinds of work on 120 s of stereo: `cargo run --release -p greenroom-spectral --example figures`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use greenroom_audio::{Pcm, SAMPLE_RATE};
use greenroom_generator::{GenerateError, Generator, KnobValue, Knobs, Prompt, StreamSettings};
use greenroom_spectral::Spectral;
use greenroom_sync::CancelFlag;

const WINDOW: usize = 17_280;
const RUNS: usize = 200;

fn main() -> Result<(), GenerateError> {
    let mut state = 1_u32;
    let samples = (0..SAMPLE_RATE as usize * 120 * 2)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 16_777_216.0 - 0.5
        })
        .collect();
    let audio = Arc::new(Pcm::new(SAMPLE_RATE, 2, samples));
    let (flag, generator) = (CancelFlag::new(), Spectral::new());
    let mut prepares = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        generator.prepare_source(Arc::clone(&audio), &flag)?;
        prepares.push(start.elapsed());
    }
    report("prepare_source, 120 s stereo", &mut prepares);
    let source = generator.prepare_source(audio, &flag)?;
    let conditioning = generator.encode_prompt(
        &Prompt {
            tags: "house".into(),
            ..Prompt::default()
        },
        &source,
        None,
        &flag,
    )?;
    let mut stream = generator.open(
        source,
        conditioning,
        &StreamSettings {
            depth: 4,
            steps: 8,
            sde: false,
            walk: None,
        },
    )?;
    for (name, denoise, feedback) in [
        ("denoise 0", 0.0, 0.0),
        ("denoise 0.8", 0.8, 0.0),
        ("denoise 0.8, feedback 0.5", 0.8, 0.5),
    ] {
        let list = [("denoise", denoise), ("feedback", feedback), ("hint_strength", 0.5)];
        stream.set_knobs(
            &list
                .iter()
                .map(|(name, value)| ((*name).to_owned(), KnobValue::Number(*value)))
                .collect::<Knobs>(),
        );
        let (mut ticks, mut decodes) = (Vec::new(), Vec::new());
        for run in 0..RUNS {
            let start = Instant::now();
            stream.tick(0, &flag)?;
            ticks.push(start.elapsed());
            let start = Instant::now();
            stream.decode((run * WINDOW) as u64, WINDOW, &flag)?;
            decodes.push(start.elapsed());
        }
        report(&format!("{name}: tick"), &mut ticks);
        report(&format!("{name}: decode of 0.36 s stereo"), &mut decodes);
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "figures are this program's only purpose")]
fn report(name: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
    println!(
        "{name}: median {:.3} ms, p95 {:.3} ms, worst {:.3} ms",
        at(50),
        at(95),
        at(100)
    );
}
