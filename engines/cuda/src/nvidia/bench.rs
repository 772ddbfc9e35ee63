//! What moving weights takes on this GPU: parks, restores, what the bus allows, and that a thousand moves leave nothing behind.

use std::{sync::Arc, time::Instant};

use greenroom_stage::{HostImage, Stage, StageError, Tenant};

use super::{
    gpu::{Gpu, GpuError},
    tenant::{Bytes, Random},
};
use crate::{driver::Driver, stage::CudaStage};

/// Bytes that are compared at a time.
const SAMPLE: u64 = 4096;
/// Bytes that are fetched at a time where everything is compared.
const BLOCK: u64 = 64 << 20;
/// Runs of a copy of which the best is what the bus allows.
const CEILING_RUNS: u32 = 5;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// The groups and their bytes.
    pub groups: Vec<(&'static str, u64)>,
    /// Which of them are moved one after another as `all`.
    pub all: Vec<&'static str>,
    /// Moves of each group that are measured, after one that is not.
    pub rounds: u32,
    /// Parks and restores of the first group that follow, to see what stays behind.
    pub cycles: u32,
    /// Seed of the weights.
    pub seed: u64,
}

impl Default for Options {
    /// The separator, and four groups of the size of ACE-Step's that are 4800 MiB together.
    fn default() -> Self {
        let groups = vec![
            ("separator", 456 << 20),
            ("conditioner", 1560 << 20),
            ("dit", 1950 << 20),
            ("text_encoder", 1140 << 20),
            ("vae", 150 << 20),
        ];
        Self {
            all: vec!["conditioner", "dit", "text_encoder", "vae"],
            groups,
            rounds: 10,
            cycles: 1000,
            seed: 1,
        }
    }
}

/// Times of one thing, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// The shortest.
    pub min_ms: f64,
    /// The middle one.
    pub median_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Spread {
    /// Of at least one time.
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |place: usize| times.get(place).copied().unwrap_or(f64::NAN);
        Self {
            min_ms: at(0),
            median_ms: at(times.len() / 2),
            max_ms: at(times.len().saturating_sub(1)),
        }
    }
}

/// Moves of one group, or of several one after another.
#[derive(Clone, Debug, PartialEq)]
pub struct Moves {
    /// The group, or `all`.
    pub name: &'static str,
    /// Bytes that are copied by a restore.
    pub bytes: u64,
    /// From the request to its memory being free.
    pub park: Spread,
    /// From the request to modules that can be leased.
    pub restore: Spread,
    /// Bytes a second of the median restore, in 10⁹.
    pub restore_gb_s: f64,
    /// The same against what the bus allows.
    pub restore_vs_ceiling: f64,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Each group, then `all`.
    pub moves: Vec<Moves>,
    /// Best copy of page-locked memory of the driver's own, without mapping anything: 10⁹ bytes a second.
    pub pinned_ceiling_gb_s: f64,
    /// Making and page-locking all images, in seconds.
    pub images_s: f64,
    /// Page-locking the first group's image, in milliseconds.
    pub pin_ms: f64,
    /// Whether its pages could be locked where they lie, without a copy.
    pub pinned_in_place: bool,
    /// Parks and restores in a row.
    pub cycles: u32,
    /// What the driver has less free after them than before; negative if it is more.
    pub leak_bytes: i64,
    /// Whether the driver had back every byte after each measured park.
    pub freed_at_once: bool,
    /// Restores whose contents were sampled.
    pub sampled: u32,
    /// Bytes that were compared once, all of them.
    pub compared_bytes: u64,
    /// Comparisons that failed: anything but 0 is an error.
    pub mismatches: u32,
}

/// Measures how groups move.
///
/// # Errors
/// If a move fails, or there is not enough memory of either kind.
pub fn placement(gpu: &Gpu, options: &Options) -> Result<Report, GpuError> {
    let (pin_ms, pinned_in_place) = pin(gpu, options)?;
    let started = Instant::now();
    let mut bench = Bench::new(gpu, options)?;
    let images_s = started.elapsed().as_secs_f64();
    let largest = options.groups.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    let ceiling = pinned_ceiling(gpu, largest)?;
    bench.compare_everything()?;
    let mut moves = Vec::new();
    for (name, _) in &options.groups {
        moves.push(bench.moves(name, &[name], options.rounds, ceiling)?);
    }
    moves.push(bench.moves("all", &options.all, options.rounds, ceiling)?);
    let leak_bytes = bench.cycle(options)?;
    Ok(Report {
        moves,
        pinned_ceiling_gb_s: ceiling,
        images_s,
        pin_ms,
        pinned_in_place,
        cycles: options.cycles,
        leak_bytes,
        freed_at_once: bench.freed_at_once,
        sampled: bench.sampled,
        compared_bytes: bench.compared_bytes,
        mismatches: bench.mismatches,
    })
}

/// Page-locks an image as the stage does: how long that takes, and whether it was locked in place.
fn pin(gpu: &Gpu, options: &Options) -> Result<(f64, bool), GpuError> {
    let Some((name, bytes)) = options.groups.first() else {
        return Ok((0.0, true));
    };
    let group = Bytes::random(name, *bytes, options.seed)?;
    let image: Arc<HostImage> = group.image.clone();
    let started = Instant::now();
    let pinned = gpu.driver().pin(image)?;
    let took = started.elapsed().as_secs_f64() * 1e3;
    Ok((took, (*pinned).as_ref().as_ptr() == group.image.bytes().as_ptr()))
}

/// Page-locked memory of the driver's own, such as a file is read into that goes on to the device.
///
/// # Errors
/// If there is not so much that can be locked.
pub fn page_locked(gpu: &Gpu, bytes: usize) -> Result<impl AsMut<[u8]> + use<>, GpuError> {
    Ok(gpu.api().host_alloc(bytes)?)
}

/// The best copy of so many page-locked bytes to memory that is mapped already, in 10⁹ bytes a second: what no restore can beat.
///
/// # Errors
/// If there is not enough memory of either kind.
pub fn pinned_ceiling(gpu: &Gpu, bytes: u64) -> Result<f64, GpuError> {
    let driver = gpu.driver();
    let bytes = bytes.next_multiple_of(driver.granule());
    let host = gpu.api().host_alloc(bytes as usize)?;
    let address = driver.reserve(bytes)?;
    let memory = driver.create(bytes)?;
    let measured = (|| {
        driver.map(address, bytes, memory)?;
        driver.grant(address, bytes)?;
        let mut best = f64::INFINITY;
        for _ in 0..=CEILING_RUNS {
            let started = Instant::now();
            gpu.api().upload(gpu.copies(), address, host.as_ref())?;
            best = best.min(started.elapsed().as_secs_f64());
        }
        Ok(bytes as f64 / best / 1e9)
    })();
    // Where the mapping failed there is none; what was measured is what counts.
    let _ = driver.unmap(address, bytes);
    let _ = driver.release(memory);
    driver.unreserve(address, bytes);
    measured
}

struct Bench {
    gpu: Gpu,
    driver: Arc<dyn Driver>,
    stage: CudaStage,
    groups: Vec<Arc<Bytes>>,
    random: Random,
    freed_at_once: bool,
    sampled: u32,
    compared_bytes: u64,
    mismatches: u32,
}

impl Bench {
    fn new(gpu: &Gpu, options: &Options) -> Result<Self, GpuError> {
        let stage = gpu.stage(None)?;
        let mut groups = Vec::new();
        for (place, (name, bytes)) in options.groups.iter().enumerate() {
            // Other weights in each group, so that whatever is in the wrong place shows.
            let group = Bytes::random(name, *bytes, options.seed.wrapping_mul(1000) + 2 * place as u64)?;
            stage.register(Arc::clone(&group) as Arc<dyn Tenant>)?;
            groups.push(group);
        }
        Ok(Self {
            gpu: gpu.clone(),
            driver: gpu.driver(),
            stage,
            groups,
            random: Random(options.seed | 1),
            freed_at_once: true,
            sampled: 0,
            compared_bytes: 0,
            mismatches: 0,
        })
    }

    fn group(&self, name: &str) -> Result<Arc<Bytes>, GpuError> {
        let group = self.groups.iter().find(|group| group.name() == name).cloned();
        Ok(group.ok_or_else(|| StageError::NotRegistered(name.into()))?)
    }

    /// Every byte of every group, once.
    fn compare_everything(&mut self) -> Result<(), GpuError> {
        for group in self.groups.clone() {
            self.stage.restore(group.name())?;
            let bytes = group.weights_bytes();
            for offset in (0..bytes).step_by(BLOCK as usize) {
                self.compare(&group, offset, BLOCK.min(bytes - offset))?;
            }
            self.compared_bytes += bytes;
            self.stage.park(group.name())?;
        }
        Ok(())
    }

    /// The ends of a group and some place within it.
    fn sample(&mut self, group: &Bytes) -> Result<(), GpuError> {
        let last = group.weights_bytes().saturating_sub(SAMPLE);
        let within = self.random.next() % last.max(1);
        for offset in [0, within, last] {
            self.compare(group, offset, SAMPLE.min(group.weights_bytes() - offset))?;
        }
        self.sampled += 1;
        Ok(())
    }

    fn compare(&mut self, group: &Bytes, offset: u64, bytes: u64) -> Result<(), GpuError> {
        let Some(home) = group.home() else {
            self.mismatches += 1;
            return Ok(());
        };
        let mut found = vec![0; bytes as usize];
        self.gpu.read(home.address + offset, &mut found)?;
        let wanted = &group.image.bytes()[offset as usize..(offset + bytes) as usize];
        self.mismatches += u32::from(found != wanted);
        Ok(())
    }

    /// Moves groups together, again and again.
    fn moves(
        &mut self,
        name: &'static str,
        names: &[&'static str],
        rounds: u32,
        ceiling: f64,
    ) -> Result<Moves, GpuError> {
        let groups = names
            .iter()
            .map(|name| self.group(name))
            .collect::<Result<Vec<_>, _>>()?;
        let free = self.driver.memory()?.free;
        let (mut parks, mut restores) = (Vec::new(), Vec::new());
        for round in 0..=rounds {
            let started = Instant::now();
            for group in &groups {
                self.stage.restore(group.name())?;
            }
            let restore = started.elapsed();
            for group in &groups {
                self.sample(group)?;
            }
            let started = Instant::now();
            for group in &groups {
                self.stage.park(group.name())?;
            }
            let park = started.elapsed();
            // The first one warms up.
            if round > 0 {
                parks.push(park.as_secs_f64() * 1e3);
                restores.push(restore.as_secs_f64() * 1e3);
                self.freed_at_once &= self.driver.memory()?.free >= free;
            }
        }
        let bytes = groups.iter().map(|group| group.weights_bytes()).sum::<u64>();
        let restore = Spread::of(restores);
        let restore_gb_s = bytes as f64 / restore.median_ms / 1e6;
        Ok(Moves {
            name,
            bytes,
            park: Spread::of(parks),
            restore,
            restore_gb_s,
            restore_vs_ceiling: restore_gb_s / ceiling,
        })
    }

    /// Moves the first group many times; gives what the driver has less afterwards.
    fn cycle(&mut self, options: &Options) -> Result<i64, GpuError> {
        let Some(group) = self.groups.first().cloned() else {
            return Ok(0);
        };
        let before = self.driver.memory()?.free;
        for _ in 0..options.cycles {
            self.stage.restore(group.name())?;
            self.sample(&group)?;
            self.stage.park(group.name())?;
        }
        Ok(before.cast_signed() - self.driver.memory()?.free.cast_signed())
    }
}
