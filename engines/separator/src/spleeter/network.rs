//! One U-Net: six layers down, six up, and a mask.

use greenroom_sync::CancelFlag;

use super::{
    decoder::Decoder,
    encoder::Encoder,
    head::{LastDecoder, MaskLayer},
    plane::Plane,
    weights::{Tensors, WeightsError},
};

/// Layers down, and as many up.
pub(crate) const DEPTH: usize = 6;
/// Left and right.
pub(crate) const CHANNELS: usize = 2;
const NORMALISATION_EPSILON: f32 = 1e-3;

/// The flag was seen; what was being worked out is rubbish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cancelled;

/// The halves of a network's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// The contracting layers.
    Down,
    /// The expanding layers, and the mask.
    Up,
}

/// A network that makes masks of one instrument from magnitudes.
#[derive(Debug)]
pub(crate) struct Network {
    encoders: Vec<Encoder>,
    decoders: Vec<Decoder>,
    last: LastDecoder,
    mask: MaskLayer,
}

impl Network {
    /// Builds the network from the tensors of one instrument.
    pub(crate) fn build(tensors: &Tensors<'_>) -> Result<Self, WeightsError> {
        let mut inputs = CHANNELS;
        let mut encoders = Vec::with_capacity(DEPTH);
        for layer in 1..=DEPTH {
            let bias = tensors.vector(&format!("down{layer}_conv.1.bias"))?;
            let outputs = bias.len();
            let weights = tensors.filters(&format!("down{layer}_conv.1.weight"), &[outputs, inputs, 5, 5])?;
            let (scale, shift) = normalisation(tensors, &format!("down{layer}_act.0"), outputs)?;
            encoders.push(Encoder {
                inputs,
                weights,
                bias,
                scale,
                shift,
            });
            inputs = outputs;
        }
        let mut decoders = Vec::with_capacity(DEPTH - 1);
        for layer in 1..DEPTH {
            let bias = tensors.vector(&format!("up{layer}.0.bias"))?;
            let outputs = bias.len();
            let filters = tensors.filters(&format!("up{layer}.0.weight"), &[inputs, outputs, 5, 5])?;
            let (scale, shift) = normalisation(tensors, &format!("up{layer}.3"), outputs)?;
            decoders.push(Decoder::new(&filters, bias, scale, shift));
            inputs = outputs + encoders[DEPTH - 1 - layer].outputs();
        }
        let (scale, shift) = normalisation(tensors, "up6.3", 1)?;
        let last = LastDecoder {
            filters: tensors.filters("up6.0.weight", &[inputs, 1, 5, 5])?,
            bias: tensors.filters("up6.0.bias", &[1])?[0],
            scale: scale[0],
            shift: shift[0],
        };
        let mask = MaskLayer {
            filters: tensors.filters("up7.0.weight", &[CHANNELS, 1, 4, 4])?,
            bias: tensors.filters("up7.0.bias", &[CHANNELS])?,
        };
        Ok(Self {
            encoders,
            decoders,
            last,
            mask,
        })
    }

    /// Half of the way from the magnitudes in the workspace's input to masks: first down, then up. Neither writes what it reads. Runs on
    /// the current thread pool; the flag is looked at in every tile of work.
    pub(crate) fn run(
        &self,
        half: Half,
        activations: &mut Activations,
        masks: &mut Plane,
        cancel: &CancelFlag,
    ) -> Result<(), Cancelled> {
        match half {
            Half::Down => self.down(activations, cancel),
            Half::Up => self.up(activations, masks, cancel),
        }
    }

    fn down(&self, activations: &mut Activations, cancel: &CancelFlag) -> Result<(), Cancelled> {
        let Activations { splits, raws, .. } = activations;
        for (level, encoder) in self.encoders.iter().enumerate() {
            let (before, after) = splits.split_at_mut(level + 1);
            encoder.run(&before[level], &mut raws[level], after.first_mut(), cancel);
            go_on(cancel)?;
        }
        Ok(())
    }

    fn up(&self, activations: &mut Activations, masks: &mut Plane, cancel: &CancelFlag) -> Result<(), Cancelled> {
        let Activations { raws, ups, merged, .. } = activations;
        for (level, decoder) in self.decoders.iter().enumerate() {
            let skip = &raws[DEPTH - 1 - level];
            let (before, after) = ups.split_at_mut(level);
            match before.last() {
                Some(below) => decoder.run(&[skip, below], &mut after[0], cancel),
                None => decoder.run(&[skip], &mut after[0], cancel),
            }
            go_on(cancel)?;
        }
        self.last.run(&[&raws[0], &ups[DEPTH - 2]], merged, cancel);
        go_on(cancel)?;
        self.mask.run(merged, masks, cancel);
        go_on(cancel)
    }

    /// Room for this network's activations over `frames` × `bins` magnitudes.
    pub(crate) fn activations(&self, frames: usize, bins: usize) -> Activations {
        let size = |level: usize| (frames >> level, bins >> level);
        let mut splits = vec![Plane::new(frames, 2 * CHANNELS, bins / 2)];
        let mut raws = Vec::with_capacity(DEPTH);
        for (level, encoder) in (1..).zip(&self.encoders) {
            let (height, width) = size(level);
            raws.push(Plane::new(height, encoder.outputs(), width));
            if level < DEPTH {
                splits.push(Plane::new(height, 2 * encoder.outputs(), width / 2));
            }
        }
        let ups = (1..DEPTH).rev().zip(&self.decoders).map(|(level, decoder)| {
            let (height, width) = size(level);
            Plane::new(height, decoder.outputs(), width)
        });
        Activations {
            splits,
            raws,
            ups: ups.collect(),
            merged: Plane::new(frames, 1, bins),
        }
    }
}

/// What the layers of a network hand on, reused from block to block.
#[derive(Debug)]
pub(crate) struct Activations {
    /// Input of each layer down: even columns of a channel, then its odd ones.
    splits: Vec<Plane>,
    /// Each layer down as the layer up on its level sees it.
    raws: Vec<Plane>,
    /// Each layer up but the last.
    ups: Vec<Plane>,
    /// The last layer up.
    merged: Plane,
}

impl Activations {
    /// Where the magnitudes go, as a split plane: channel `2c` has the even bins of channel `c`, `2c + 1` the odd ones.
    pub(crate) fn input(&mut self) -> &mut Plane {
        &mut self.splits[0]
    }

    /// Bytes of all planes.
    pub(crate) fn bytes(&self) -> u64 {
        let planes = self.splits.iter().chain(&self.raws).chain(&self.ups);
        planes.map(Plane::bytes).sum::<u64>() + self.merged.bytes()
    }
}

/// A batch normalisation as one factor and one summand per channel.
fn normalisation(tensors: &Tensors<'_>, name: &str, channels: usize) -> Result<(Vec<f32>, Vec<f32>), WeightsError> {
    let part = |part: &str| tensors.filters(&format!("{name}.{part}"), &[channels]);
    let (weight, bias, mean, variance) = (
        part("weight")?,
        part("bias")?,
        part("running_mean")?,
        part("running_var")?,
    );
    let scale: Vec<f32> = weight
        .iter()
        .zip(&variance)
        .map(|(weight, variance)| weight / (variance + NORMALISATION_EPSILON).sqrt())
        .collect();
    let shift = bias
        .iter()
        .zip(&mean)
        .zip(&scale)
        .map(|((bias, mean), scale)| bias - mean * scale)
        .collect();
    Ok((scale, shift))
}

fn go_on(cancel: &CancelFlag) -> Result<(), Cancelled> {
    if cancel.is_raised() { Err(Cancelled) } else { Ok(()) }
}
