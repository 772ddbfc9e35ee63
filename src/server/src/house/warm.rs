//! The first use of every network, before anybody can come: it loads kernels and costs seconds that nobody should wait for in the middle of a
//! session. Nothing else is on the device yet.

use std::{sync::Arc, time::Instant};

use greenroom_audio::{Pcm, SAMPLE_RATE};
use greenroom_director::Group;
use greenroom_generator::{Generator, Prompt, SLICE_FRAMES, StreamSettings, Work};
use greenroom_stage::Stage;
use greenroom_sync::CancelFlag;

use super::{Engines, OpenSeparator};

/// Seconds of what is generated.
const SECONDS: usize = 10;
/// Slots of the ticks: the first has one slot, the second two.
const DEPTH: u32 = 2;

/// Uses the separator and then the generator, each alone on the device, as they will be; both are parked afterwards.
///
/// # Errors
/// If the device has no room for one of them, or does not compute.
pub(super) fn warm_up(engines: &Engines, stage: &dyn Stage) -> anyhow::Result<()> {
    if let Ok(open) = &engines.separator {
        let started = Instant::now();
        warm_up_separator(open, stage)?;
        engines.device.settle()?;
        tracing::info!(seconds = started.elapsed().as_secs_f64(), "the separator is warm");
    }
    let started = Instant::now();
    warm_up_generator(&*engines.generator, stage)?;
    engines.device.settle()?;
    tracing::info!(seconds = started.elapsed().as_secs_f64(), "the generator is warm");
    Ok(())
}

fn warm_up_separator(open: &OpenSeparator, stage: &dyn Stage) -> anyhow::Result<()> {
    let group = Group::Separator.name();
    stage.restore(group)?;
    let mut rip = open.separator.begin(quiet(1))?;
    let room = stage.admit(open.separator.workspace_bytes())?;
    while rip.progress().0 < rip.progress().1 {
        rip.run_batch(&CancelFlag::new())?;
    }
    drop((rip, room));
    Ok(stage.park(group)?)
}

/// A source, a prompt, two ticks and a window.
fn warm_up_generator(generator: &dyn Generator, stage: &dyn Stage) -> anyhow::Result<()> {
    const ALL: [Work; 4] = [Work::EncodeSource, Work::EncodePrompt, Work::Tick, Work::Decode];
    let mut groups: Vec<&str> = ALL.iter().flat_map(|work| generator.groups(*work)).copied().collect();
    groups.sort_unstable();
    groups.dedup();
    for group in &groups {
        stage.restore(group)?;
    }
    let room = stage.admit(
        ALL.iter()
            .map(|work| generator.workspace_bytes(*work))
            .max()
            .unwrap_or(0),
    )?;
    let cancel = CancelFlag::new();
    let source = generator.prepare_source(quiet(SECONDS), &cancel)?;
    let prompt = Prompt {
        tags: "quiet".into(),
        tags_b: None,
        key: None,
        time_signature: None,
        bpm: 120,
    };
    let conditioning = generator.encode_prompt(&prompt, &source, None, &cancel)?;
    let settings = StreamSettings {
        depth: DEPTH,
        steps: 2,
        sde: false,
        walk: None,
    };
    let mut stream = generator.open(source, conditioning, &settings)?;
    for _ in 0..DEPTH {
        stream.tick(0, &cancel)?;
    }
    stream.decode(0, SLICE_FRAMES, &cancel)?;
    drop((stream, room));
    for group in groups {
        stage.park(group)?;
    }
    Ok(())
}

fn quiet(seconds: usize) -> Arc<Pcm> {
    Arc::new(Pcm::new(SAMPLE_RATE, 2, vec![0.0; 2 * seconds * SAMPLE_RATE as usize]))
}

#[cfg(test)]
mod tests {
    use greenroom_stage::CpuStage;
    use greenroom_weighted::{Weighted, WeightedConfig};

    use super::*;

    #[test]
    fn everything_is_parked_afterwards_and_could_be_warmed_again() {
        let weighted = Weighted::new(&WeightedConfig::default(), None).unwrap();
        let stage = CpuStage::new(1 << 32);
        for tenant in weighted.tenants() {
            stage.register(tenant).unwrap();
        }
        for _ in 0..2 {
            warm_up_generator(&weighted, &stage).unwrap();
            let reading = stage.read();
            assert!(reading.resident.is_empty() && reading.workspace == 0, "{reading:?}");
        }
    }
}
