//! Weights with LoRAs in them. Always made from the base and rounded once: what was added is never subtracted again.

use std::{
    collections::BTreeSet,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use candle_core::{DType, Device, Result, Tensor, bail};
use greenroom_weights::{PackedImage, TensorEntry, WeightSource, WeightsError};

use crate::lora::{Lora, Target};

/// Values that are computed at a time: three f32 copies of them, and the factors of one target, are what a device needs beside the weights.
pub(crate) const PIECE: usize = 1 << 22;

/// LoRAs that are enabled together, each at its strength. Never changed: another set takes its place.
#[derive(Clone, Default)]
pub struct LoraSet(Arc<[(Arc<Lora>, f64)]>);

impl LoraSet {
    /// These, each at its strength; one of strength 0 changes nothing and is left out.
    #[must_use]
    pub fn new(loras: impl IntoIterator<Item = (Arc<Lora>, f64)>) -> Self {
        Self(loras.into_iter().filter(|(_, strength)| *strength != 0.0).collect())
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn targets(&self) -> BTreeSet<Target> {
        self.0.iter().flat_map(|(lora, _)| lora.parts.keys().cloned()).collect()
    }

    /// What is added to a target, on a device: once for all of its pieces.
    pub(crate) fn additions(&self, target: &Target, device: &Device) -> Result<Additions> {
        let single = |half: &Tensor| half.to_device(device)?.to_dtype(DType::F32);
        let parts = self.0.iter().filter_map(|(lora, strength)| {
            let factors = lora.parts.get(target)?;
            Some((factors, *strength))
        });
        parts
            .map(|(factors, strength)| Ok(((single(&factors.up)? * strength)?, single(&factors.down)?)))
            .collect::<Result<_>>()
            .map(Additions)
    }
}

/// Halves of what is added to a target, f32 on its device: [rows, rank] with the strength in it, and [rank, inputs].
pub(crate) struct Additions(Vec<(Tensor, Tensor)>);

impl Additions {
    /// These rows of the target, [rows, inputs] in the type of `base`.
    pub(crate) fn adapted(&self, rows: &Range<usize>, base: &Tensor) -> Result<Tensor> {
        let mut sum = base.to_dtype(DType::F32)?;
        for (up, down) in &self.0 {
            sum = (sum + up.narrow(0, rows.start, rows.len())?.matmul(down)?)?;
        }
        sum.to_dtype(base.dtype())
    }
}

fn entry<'a>(image: &'a PackedImage, target: &Target) -> Result<&'a TensorEntry> {
    match image.layout().get(&target.tensor) {
        Some(entry) => Ok(entry),
        None => bail!("the packed weights have no tensor {}", target.tensor),
    }
}

/// These rows of a target as the image has them, whatever is in a device's weights: [rows, inputs] on `device`.
pub(crate) fn base_rows(image: &PackedImage, target: &Target, rows: &Range<usize>, device: &Device) -> Result<Tensor> {
    let entry = entry(image, target)?;
    let row = target.inputs * entry.dtype.size_in_bytes();
    let start = entry.offset + (target.first_row + rows.start) * row;
    let bytes = &image.bytes()[start..start + rows.len() * row];
    Tensor::from_raw_buffer(bytes, entry.dtype, &[rows.len(), target.inputs], device)
}

/// The same LoRAs at the same strengths.
impl PartialEq for LoraSet {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .zip(other.0.iter())
                .all(|((left, a), (right, b))| Arc::ptr_eq(left, right) && a == b)
    }
}

/// A source whose tensors have LoRAs in them: copies, so the source keeps its own.
pub struct AdaptedWeights<'a> {
    base: &'a dyn WeightSource,
    set: &'a LoraSet,
}

impl<'a> AdaptedWeights<'a> {
    /// The tensors of `base` with `set` in them.
    #[must_use]
    pub fn new(base: &'a dyn WeightSource, set: &'a LoraSet) -> Self {
        Self { base, set }
    }
}

impl WeightSource for AdaptedWeights<'_> {
    fn device(&self) -> &Device {
        self.base.device()
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> std::result::Result<Tensor, WeightsError> {
        let base = self.base.tensor(name, shape)?;
        let targets = self.set.targets();
        let touched: Vec<&Target> = targets.iter().filter(|target| target.tensor == name).collect();
        if touched.is_empty() {
            return Ok(base);
        }
        let adapt = || -> Result<Tensor> {
            let tensor = base.copy()?;
            for target in touched {
                let additions = self.set.additions(target, self.base.device())?;
                for rows in target.pieces(PIECE) {
                    let first = target.first_row + rows.start;
                    let from = base.narrow(0, first, rows.len())?;
                    tensor.slice_set(&additions.adapted(&rows, &from)?, 0, first)?;
                }
            }
            Ok(tensor)
        };
        adapt().map_err(|source| WeightsError::Tensor {
            name: name.into(),
            source,
        })
    }
}

/// What of a group's memory on a device is not the base, so that it can become the base again.
#[derive(Default)]
pub struct Adaptation(Mutex<State>);

#[derive(Default)]
struct State {
    /// What is in the weights; unknown after a failure, and while they are parked.
    set: Option<LoraSet>,
    /// What may differ from the base.
    touched: BTreeSet<Target>,
}

impl Adaptation {
    /// Puts a set into the weights that a group was restored with, which are the base: `weights` are views of that memory.
    ///
    /// # Errors
    /// If the device fails; the group has to be restored again then.
    pub fn begin(&self, image: &PackedImage, weights: &dyn WeightSource, set: &LoraSet) -> Result<()> {
        *self.state() = State {
            set: Some(LoraSet::default()),
            touched: BTreeSet::new(),
        };
        self.change(image, weights, set).map(|_| ())
    }

    /// Makes the weights the base with `set` in it, whatever was in them; what is touched is taken from the image again. Gives whether
    /// anything was changed. The caller holds the group's lease, and nothing else computes with it.
    ///
    /// # Errors
    /// If the device fails; another call makes the weights whole again.
    pub fn change(&self, image: &PackedImage, weights: &dyn WeightSource, set: &LoraSet) -> Result<bool> {
        let mut state = self.state();
        if state.set.as_ref() == Some(set) {
            return Ok(false);
        }
        let before = std::mem::take(&mut state.set);
        let wanted = set.targets();
        let all: BTreeSet<Target> = state.touched.union(&wanted).cloned().collect();
        let untouched = before.is_some_and(|before| before.is_empty()) && state.touched.is_empty();
        state.touched.clone_from(&all);
        for target in &all {
            let tensor = weights
                .tensor(&target.tensor, &entry(image, target)?.shape)
                .map_err(candle_core::Error::wrap)?;
            let additions = set.additions(target, weights.device())?;
            for rows in target.pieces(PIECE) {
                let first = target.first_row + rows.start;
                let base = if untouched {
                    tensor.narrow(0, first, rows.len())?
                } else {
                    base_rows(image, target, &rows, weights.device())?
                };
                tensor.slice_set(&additions.adapted(&rows, &base)?, 0, first)?;
            }
        }
        weights.device().synchronize()?;
        state.touched = wanted;
        state.set = Some(set.clone());
        Ok(true)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
