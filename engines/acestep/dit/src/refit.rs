//! Matrices of a compiled network with LoRAs in them, as the exported graph has them.

use std::collections::BTreeSet;

use candle_core::{DType, Device, Result, Tensor, bail};
use greenroom_weights::PackedImage;

use crate::{
    adapted::{LoraSet, PIECE, base_rows},
    config::DitConfig,
    layout::PREFIX,
    lora::{Target, targets},
};

/// What stays in single precision in every network: see `pack`.
const TIME: &str = "time.";

/// A matrix as the exported network has it.
#[derive(Debug)]
pub struct Matrix {
    /// Its name there, which is the checkpoint's: `decoder.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// [inputs, outputs], the transpose of the checkpoint's; contiguous, in system RAM.
    pub values: Tensor,
}

/// All that has to be written into a compiled network with LoRAs `before` in its weights, so that it has `set` there: the base and what the
/// LoRAs add, rounded once. `dtype` is what the network computes in.
///
/// It is computed on `device`, which needs what [`Adaptation`](crate::Adaptation) does and two copies of the largest matrix; what is given takes
/// as much system RAM as the matrices, 3 GB where LoRAs change all of the public network.
///
/// # Errors
/// If the packed weights are of another type than the network, or the device fails.
pub fn refit_matrices(
    config: &DitConfig,
    image: &PackedImage,
    before: &LoraSet,
    set: &LoraSet,
    dtype: DType,
    device: &Device,
) -> Result<Vec<Matrix>> {
    let touched: BTreeSet<String> = [before, set]
        .into_iter()
        .flat_map(LoraSet::targets)
        .map(|target| target.tensor)
        .collect();
    let all = targets(config);
    // Whole packed tensors: a compiler may merge products of one input, and asks for all of a merged product's matrices then.
    all.values()
        .filter(|target| touched.contains(&target.tensor))
        .map(|target| {
            Ok(Matrix {
                name: format!("{PREFIX}.{}.weight", target.matrix),
                values: transposed(image, target, set, dtype, device)?,
            })
        })
        .collect()
}

fn transposed(image: &PackedImage, target: &Target, set: &LoraSet, dtype: DType, device: &Device) -> Result<Tensor> {
    let wanted = if target.tensor.starts_with(TIME) {
        DType::F32
    } else {
        dtype
    };
    let additions = set.additions(target, device)?;
    let matrix = Tensor::zeros((target.rows, target.inputs), wanted, device)?;
    for rows in target.pieces(PIECE) {
        let base = base_rows(image, target, &rows, device)?;
        if base.dtype() != wanted {
            bail!(
                "the engine has {} in {}, and the weights here are in {}",
                target.matrix,
                wanted.as_str(),
                base.dtype().as_str()
            )
        }
        matrix.slice_set(&additions.adapted(&rows, &base)?, 0, rows.start)?;
    }
    matrix.t()?.contiguous()?.to_device(&Device::Cpu)
}
