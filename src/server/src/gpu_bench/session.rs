//! A whole pod that plays ACE-Step over a socket, while tracks are uploaded and ripped: random weights of the public sizes.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use greenroom_acestep::{Acestep, Size};
use greenroom_cuda::Gpu;
use greenroom_separator::{Melband, MelbandConfig};
use serde_json::json;

use super::{
    Figures, client,
    listener::{Account, Listener},
    pod::{serving, tone},
};
use crate::{
    config::{Config, GeneratorChoice},
    device::Device,
    house::{Engines, OpenSeparator, acestep_options, melband_options},
    pod::{PodHandle, ThreadSettings},
};

/// Uploads before anything counts: kernels are loaded, and what is kept for good is allocated.
const WARM_UPS: u32 = 3;
const UPLOADS: u32 = 20;
/// What the listener is given to come to rest, and then again for looks at the memory.
const REST: Duration = Duration::from_secs(3);
const LOOKS: u32 = 100;
/// The minute of the bars: a rip begins in its middle third.
const MINUTE: Duration = Duration::from_secs(60);
const BEFORE_THE_RIP: Duration = Duration::from_secs(20);

pub(super) fn measure(config: &Config, figures: &mut Figures, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let files = tempfile::tempdir().context("no room for the pod's files")?;
    let config = Config {
        host: [127, 0, 0, 1].into(),
        data_dir: files.path().join("data"),
        generator: GeneratorChoice::Acestep,
        ..config.clone()
    };
    let device = Device::choose(&config)?;
    let gpu = device.as_gpu().context("this is no GPU")?.clone();
    let engines = engines(device)?;
    let runtime = tokio::runtime::Runtime::new().context("no threads for sockets")?;
    let seen = runtime.block_on(serving(&config, engines, async |address: &str, pod| {
        listen(address, &pod, &gpu, say).await
    }))?;
    let mut accepted = seen.accepted_ms.clone();
    accepted.sort_by(f64::total_cmp);
    let p95 = accepted[(accepted.len() * 95).div_ceil(100) - 1];
    figures.put("upload_ok_ms", p95);
    figures.put("upload_ok_ms_each", json!(seen.accepted_ms));
    figures.put("stems_ms_each", json!(seen.stems_ms));
    figures.put("tick_gap_during_rip_ms_max", seen.pause_s * 1e3);
    let gap = seen.uploads.gap.max(seen.minute.gap);
    figures.put("slice_gap_during_rip_ms_max", gap.as_secs_f64() * 1e3);
    figures.put("slices_late", seen.minute.late.len());
    figures.put("slices_late_during_uploads", seen.uploads.late.len());
    figures.put("slices_during_uploads", seen.uploads.slices);
    let late: Vec<_> = seen.minute.late.iter().chain(&seen.uploads.late).collect();
    figures.put("late_slices", json!(late));
    figures.put("slices_in_the_minute", seen.minute.slices);
    figures.put("played_fresh_pct", seen.minute.fresh_pct());
    figures.put("upload_residue_mb", seen.residue_bytes as f64 / 1e6);
    Ok(())
}

/// What a listener met.
struct Seen {
    accepted_ms: Vec<f64>,
    stems_ms: Vec<f64>,
    uploads: Account,
    minute: Account,
    residue_bytes: u64,
    /// The longest time that ticks were kept away from the session that was measured, its opening included.
    pause_s: f64,
}

fn engines(device: Device) -> anyhow::Result<Engines> {
    let acestep = Acestep::random(Size::Full, 1, acestep_options(&device))?;
    let pool = Arc::new(ThreadSettings::of_this_machine().signal_pool()?);
    let melband = Melband::random(MelbandConfig::PUBLIC, 1, melband_options(&device, pool))?;
    let separator = OpenSeparator::of(melband);
    let mut tenants = acestep.tenants();
    tenants.push(Arc::clone(&separator.tenant));
    Ok(Engines {
        device,
        generator: Arc::new(acestep),
        separator: Ok(separator),
        tenants,
    })
}

async fn listen(address: &str, pod: &PodHandle, gpu: &Gpu, say: &dyn Fn(&str)) -> anyhow::Result<Seen> {
    let source = tone(60, 220.0);
    let (mut accepted_ms, mut stems_ms) = (Vec::new(), Vec::new());
    // A session of its own, so that nothing of the first uses is in what the pod tells of the next.
    let mut listener = Listener::open(address, source.samples()).await?;
    for number in 0..WARM_UPS {
        upload(&mut listener, address, number).await?;
    }
    drop(listener);
    let mut listener = Listener::open(address, source.samples()).await?;
    listener.play(REST).await?;
    let before = held_at_rest(&mut listener, gpu).await?;
    listener.take_account();
    say(&format!("{UPLOADS} uploads beside a session that plays"));
    for number in WARM_UPS..WARM_UPS + UPLOADS {
        let (accepted, stems) = upload(&mut listener, address, number).await?;
        accepted_ms.push(accepted.as_secs_f64() * 1e3);
        stems_ms.push(stems.as_secs_f64() * 1e3);
    }
    let uploads = listener.take_account();
    listener.play(REST).await?;
    let after = held_at_rest(&mut listener, gpu).await?;
    say("a minute with a rip in it");
    listener.take_account();
    listener.play(BEFORE_THE_RIP).await?;
    upload(&mut listener, address, WARM_UPS + UPLOADS).await?;
    listener.play(MINUTE - BEFORE_THE_RIP).await?;
    Ok(Seen {
        accepted_ms,
        stems_ms,
        uploads,
        minute: listener.take_account(),
        residue_bytes: after.saturating_sub(before),
        pause_s: pod
            .metrics()
            .iter()
            .find(|metric| metric.name == "tick_pause_longest_seconds")
            .context("the pod does not say how long ticks were kept away")?
            .value,
    })
}

/// One track of two minutes: the time to its answer, and from there to its stems.
async fn upload(listener: &mut Listener, address: &str, number: u32) -> anyhow::Result<(Duration, Duration)> {
    let track = tone(120, 55.0 * f64::from(number + 2));
    let name = format!("track {number}");
    let accepted = listener
        .meanwhile(client::upload(address, &name, track.samples()))
        .await
        .with_context(|| format!("the upload of {name}"))?;
    let answered = std::time::Instant::now();
    listener
        .until_stems()
        .await
        .with_context(|| format!("the stems of {name}"))?;
    Ok((accepted, answered.elapsed()))
}

/// Weights, and what stays in use between ticks: the least of many looks, since a tick's own workspace is no residue. What the pool keeps for
/// the next allocation is free for it.
async fn held_at_rest(listener: &mut Listener, gpu: &Gpu) -> anyhow::Result<u64> {
    let driver = gpu.driver();
    let mut least = u64::MAX;
    for _ in 0..LOOKS {
        listener.play(REST / LOOKS).await?;
        let (memory, pool) = (driver.memory()?, driver.pool()?);
        least = least.min(memory.total - memory.free - (pool.reserved - pool.used));
    }
    Ok(least)
}
