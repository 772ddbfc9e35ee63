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

/// Uses the separator and then the generator; both are parked afterwards.
///
/// # Errors
/// If the device has no room for a kind of work, or does not compute.
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
    let separator = &open.separator;
    alone(stage, &[Group::Separator.name()], separator.workspace_bytes(), || {
        let mut rip = separator.begin(quiet(1))?;
        while rip.progress().0 < rip.progress().1 {
            rip.run_batch(&CancelFlag::new())?;
        }
        Ok(())
    })
}

/// A source, a prompt, two ticks and a window: each with no more on the device than it needs, since there may be no room for all at once.
fn warm_up_generator(generator: &dyn Generator, stage: &dyn Stage) -> anyhow::Result<()> {
    let room = |work| (generator.groups(work), generator.workspace_bytes(work));
    let cancel = CancelFlag::new();
    let (groups, bytes) = room(Work::EncodeSource);
    let source = alone(stage, groups, bytes, || {
        Ok(generator.prepare_source(quiet(SECONDS), &cancel)?)
    })?;
    let prompt = Prompt {
        tags: "quiet".into(),
        bpm: 120,
        ..Prompt::default()
    };
    let (groups, bytes) = room(Work::EncodePrompt);
    let conditioning = alone(stage, groups, bytes, || {
        Ok(generator.encode_prompt(&prompt, &source, None, &cancel)?)
    })?;
    let settings = StreamSettings {
        depth: DEPTH,
        steps: 2,
        sde: false,
        walk: None,
    };
    let mut stream = generator.open(source, conditioning, &settings)?;
    let (groups, bytes) = room(Work::Tick);
    alone(stage, groups, bytes, || {
        for _ in 0..DEPTH {
            stream.tick(0, &cancel)?;
        }
        Ok(())
    })?;
    let (groups, bytes) = room(Work::Decode);
    alone(stage, groups, bytes, || {
        stream.decode(0, SLICE_FRAMES, &cancel)?;
        Ok(())
    })
}

/// Work with these groups on the device and no others; they are parked again whatever became of it.
fn alone<T>(
    stage: &dyn Stage,
    groups: &[&str],
    workspace_bytes: u64,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    for group in groups {
        stage.restore(group)?;
    }
    let done = match stage.admit(workspace_bytes) {
        Ok(_room) => work(),
        Err(error) => Err(error.into()),
    };
    for group in groups {
        stage.park(group)?;
    }
    done
}

fn quiet(seconds: usize) -> Arc<Pcm> {
    Arc::new(Pcm::new(SAMPLE_RATE, 2, vec![0.0; 2 * seconds * SAMPLE_RATE as usize]))
}

#[cfg(test)]
mod tests {
    use greenroom_stage::CpuStage;
    use greenroom_weighted::{Weighted, WeightedConfig};

    use super::*;

    fn stage(weighted: &Weighted, bytes: u64) -> CpuStage {
        let stage = CpuStage::new(bytes);
        for tenant in weighted.tenants() {
            stage.register(tenant).unwrap();
        }
        stage
    }

    fn weighted() -> Weighted {
        Weighted::new(&WeightedConfig::default(), None).unwrap()
    }

    #[test]
    fn everything_is_parked_afterwards_and_could_be_warmed_again() {
        let weighted = weighted();
        let stage = stage(&weighted, 1 << 32);
        for _ in 0..2 {
            warm_up_generator(&weighted, &stage).unwrap();
            let reading = stage.read();
            assert!(reading.resident.is_empty() && reading.workspace == 0, "{reading:?}");
        }
    }

    #[test]
    fn no_more_room_is_taken_than_the_work_that_takes_most() {
        let weighted = weighted();
        let bytes = |group: &&str| {
            let tenants = weighted.tenants();
            let tenant = tenants.iter().find(|tenant| tenant.name() == *group);
            tenant.map_or(0, |tenant| tenant.weights_bytes())
        };
        let works = [Work::EncodeSource, Work::EncodePrompt, Work::Tick, Work::Decode];
        let needed =
            works.map(|work| weighted.groups(work).iter().map(bytes).sum::<u64>() + weighted.workspace_bytes(work));
        let most = needed.into_iter().max().unwrap();
        let all: u64 = weighted.tenants().iter().map(|tenant| tenant.weights_bytes()).sum();
        assert!(most < all, "{most} of {all}");
        warm_up_generator(&weighted, &stage(&weighted, most)).unwrap();
        let small = stage(&weighted, most - 1);
        assert!(warm_up_generator(&weighted, &small).is_err());
    }
}
