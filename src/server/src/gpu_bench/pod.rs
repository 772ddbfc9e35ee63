//! A whole pod on a card that is nearly full: three uploads in a row, each with a rip, while a session plays.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};
use greenroom_audio::{Pcm, SAMPLE_RATE};
use greenroom_cuda::{Gpu, Hold};
use greenroom_separator::{Melband, MelbandConfig};
use greenroom_weighted::{GroupBytes, Weighted, WeightedConfig};
use serde_json::json;
use tokio::net::TcpListener;

use super::{CARD_BYTES, Figures, client::Session};
use crate::{
    config::{Config, GeneratorChoice},
    device::Device,
    house::{self, Engines, OpenSeparator, melband_options},
    net::{self, NetConfig},
    pod::{Pod, PodHandle, ThreadSettings},
};

const MEBIBYTE: u64 = 1 << 20;
const GIBIBYTE: f64 = (1_u64 << 30) as f64;
const UPLOADS: u32 = 3;
/// What the driver and its libraries may take beside weights and workspaces.
const LIBRARIES_BYTES: u64 = 700 * MEBIBYTE;
/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The small groups together, and more than any of them: what is mapped beyond it is the conditioner or the separator.
const SLACK_BYTES: u64 = 16 * MEBIBYTE;

/// Groups of a pod whose decoder and autoencoder are compiled engines, which own their weights and are not parked: what an upload needs of
/// the eager generator is there in its real size (condition encoder, tokenizer and detokenizer); the smallest possible stand for the rest.
const GROUPS: GroupBytes = GroupBytes {
    dit: 0,
    conditioner: 1560 * MEBIBYTE,
    text_encoder: 0,
    vae: 0,
};

pub(super) fn measure(config: &Config, engines_gib: u64, figures: &mut Figures) -> anyhow::Result<()> {
    let files = tempfile::tempdir().context("no room for the pod's files")?;
    let config = Config {
        host: [127, 0, 0, 1].into(),
        data_dir: files.path().join("data"),
        generator: GeneratorChoice::Weighted,
        memory_budget_bytes: Some(CARD_BYTES - (engines_gib << 30) - LIBRARIES_BYTES),
        ..config.clone()
    };
    let device = Device::choose(&config)?;
    let gpu = device.as_gpu().context("this is no GPU")?.clone();
    let engines = engines(device)?;
    let _smaller_card = Hold::take(&gpu, gpu.info().total_bytes - CARD_BYTES)?;
    let held = Hold::take(&gpu, engines_gib << 30)?;

    let watch = Watch::start(&gpu);
    let runtime = tokio::runtime::Runtime::new().context("no threads for sockets")?;
    let uploads = runtime.block_on(uploads(&config, engines));
    let seen = watch.end()?;
    let uploads = uploads?;
    figures.put(
        &format!("worst_free_{engines_gib}_gib"),
        seen.worst_free as f64 / GIBIBYTE,
    );
    let libraries = gpu.info().total_bytes - gpu.driver().memory()?.free - held.bytes();
    figures.put(
        &format!("pod_{engines_gib}_gib"),
        json!({
            "upload_ok_ms": uploads.iter().map(|upload| upload.0).collect::<Vec<_>>(),
            "stems_ms": uploads.iter().map(|upload| upload.1).collect::<Vec<_>>(),
            "looks": seen.looks,
            "looks_with_separator": seen.with_separator,
            "held_at_the_end_mib": libraries.saturating_sub(gpu.info().total_bytes - CARD_BYTES) / MEBIBYTE,
            "held_at_the_start_mib": seen.base.saturating_sub(gpu.info().total_bytes - CARD_BYTES + held.bytes()) / MEBIBYTE,
        }),
    );
    figures.put("overlap_seen", seen.overlaps);
    Ok(())
}

fn engines(device: Device) -> anyhow::Result<Engines> {
    let config = WeightedConfig {
        bytes: GROUPS,
        ..WeightedConfig::default()
    };
    let weighted = Weighted::new(&config, device.live_lane())?;
    let pool = Arc::new(ThreadSettings::of_this_machine().signal_pool()?);
    let separator = OpenSeparator::of(Melband::random(
        MelbandConfig::PUBLIC,
        1,
        melband_options(&device, pool),
    )?);
    let mut tenants = weighted.tenants();
    tenants.push(Arc::clone(&separator.tenant));
    Ok(Engines {
        device,
        generator: Arc::new(weighted),
        separator: Ok(separator),
        tenants,
    })
}

/// Milliseconds to `upload_ok` and to the stems, of each upload.
async fn uploads(config: &Config, engines: Engines) -> anyhow::Result<Vec<(f64, f64)>> {
    serving(config, engines, async |address: &str, _| {
        let mut session = Session::open(address, tone(60, 220.0).samples()).await?;
        let mut uploads = Vec::new();
        for upload in 0..UPLOADS {
            let track = tone(120, 110.0 * f64::from(upload + 1));
            let took = session
                .upload(address, &format!("track {upload}"), track.samples())
                .await
                .with_context(|| format!("upload {upload}"))?;
            uploads.push((took.accepted.as_secs_f64() * 1e3, took.stems.as_secs_f64() * 1e3));
        }
        Ok(uploads)
    })
    .await
}

/// Serves a whole pod of these engines on a port of its own while `clients` do what they do at its address, and ends it in order.
pub(super) async fn serving<T>(
    config: &Config,
    engines: Engines,
    clients: impl AsyncFnOnce(&str, PodHandle) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (pod, _) = house::assemble(config, engines)?;
    let pod = Pod::start(pod)?;
    let listener = TcpListener::bind((config.host, 0)).await?;
    let address = listener.local_addr()?.to_string();
    let server = tokio::spawn(net::serve(
        listener,
        pod.handle(),
        NetConfig {
            body_bytes_max: config.body_bytes_max,
            ..NetConfig::default()
        },
    ));
    let done = clients(&address, pod.handle()).await?;
    pod.handle().tell(greenroom_director::Event::ShutdownAsked).await?;
    let code = pod.exited().await;
    server.abort();
    ensure!(code == 0, "the pod ended with exit code {code}");
    Ok(done)
}

/// Two tones on two channels.
pub(super) fn tone(seconds: u32, hertz: f64) -> Pcm {
    let frames = 0..seconds * SAMPLE_RATE;
    let samples = frames.flat_map(|frame| {
        let angle = f64::from(frame) / f64::from(SAMPLE_RATE) * std::f64::consts::TAU * hertz;
        [0.4 * angle.sin() as f32, 0.3 * (1.5 * angle).sin() as f32]
    });
    Pcm::new(SAMPLE_RATE, 2, samples.collect())
}

/// What was seen of the driver's figures.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    looks: u64,
    with_separator: u64,
    overlaps: u64,
    worst_free: u64,
    /// Held before the pod began, by the card's smallness, the engines, and what the driver and its libraries took so far.
    base: u64,
}

/// Looks at the driver's figures again and again, on a thread of its own.
struct Watch {
    over: Arc<AtomicBool>,
    thread: thread::JoinHandle<anyhow::Result<Seen>>,
}

impl Watch {
    fn start(gpu: &Gpu) -> Self {
        let (over, gpu) = (Arc::new(AtomicBool::new(false)), gpu.clone());
        let there = Arc::clone(&over);
        let thread = thread::spawn(move || look(&gpu, &there));
        Self { over, thread }
    }

    fn end(self) -> anyhow::Result<Seen> {
        self.over.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow::anyhow!("the thread that looks at the memory panicked"))?
    }
}

/// The driver tells sums, not owners: whose they are is told by their sizes.
fn look(gpu: &Gpu, over: &AtomicBool) -> anyhow::Result<Seen> {
    let driver = gpu.driver();
    let conditioner = GROUPS.conditioner.next_multiple_of(gpu.info().granule);
    let start = driver.memory()?;
    let base = start.total - start.free - driver.pool()?.reserved;
    let mut seen = Seen {
        worst_free: u64::MAX,
        base,
        ..Seen::default()
    };
    while !over.load(Ordering::Relaxed) {
        let before = driver.pool()?.reserved;
        let memory = driver.memory()?;
        let after = driver.pool()?.reserved;
        seen.worst_free = seen.worst_free.min(memory.free);
        // A look in the middle of an allocation tells nothing of owners.
        if before == after {
            let held = memory.total - memory.free - before;
            let mapped = held.saturating_sub(base);
            let eager = mapped >= conditioner;
            let separator = mapped - if eager { conditioner } else { 0 } > SLACK_BYTES;
            seen.looks += 1;
            seen.with_separator += u64::from(separator);
            seen.overlaps += u64::from(separator && eager);
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(seen)
}
