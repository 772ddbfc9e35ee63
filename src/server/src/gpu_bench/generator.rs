//! What ACE-Step takes: a tick, a window, the encodings, how its weights move, and a whole pod that plays on it.

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use greenroom_acestep::{Acestep, Part, Size};
use greenroom_cuda::Gpu;
use greenroom_generator::{Generator, KnobValue, Knobs, LiveStream, SLICE_FRAMES, StreamSettings};
use greenroom_stage::Stage;
use greenroom_sync::CancelFlag;
use serde_json::json;

use super::{Figures, GeneratorOptions};
use crate::{device::Device, house::acestep_options};

/// The session of the bars: 60 s, and a prompt of the usual length.
pub(super) const FRAMES: usize = 1_500;
pub(super) const STATES: usize = 83;
/// Two minutes of latents.
pub(super) const UPLOAD_FRAMES: usize = 3_000;
/// Tokens of a prompt.
const TOKENS: usize = 70;
pub(super) const GROUPS: [&str; 4] = ["dit", "conditioner", "text_encoder", "vae"];

/// Milliseconds of so many runs, after a few that are not counted.
pub(super) fn runs(count: u32, mut run: impl FnMut() -> anyhow::Result<Duration>) -> anyhow::Result<Spread> {
    for _ in 0..3 {
        run()?;
    }
    let mut times = (0..count.max(1))
        .map(|_| Ok(run()?.as_secs_f64() * 1e3))
        .collect::<anyhow::Result<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    Ok(Spread(times))
}

/// Sorted times in milliseconds.
pub(super) struct Spread(Vec<f64>);

impl Spread {
    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    pub(super) fn put(&self, key: &str, figures: &mut Figures) {
        figures.put(key, self.median());
        let ends = json!([self.0.first(), self.median(), self.0.last()]);
        figures.put(&format!("{key}_min_median_max"), ends);
    }
}

/// Takes every figure of the generator by itself.
pub(super) fn measure(
    device: &Device,
    options: &GeneratorOptions,
    figures: &mut Figures,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    say("random weights of the public size");
    let started = Instant::now();
    let loras = tempfile::tempdir().context("no room for a LoRA")?;
    let acestep = with_lora(device, loras.path())?;
    figures.put("random_weights_s", started.elapsed().as_secs_f64());
    let gpu = device.as_gpu().context("this is no GPU")?;
    let stage = gpu.stage(None)?;
    for tenant in acestep.tenants() {
        stage.register(tenant)?;
    }
    for group in GROUPS {
        stage.restore(group)?;
    }
    say("ticks");
    for depth in [1, 4, 8] {
        let mut stream = playing(&acestep, depth, Forwards::Eager)?.0;
        let spread = runs(options.runs, || tick(&mut *stream))?;
        spread.put(&format!("eager_tick_b{depth}_ms"), figures);
        let workspace = gpu.driver().pool()?.reserved;
        let (mut stream, longest) = playing(&acestep, depth, Forwards::Recorded)?;
        figures.put(&format!("graph_capture_b{depth}_ms"), longest.as_secs_f64() * 1e3);
        let workspace = gpu.driver().pool()?.reserved.saturating_sub(workspace);
        figures.put(&format!("graph_workspace_b{depth}_mb"), workspace as f64 / 1e6);
        let spread = runs(options.runs, || tick(&mut *stream))?;
        spread.put(&format!("tick_b{depth}_ms"), figures);
    }
    say("windows");
    let mut stream = playing(&acestep, 1, Forwards::Recorded)?.0;
    let mut window = 0;
    let spread = runs(options.runs, || {
        window += 1;
        let started = Instant::now();
        stream.decode(window * 1_920 % 2_000_000, SLICE_FRAMES, &CancelFlag::new())?;
        Ok(started.elapsed())
    })?;
    spread.put("decode_window_ms", figures);
    say("encodings");
    for (key, part) in [
        ("encode_120s_ms", Part::Encode(UPLOAD_FRAMES)),
        ("semantic_120s_ms", Part::Hints(UPLOAD_FRAMES)),
        ("text_encode_ms", Part::Text(TOKENS)),
    ] {
        runs(options.runs, || Ok(acestep.time(part)?))?.put(key, figures);
    }
    say("generations");
    figures.put("generations_per_s", generations_per_second(&acestep)?);
    say("a thousand ticks");
    thousand_ticks(&acestep, gpu, figures)?;
    say("how weights move");
    figures_of_restores(&acestep, &stage, options.runs.min(10), figures)
}

/// The pool's high-water mark before and after.
fn thousand_ticks(acestep: &Acestep, gpu: &Gpu, figures: &mut Figures) -> anyhow::Result<()> {
    let mut stream = playing(acestep, 4, Forwards::Recorded)?.0;
    for _ in 0..20 {
        tick(&mut *stream)?;
    }
    gpu.reset_workspace_high()?;
    // Of ticks as well: what is in use between them is less.
    for _ in 0..20 {
        tick(&mut *stream)?;
    }
    let before = gpu.driver().pool()?.used_high;
    for _ in 0..1_000 {
        tick(&mut *stream)?;
    }
    let after = gpu.driver().pool()?.used_high;
    figures.put("pool_high_before_mb", before as f64 / 1e6);
    figures.put("pool_high_after_1000_ticks_mb", after as f64 / 1e6);
    Ok(())
}

/// The transformer's way back, without a LoRA and with one in its weights.
fn figures_of_restores(acestep: &Acestep, stage: &dyn Stage, count: u32, figures: &mut Figures) -> anyhow::Result<()> {
    let restores = || {
        runs(count, || {
            stage.park("dit")?;
            let started = Instant::now();
            stage.restore("dit")?;
            Ok(started.elapsed())
        })
    };
    restores()?.put("restore_dit_ms", figures);
    let mut stream = playing(acestep, 1, Forwards::Recorded)?.0;
    stream.set_loras(&[(acestep.load_lora(LORA)?, 1.0)])?;
    figures.put("lora_in_force_ms", tick(&mut *stream)?.as_secs_f64() * 1e3);
    drop(stream);
    restores()?.put("restore_dit_with_lora_ms", figures);
    Ok(())
}

/// The id of the LoRA that is measured, and its rank.
const LORA: &str = "rank-64";
const LORA_RANK: usize = 64;

/// Random weights of the public size, and a LoRA of every matrix that can have one.
fn with_lora(device: &Device, folder: &Path) -> anyhow::Result<Acestep> {
    let config = Size::Full.configs()?.dit;
    let path = folder.join(format!("{LORA}.safetensors"));
    greenroom_dit::write_random_lora(&path, &config, LORA_RANK, 1, HashMap::new())?;
    let acestep = Acestep::random(Size::Full, 1, acestep_options(device))?.with_loras(folder)?;
    Ok(acestep)
}

/// How a stream's forwards reach the device.
#[derive(Clone, Copy)]
pub(super) enum Forwards {
    Recorded,
    Eager,
}

/// Ticks until every slot is in flight and the forward of so many can have been recorded.
const TICKS_TO_PLAY: u32 = 24;

/// A stream with every slot in flight and a generation finished, and its longest tick after the first: the one in which a graph is made.
pub(super) fn playing(
    acestep: &Acestep,
    depth: u32,
    forwards: Forwards,
) -> anyhow::Result<(Box<dyn LiveStream>, Duration)> {
    let settings = StreamSettings {
        depth,
        steps: 8,
        sde: false,
        walk: None,
    };
    let (source, conditioning) = (acestep.random_source(FRAMES)?, acestep.random_conditioning(STATES)?);
    let mut stream = match forwards {
        Forwards::Recorded => acestep.open(source, conditioning, &settings)?,
        Forwards::Eager => acestep.open_eager(source, &conditioning, &settings)?,
    };
    stream.set_knobs(&Knobs::from([("denoise".into(), KnobValue::Number(1.0))]));
    tick(&mut *stream)?;
    let mut longest = Duration::ZERO;
    for _ in 1..TICKS_TO_PLAY {
        longest = longest.max(tick(&mut *stream)?);
    }
    Ok((stream, longest))
}

pub(super) fn tick(stream: &mut dyn LiveStream) -> anyhow::Result<Duration> {
    let started = Instant::now();
    stream.tick(0, &CancelFlag::new())?;
    Ok(started.elapsed())
}

/// Four slots of eight steps, each generation decoded by a window: as a session plays.
fn generations_per_second(acestep: &Acestep) -> anyhow::Result<f64> {
    const TICKS: u32 = 200;
    let mut stream = playing(acestep, 4, Forwards::Recorded)?.0;
    let started = Instant::now();
    let mut generations = 0;
    for tick in 0..TICKS {
        let finished = stream.tick(0, &CancelFlag::new())?.finished;
        if finished > 0 {
            let start = u64::from(tick) * 1_920;
            stream.decode(start, SLICE_FRAMES, &CancelFlag::new())?;
        }
        generations += finished;
    }
    Ok(f64::from(generations) / started.elapsed().as_secs_f64())
}
