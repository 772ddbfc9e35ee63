//! What a separation by Mel-Band RoFormer takes: time, memory, how soon it gives way, what it leaves behind, and how exact it is.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use candle_core::DType;
use greenroom_audio::{Pcm, SAMPLE_RATE};
use greenroom_cuda::{CudaStage, Driver};
use greenroom_director::Group;
use greenroom_separator::{BatchOutcome, Melband, MelbandConfig, MelbandOptions, Separator, Stems};
use greenroom_stage::{CpuStage, Stage, Tenant};
use greenroom_sync::CancelFlag;

use super::{Figures, Options};
use crate::{device::Device, house::melband_options};

const SEED: u64 = 7;
const MEBIBYTE: f64 = (1 << 20) as f64;
/// Seconds of the track of which the time counts.
const LONG_S: u32 = 120;
/// Seconds of the track that tells what a rip leaves behind.
const SHORT_S: u32 = 16;
/// Seconds of the track on which results are compared: the CPU needs about 10 s for each of its pieces.
const COMPARED_S: u32 = 5;

/// A separator on a stage.
struct House {
    separator: Arc<Melband>,
    stage: Arc<dyn Stage>,
}

impl House {
    fn new(stage: Arc<dyn Stage>, options: MelbandOptions) -> anyhow::Result<Self> {
        let separator = Melband::random(MelbandConfig::PUBLIC, SEED, options)?;
        stage.register(Arc::clone(&separator) as Arc<dyn Tenant>)?;
        Ok(Self { separator, stage })
    }

    fn restore(&self) -> anyhow::Result<()> {
        Ok(self.stage.restore(Group::Separator.name())?)
    }

    fn park(&self) -> anyhow::Result<()> {
        Ok(self.stage.park(Group::Separator.name())?)
    }

    /// A whole rip, with the room that a pod gives it.
    fn separate(&self, track: &Arc<Pcm>) -> anyhow::Result<(Stems, [f64; 3])> {
        let _room = self.stage.admit(self.separator.workspace_bytes())?;
        let started = Instant::now();
        let mut rip = self.separator.begin(Arc::clone(track))?;
        let begun = started.elapsed();
        let never = CancelFlag::new();
        while rip.progress().0 < rip.progress().1 {
            ensure!(rip.run_batch(&never)? == BatchOutcome::Done, "a batch was abandoned");
        }
        let ran = started.elapsed();
        let stems = rip.finish()?;
        let ended = started.elapsed();
        let times = [begun, ran - begun, ended - ran].map(|time| time.as_secs_f64());
        Ok((stems, times))
    }

    /// Milliseconds from the request to give way to the separator's memory being free.
    fn give_way(&self, track: &Arc<Pcm>, after: Duration) -> anyhow::Result<Option<f64>> {
        let room = self.stage.admit(self.separator.workspace_bytes())?;
        let mut rip = self.separator.begin(Arc::clone(track))?;
        let cancel = Arc::new(CancelFlag::new());
        let asked = {
            let cancel = Arc::clone(&cancel);
            thread::spawn(move || {
                thread::sleep(after);
                let asked = Instant::now();
                cancel.raise();
                asked
            })
        };
        while rip.progress().0 < rip.progress().1 {
            if rip.run_batch(&cancel)? == BatchOutcome::Abandoned {
                break;
            }
        }
        let gave_way = rip.progress().0 < rip.progress().1;
        drop(room);
        self.park()?;
        let freed = Instant::now();
        let asked = asked
            .join()
            .map_err(|_| anyhow::anyhow!("the asking thread panicked"))?;
        self.restore()?;
        Ok(gave_way.then(|| freed.saturating_duration_since(asked).as_secs_f64() * 1e3))
    }
}

impl House {
    /// Whether the stems of a track are the same to the bit when the rip gives way after every so many batches, in the middle of one, and the
    /// separator leaves the device each time.
    fn gives_way_unheard(&self, track: &Arc<Pcm>, every: u32) -> anyhow::Result<bool> {
        let (wanted, _) = self.separate(track)?;
        let mut rip = self.separator.begin(Arc::clone(track))?;
        let mut gave_way_at = None;
        while rip.progress().0 < rip.progress().1 {
            let room = self.stage.admit(self.separator.workspace_bytes())?;
            let batch = rip.progress().0;
            if batch % every == every - 1 && gave_way_at != Some(batch) {
                gave_way_at = Some(batch);
                let cancel = CancelFlag::new();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        thread::sleep(Duration::from_millis(4));
                        cancel.raise();
                    });
                    rip.run_batch(&cancel)
                })?;
                drop(room);
                self.park()?;
                self.restore()?;
                continue;
            }
            rip.run_batch(&CancelFlag::new())?;
        }
        let stems = rip.finish()?;
        Ok(stems == wanted)
    }
}

pub(super) fn measure(
    device: &Device,
    pool: &Arc<rayon::ThreadPool>,
    options: &Options,
    figures: &mut Figures,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let gpu = device.as_gpu().context("this is no GPU")?;
    let driver = gpu.driver();
    let stage = gpu.stage(None)?;
    let house = House::new(Arc::new(stage.clone()), melband_options(device, Arc::clone(pool)))?;
    house.restore()?;
    let track = Arc::new(noise(LONG_S));
    let started = Instant::now();
    house.separate(&track)?;
    figures.put("first_separation_s", started.elapsed().as_secs_f64());

    times(&house, &track, options, figures)?;
    gpu.reset_workspace_high()?;
    house.separate(&track)?;
    figures.put("separation_peak_mb", driver.pool()?.used_high as f64 / MEBIBYTE);
    figures.put(
        "separation_admitted_mb",
        house.separator.workspace_bytes() as f64 / MEBIBYTE,
    );

    say("giving way");
    let mut yields = Vec::new();
    for run in 0..u64::from(options.runs.max(20)) {
        let after = Duration::from_millis(40 + run * 13 % 160);
        yields.extend(house.give_way(&track, after)?);
    }
    figures.put("yield_runs", yields.len());
    figures.put("yield_ms_median", percentile(&mut yields, 0.5));
    figures.put("yield_ms", percentile(&mut yields, 0.95));

    let unheard = house.gives_way_unheard(&Arc::new(noise(SHORT_S * 2)), 3)?;
    ensure!(unheard, "a rip that gave way made other stems than one that did not");
    figures.put("bit_identical_after_giving_way", unheard);

    say("what stays behind");
    let leak = leak(&house, &stage, &*driver, options)?;
    let placement = figures
        .taken
        .get("placement_leak_mb")
        .and_then(serde_json::Value::as_f64);
    figures.put("leak_mb", leak.max(placement.unwrap_or(0.0)));
    say("how exact it is");
    compare(&house, device, pool, figures)?;
    house.park()
}

fn times(house: &House, track: &Arc<Pcm>, options: &Options, figures: &mut Figures) -> anyhow::Result<()> {
    let mut all = Vec::new();
    let mut parts = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..options.runs.max(1) {
        let (_, times) = house.separate(track)?;
        all.push(times.iter().sum());
        for (part, time) in parts.iter_mut().zip(times) {
            part.push(time);
        }
    }
    figures.put("separate_120s_s", percentile(&mut all, 0.5));
    figures.put("separate_120s_s_worst", percentile(&mut all, 1.0));
    for (part, key) in parts.iter_mut().zip(["begin_s", "batches_s", "finish_s"]) {
        figures.put(&format!("separate_120s_{key}"), percentile(part, 0.5));
    }
    Ok(())
}

/// Megabytes that are gone after many rips, each with an attachment of its own, pools trimmed.
fn leak(house: &House, stage: &CudaStage, driver: &dyn Driver, options: &Options) -> anyhow::Result<f64> {
    let track = Arc::new(noise(SHORT_S));
    let rips = |count: u32| -> anyhow::Result<u64> {
        for _ in 0..count {
            house.separate(&track)?;
            house.park()?;
            house.restore()?;
        }
        stage.figures()?;
        Ok(driver.memory()?.free)
    };
    let before = rips(10)?;
    let after = rips(options.cycles / 20)?;
    Ok((before as f64 - after as f64) / MEBIBYTE)
}

/// Half against single precision, and the GPU's single precision against the CPU's: the largest of the relative errors of both stems.
fn compare(house: &House, device: &Device, pool: &Arc<rayon::ThreadPool>, figures: &mut Figures) -> anyhow::Result<()> {
    let track = Arc::new(noise(COMPARED_S));
    let gpu = device.as_gpu().context("this is no GPU")?;
    let separated = |options: MelbandOptions, stage: Arc<dyn Stage>| -> anyhow::Result<Stems> {
        let house = House::new(stage, options)?;
        house.restore()?;
        let stems = house.separate(&track)?.0;
        house.park()?;
        Ok(stems)
    };
    let half = house.separate(&track)?.0;
    let of = |dtype| MelbandOptions {
        dtype,
        ..melband_options(device, Arc::clone(pool))
    };
    let coarse = separated(of(DType::BF16), Arc::new(gpu.stage(None)?))?;
    let options = of(DType::F32);
    let on_gpu = separated(options.clone(), Arc::new(gpu.stage(None)?))?;
    let options = MelbandOptions { lane: None, ..options };
    let on_cpu = separated(options.clone(), Arc::new(CpuStage::new(u64::MAX)))?;
    // The CPU computes in single precision, whatever type the weights are kept in.
    let options = MelbandOptions {
        dtype: DType::BF16,
        ..options
    };
    let coarse_weights = separated(options, Arc::new(CpuStage::new(u64::MAX)))?;
    figures.put("bf16_weights_alone", difference(&coarse_weights, &on_cpu));
    figures.put("half_against_single", difference(&half, &on_gpu));
    figures.put("bf16_against_single", difference(&coarse, &on_gpu));
    figures.put("half_against_cpu", difference(&half, &on_cpu));
    figures.put("single_against_cpu", difference(&on_gpu, &on_cpu));
    Ok(())
}

fn difference(stems: &Stems, wanted: &Stems) -> f64 {
    let one = |stem: &Pcm, wanted: &Pcm| {
        let pairs = || {
            stem.samples()
                .iter()
                .zip(wanted.samples())
                .map(|(a, b)| (f64::from(*a), f64::from(*b)))
        };
        let error: f64 = pairs().map(|(a, b)| (a - b).powi(2)).sum();
        let level: f64 = pairs().map(|(_, b)| b.powi(2)).sum();
        (error / level).sqrt()
    };
    one(&stems.vocals, &wanted.vocals).max(one(&stems.instruments, &wanted.instruments))
}

/// Stereo at 48 kHz that is the same every time: tones under noise.
fn noise(seconds: u32) -> Pcm {
    let mut state = 0x2545_f491_u32;
    let samples = (0..seconds * SAMPLE_RATE * 2).map(|index| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let tone = (f64::from(index / 2) * std::f64::consts::TAU * 220.0 / f64::from(SAMPLE_RATE)).sin();
        0.3 * tone as f32 + 0.1 * (state as f32 / u32::MAX as f32 - 0.5)
    });
    Pcm::new(SAMPLE_RATE, 2, samples.collect())
}

/// The value that a share of all is not above.
fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * share).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
