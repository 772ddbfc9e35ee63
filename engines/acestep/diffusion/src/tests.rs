//! Whole generations against the same formulas in numpy (see ../goldens/make.py), and what holds whatever is turned.

mod properties;
mod streams;

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use greenroom_generator::{KnobValue, Knobs, StreamSettings};
use greenroom_weights::uniform;

use crate::{Batch, Conditioning, Denoiser, Sides, SourceLatents, Stream};

const FRAMES: usize = 21;
const CHANNELS: usize = 4;
const WIDTH: usize = 6;
const DEPTH_MAX: u32 = 8;

fn given(name: &str, shape: &[usize]) -> Tensor {
    Tensor::from_vec(uniform(name, 2, shape.iter().product()), shape, &Device::Cpu).unwrap()
}

/// A velocity that looks at everything: the latents and those before them, the hints, the prompt and the time.
#[derive(Default)]
struct Field {
    /// Rows of each forward so far.
    rows: Vec<usize>,
    /// Prompts that were prepared.
    prompts: std::cell::Cell<usize>,
}

impl Denoiser for Field {
    type Prompt = Tensor;

    fn device(&self) -> &Device {
        &Device::Cpu
    }

    fn prompt(&self, states: &Tensor) -> Result<Arc<Tensor>> {
        self.prompts.set(self.prompts.get() + 1);
        // As wide as the latents: the first of its channels.
        Ok(Arc::new(states.mean(0)?))
    }

    fn velocity(&mut self, batch: &Batch<'_, Tensor>) -> Result<Tensor> {
        let (rows, frames, channels) = batch.latents.dims3()?;
        assert_eq!((batch.times.len(), batch.prompts.len()), (rows, rows));
        assert_eq!(batch.context.dims(), [rows, frames, 2 * channels]);
        self.rows.push(rows);
        let velocities = (0..rows)
            .map(|row| {
                let x = batch.latents.get(row)?;
                let before = x.pad_with_zeros(0, 1, 0)?.narrow(0, 0, frames)?;
                let hints = batch.context.get(row)?.narrow(1, 0, channels)?;
                let prompt = batch.prompts[row].mean_all()?;
                let sum = ((&x * 0.7)? + (before * 0.4)?)?;
                let sum = (sum + (hints * 0.3)?)?.broadcast_add(&(prompt * 0.5)?)?;
                sum.tanh()? * (0.5 + f64::from(batch.times[row]))
            })
            .collect::<Result<Vec<_>>>()?;
        Tensor::stack(&velocities, 0)
    }
}

fn source(name: &str, frames: usize) -> SourceLatents {
    let name = |what: &str| {
        if name.is_empty() {
            what.to_owned()
        } else {
            format!("{name}.{what}")
        }
    };
    SourceLatents {
        latents: given(&name("latents"), &[frames, CHANNELS]),
        hints: given(&name("hints"), &[frames, CHANNELS]),
    }
}

fn conditioning() -> Conditioning {
    Conditioning {
        a: Sides {
            silence: given("silence states", &[5, WIDTH]),
            full: given("full", &[5, WIDTH]),
        },
        b: None,
        negative: given("negative", &[3, WIDTH]),
    }
}

fn settings(depth: u32) -> StreamSettings {
    StreamSettings {
        depth,
        steps: 8,
        sde: false,
        walk: None,
    }
}

fn stream(depth: u32) -> Stream<Tensor> {
    let silence = given("silence", &[FRAMES, CHANNELS]);
    Stream::new(source("", FRAMES), silence, conditioning(), &settings(depth), DEPTH_MAX).unwrap()
}

fn knobs(entries: &[(&str, KnobValue)]) -> Knobs {
    entries
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

fn number(value: f64) -> KnobValue {
    KnobValue::Number(value)
}

fn choice(value: &str) -> KnobValue {
    KnobValue::Choice(value.into())
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// ‖a − b‖ / ‖b‖.
fn error(actual: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(actual.dims(), expected.dims());
    let norm = |values: Vec<f32>| values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    norm(values(&(actual - expected).unwrap())) / norm(values(expected))
}

/// Ticks until a generation is published.
fn next(stream: &mut Stream<Tensor>, field: &mut Field) -> Tensor {
    for _ in 0..200 {
        if stream.tick(field, None).unwrap() > 0 {
            return stream.latest().unwrap().latents.clone();
        }
    }
    panic!("nothing is ever finished")
}
