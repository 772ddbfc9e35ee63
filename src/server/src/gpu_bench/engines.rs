//! What captured graphs save, cost, and take to change: the tick of a session of 60 s, and its swap to a track of 120 s.

use std::time::{Duration, Instant};

use anyhow::Context;
use greenroom_acestep::{Acestep, Size};
use greenroom_stage::Stage;

use super::{
    Figures,
    generator::{FRAMES, Forwards, GROUPS, STATES, UPLOAD_FRAMES, playing, runs, tick},
};
use crate::{device::Device, house::acestep_options};

/// Ticks on each source before swaps are timed: every shape on the way is captured then.
const TICKS_TO_CAPTURE: u32 = 12;

pub(super) fn measure(device: &Device, count: u32, figures: &mut Figures, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    say("random weights of the public size");
    let acestep = Acestep::random(Size::Full, 1, acestep_options(device))?;
    let gpu = device.as_gpu().context("this is no GPU")?;
    let stage = gpu.stage(None)?;
    for tenant in acestep.tenants() {
        stage.register(tenant)?;
    }
    for group in GROUPS {
        stage.restore(group)?;
    }
    say("ticks, eager and captured");
    let (mut capture, mut workspace) = (Duration::ZERO, 0);
    for depth in [1, 4, 8] {
        let mut stream = playing(&acestep, depth, Forwards::Eager)?.0;
        runs(count, || tick(&mut *stream))?.put(&format!("eager_tick_b{depth}_ms"), figures);
        let before = gpu.driver().pool()?.reserved;
        let (mut stream, longest) = playing(&acestep, depth, Forwards::Recorded)?;
        capture = capture.max(longest);
        workspace = workspace.max(gpu.driver().pool()?.reserved.saturating_sub(before));
        runs(count, || tick(&mut *stream))?.put(&format!("graph_tick_b{depth}_ms"), figures);
    }
    let of = |key: &str| figures.taken.get(key).and_then(serde_json::Value::as_f64);
    let ratio = of("graph_tick_b1_ms").zip(of("eager_tick_b1_ms"));
    let (graph, eager) = ratio.context("ticks were not measured")?;
    figures.put("graph_tick_b1_over_eager", graph / eager);
    figures.put("graph_capture_ms", capture.as_secs_f64() * 1e3);
    figures.put("graph_workspace_mb", workspace as f64 / 1e6);
    say("swaps from 60 s to 120 s");
    let (long, conditioning) = (
        acestep.random_source(UPLOAD_FRAMES)?,
        acestep.random_conditioning(STATES)?,
    );
    let short = acestep.random_source(FRAMES)?;
    let mut stream = playing(&acestep, 1, Forwards::Recorded)?.0;
    for source in [&long, &short] {
        stream.swap_source(source.clone(), conditioning.clone());
        for _ in 0..TICKS_TO_CAPTURE {
            tick(&mut *stream)?;
        }
    }
    let spread = runs(count.min(10), || {
        let started = Instant::now();
        stream.swap_source(long.clone(), conditioning.clone());
        tick(&mut *stream)?;
        let took = started.elapsed();
        stream.swap_source(short.clone(), conditioning.clone());
        tick(&mut *stream)?;
        Ok(took)
    })?;
    spread.put("profile_swap_warm_ms", figures);
    Ok(())
}
