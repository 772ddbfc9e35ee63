//! Forwards that a lane repeats: on a lane that records by keeping the work.

use std::sync::Arc;

use candle_core::Tensor;
use greenroom_diffusion::{Batch, Denoiser};
use greenroom_weights::{DeviceLane, KeepingLane};

use super::{TINY, given, prompts, tiny};
use crate::{Dit, Memory, Runner};

/// One forward of as many slots as prompts, of numbers that belong to `step`.
fn forward(runner: &mut Runner, network: &Arc<Dit>, step: usize, frames: usize, prompts: &[Arc<Memory>]) -> Vec<f32> {
    let (slots, channels) = (prompts.len(), TINY.audio_acoustic_hidden_dim);
    let times: Vec<f32> = (0..slots).map(|slot| 1.0 / (1 + step + slot) as f32).collect();
    let given = |name: &str, channels| given(&format!("{name}.{step}"), &[slots, frames, channels]);
    runner
        .on(network)
        .velocity(&Batch {
            latents: &given("latents", channels),
            times: &times,
            context: &given("context", 2 * channels),
            prompts,
        })
        .and_then(|velocities: Tensor| velocities.flatten_all()?.to_vec1())
        .unwrap()
}

#[test]
fn a_repeated_forward_is_the_forward_to_the_bit() {
    let (network, lane) = (tiny(), Arc::new(KeepingLane::default()));
    let known = prompts(&network);
    let mut recording = Runner::recording(Arc::clone(&lane) as Arc<dyn DeviceLane>);
    let mut eager = Runner::default();
    // Other prompts, more slots and fewer frames in between; and all of them again.
    let scripts: [(&[usize], usize); 6] = [
        (&[0], 21),
        (&[1], 21),
        (&[0, 2], 21),
        (&[0], 8),
        (&[2], 21),
        (&[1, 0], 21),
    ];
    for (script, (chosen, frames)) in scripts.iter().enumerate() {
        let prompts: Vec<_> = chosen.iter().map(|place| Arc::clone(&known[*place])).collect();
        for step in 0..5 {
            let step = 10 * script + step;
            assert_eq!(
                forward(&mut recording, &network, step, *frames, &prompts),
                forward(&mut eager, &network, step, *frames, &prompts),
                "step {step}"
            );
        }
    }
    // Three shapes, each recorded after its third forward; every other forward is a repetition.
    assert_eq!(lane.counts(), (3, 30 - 3 * 3));
}

#[test]
fn what_came_out_before_is_not_overwritten() {
    let (network, lane) = (tiny(), Arc::new(KeepingLane::default()));
    let known = prompts(&network);
    let mut runner = Runner::recording(lane as Arc<dyn DeviceLane>);
    let mut velocity = |step: usize| {
        let channels = TINY.audio_acoustic_hidden_dim;
        let latents = given(&format!("latents.{step}"), &[1, 8, channels]);
        let batch = Batch {
            latents: &latents,
            times: &[0.5],
            context: &given("context", &[1, 8, 2 * channels]),
            prompts: &known[..1],
        };
        runner.on(&network).velocity(&batch).unwrap()
    };
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for step in 0..4 {
        velocity(step);
    }
    let kept = velocity(4);
    let before = values(&kept);
    assert_ne!(values(&velocity(5)), before);
    assert_eq!(values(&kept), before);
}

#[test]
fn another_network_is_recorded_anew() {
    let lane = Arc::new(KeepingLane::default());
    let mut runner = Runner::recording(Arc::clone(&lane) as Arc<dyn DeviceLane>);
    for _ in 0..2 {
        let network = tiny();
        let known = prompts(&network);
        for step in 0..5 {
            forward(&mut runner, &network, step, 8, &known[..1]);
        }
    }
    assert_eq!(lane.counts().0, 2);
}

#[test]
fn a_lane_that_cannot_record_is_asked_once() {
    let network = tiny();
    let lane = Arc::new(KeepingLane::that_fails());
    let known = prompts(&network);
    let mut runner = Runner::recording(Arc::clone(&lane) as Arc<dyn DeviceLane>);
    let mut eager = Runner::default();
    for frames in [8, 21] {
        for step in 0..5 {
            assert_eq!(
                forward(&mut runner, &network, step, frames, &known[..2]),
                forward(&mut eager, &network, step, frames, &known[..2])
            );
        }
    }
    assert_eq!(lane.counts(), (1, 0));
}
