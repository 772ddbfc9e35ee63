//! Whole streams over the network against generations made one at a time.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use greenroom_diffusion::{Batch, Conditioning, Denoiser, Sides, SourceLatents, Stream, schedule};
use greenroom_generator::{KnobValue, Knobs, StreamSettings};

use super::{TINY, error, given, tiny};
use crate::{Dit, Memory, Runner};

const FRAMES: usize = 21;
const CHANNELS: usize = TINY.audio_acoustic_hidden_dim;
const STEPS: usize = 8;
/// What more than one slot at a time may change: the order of sums.
const BESIDE_OTHERS: f64 = 1e-5;

fn states(name: &str, rows: usize) -> Tensor {
    given(name, &[rows, TINY.hidden_size])
}

fn stream(depth: u32) -> Stream<Memory> {
    let source = SourceLatents {
        latents: given("source", &[FRAMES, CHANNELS]),
        hints: given("hints", &[FRAMES, CHANNELS]),
    };
    let conditioning = Conditioning {
        a: Sides {
            silence: states("silence states", 9),
            full: states("full states", 9),
        },
        b: None,
        negative: states("negative states", 5),
    };
    let settings = StreamSettings {
        depth,
        steps: STEPS as u32,
        sde: false,
        walk: None,
    };
    Stream::new(
        source,
        given("silence", &[FRAMES, CHANNELS]),
        conditioning,
        &settings,
        8,
    )
    .unwrap()
}

fn knobs(numbers: &[(&str, f64)], others: &[(&str, KnobValue)]) -> Knobs {
    let numbers = numbers.iter().map(|(name, value)| (*name, KnobValue::Number(*value)));
    numbers
        .chain(others.iter().cloned())
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// What is turned before a tick: every generation is born with other knobs than those beside it.
fn born_at(tick: usize) -> (f64, f64) {
    (0.2 + 0.1 * (tick % 8) as f64, 1.0 + 0.5 * (tick % 5) as f64)
}

/// One generation from the source alone, with nothing beside it and by nothing but the network and Euler's steps.
fn one_shot(network: &Arc<Dit>, (strength, shift): (f64, f64)) -> Tensor {
    let blend = |name: &str, share: f64| (given(name, &[FRAMES, CHANNELS]) * share).unwrap();
    let hints = (blend("silence", 1.0 - strength) + blend("hints", strength)).unwrap();
    let context = Tensor::cat(&[&hints, &hints.ones_like().unwrap()], 1).unwrap();
    let context = context.unsqueeze(0).unwrap();
    let prompt = network.memory(&states("full states", 9)).unwrap();
    let (mut runner, mut latents) = (Runner::default(), given("source", &[FRAMES, CHANNELS]));
    for step in schedule(STEPS, 1.0, shift).windows(2) {
        let batch = Batch {
            latents: &latents.unsqueeze(0).unwrap(),
            times: &[step[0] as f32],
            context: &context,
            prompts: std::slice::from_ref(&prompt),
        };
        let velocity = runner.on(network).velocity(&batch).unwrap().get(0).unwrap();
        latents = (latents + (velocity * (step[1] - step[0])).unwrap()).unwrap();
    }
    latents
}

/// Generations in the order in which they are published, each with the tick before which its knobs were turned.
fn published(network: &Arc<Dit>, depth: u32, ticks: usize, turned: impl Fn(usize) -> Knobs) -> Vec<(usize, Tensor)> {
    let (mut stream, mut runner) = (stream(depth), Runner::default());
    let mut published = Vec::new();
    for tick in 0..ticks {
        stream.set_knobs(&turned(tick));
        if stream.tick(&mut runner.on(network), None).unwrap() > 0 {
            // It was born at the tick of its first step.
            published.push((tick + 1 - STEPS, stream.latest().unwrap().latents.clone()));
        }
    }
    published
}

#[test]
fn generations_of_a_stream_are_those_made_alone() {
    let network = tiny();
    let turned = |tick| {
        let (strength, shift) = born_at(tick);
        let others = [
            ("dcw_enabled", KnobValue::Bool(false)),
            ("initial_noise_curve", KnobValue::Curve(vec![0.0])),
        ];
        knobs(
            &[("denoise", 1.0), ("hint_strength", strength), ("shift", shift)],
            &others,
        )
    };
    for depth in [1, 2, 4, 8] {
        let published = published(&network, depth, 40, turned);
        assert!(
            published.len() >= 4 * depth as usize,
            "depth {depth}: {}",
            published.len()
        );
        for (tick, latents) in published {
            let alone = one_shot(&network, born_at(tick));
            let off = error(&latents, &alone);
            let bound = if depth == 1 { 0.0 } else { BESIDE_OTHERS };
            assert!(off <= bound, "depth {depth}, born at tick {tick}: {off:.1e}");
        }
    }
}

#[test]
fn so_they_are_with_noise_guidance_and_corrections() {
    let network = tiny();
    let turned = |tick: usize| {
        let (strength, shift) = born_at(tick);
        let numbers = [
            ("denoise", 0.6 + 0.1 * (tick % 4) as f64),
            ("seed", tick as f64),
            ("hint_strength", strength),
            ("shift", shift),
            ("guidance_scale", 2.5),
        ];
        knobs(&numbers, &[("rcfg_mode", KnobValue::Choice("initialize".into()))])
    };
    for depth in [2, 4, 8] {
        for (tick, latents) in published(&network, depth, 26, turned) {
            // Alone: a stream of one slot whose knobs are never turned.
            let alone = published_alone(&network, &turned(tick));
            let off = error(&latents, &alone);
            assert!(off <= BESIDE_OTHERS, "depth {depth}, born at tick {tick}: {off:.1e}");
        }
    }
}

fn published_alone(network: &Arc<Dit>, turned: &Knobs) -> Tensor {
    let mut all = published(network, 1, STEPS, |_| turned.clone());
    all.remove(0).1
}

#[test]
fn the_test_can_tell_one_generation_from_another() {
    let network = tiny();
    let off = error(&one_shot(&network, born_at(0)), &one_shot(&network, born_at(1)));
    assert!(off > 1e-2, "{off:.1e}");
    assert_eq!(network.device().location(), Device::Cpu.location());
}
