//! LoRAs as PEFT writes them: pairs of thin matrices whose product is added to a weight.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use greenroom_weights::uniform;
use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::TensorView};

use crate::config::{DitConfig, MODULATIONS, TIME_FEATURES};

/// Why a file is not used as a LoRA.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct LoraError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: LoraProblem,
}

/// What is wrong with a LoRA.
#[derive(Debug, thiserror::Error)]
pub enum LoraProblem {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The file is no safetensors file, or a truncated one.
    #[error("it is no whole safetensors file ({0}); fetch it again")]
    Container(#[from] SafeTensorError),
    /// A tensor's name is not one that PEFT gives.
    #[error(
        "the tensor {0} is no half of a LoRA; names are base_model.model.<matrix>.lora_A.weight, and the same with lora_B"
    )]
    Name(String),
    /// It changes something that the network has not, or that cannot be changed.
    #[error(
        "it changes {0}, which is no matrix of the diffusion transformer that a LoRA can change: those are of attentions, feed-forwards, condition_embedder and time_embed"
    )]
    Unknown(String),
    /// One matrix without the other.
    #[error("it has a lora_A or a lora_B of {0}, and not both")]
    Half(String),
    /// A matrix has another shape than the weight asks for.
    #[error("{name} is {found:?}, and has to be {needed}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the network asks for, in words.
        needed: String,
    },
    /// Values of a type that is not read.
    #[error("{name} is of {found}; F32, F16 and BF16 are read")]
    Type {
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// A value is infinite, or none.
    #[error("{0} has values that are not finite; the LoRA is broken")]
    NotFinite(String),
    /// There is nothing in it.
    #[error("it changes nothing")]
    Empty,
    /// A matrix cannot be held.
    #[error("a matrix cannot be held: {0}")]
    Compute(#[from] candle_core::Error),
}

/// Rows of a packed tensor that stand for one matrix of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    /// The matrix: `layers.0.self_attn.q_proj`.
    pub(crate) matrix: String,
    /// The packed tensor.
    pub(crate) tensor: String,
    pub(crate) first_row: usize,
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
}

impl Target {
    /// Its rows in pieces of at most so many values: what a device has to hold beside the weights.
    pub(crate) fn pieces(&self, values: usize) -> impl Iterator<Item = Range<usize>> {
        let rows = (values / self.inputs).max(1);
        let all = self.rows;
        (0..all).step_by(rows).map(move |first| first..all.min(first + rows))
    }
}

/// Writes a LoRA of every matrix that can be changed, of that rank: random factors whose products are a fraction of the weights.
///
/// # Errors
/// `Container`, such as for a full disk.
pub fn write_random_lora(
    path: &Path,
    config: &DitConfig,
    rank: usize,
    seed: u64,
    metadata: HashMap<String, String>,
) -> Result<(), LoraError> {
    let mut halves = Vec::new();
    for (parameter, target) in targets(config) {
        // As large as a weight of so many inputs, and half of it for the sum over ranks.
        let reach = 0.5 / (rank as f32).sqrt();
        for (half, shape, reach) in [
            ("A", [rank, target.inputs], (3.0 / target.inputs as f32).sqrt()),
            ("B", [target.rows, rank], reach),
        ] {
            let name = format!("base_model.model.{parameter}.lora_{half}.weight");
            let values = uniform(&name, seed, shape[0] * shape[1]);
            let bytes: Vec<u8> = values.iter().flat_map(|value| (value * reach).to_le_bytes()).collect();
            halves.push((name, shape, bytes));
        }
    }
    let views = halves
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.to_vec(), bytes)?)))
        .collect::<Result<Vec<_>, SafeTensorError>>();
    views
        .and_then(|views| safetensors::serialize_to_file(views, Some(metadata), path))
        .map_err(|error| LoraError {
            path: path.into(),
            problem: error.into(),
        })
}

/// What is added to one target: `up · down`.
#[derive(Debug)]
pub(crate) struct Factors {
    /// [rank, inputs], as in the file.
    pub(crate) down: Tensor,
    /// [rows, rank].
    pub(crate) up: Tensor,
}

/// One LoRA, in system RAM in its file's types.
#[derive(Debug)]
pub struct Lora {
    metadata: BTreeMap<String, String>,
    pub(crate) parts: BTreeMap<Target, Factors>,
    bytes: u64,
}

impl Lora {
    /// Reads a file that PEFT wrote: for every matrix `lora_A` [rank, inputs] and `lora_B` [outputs, rank], whose product is what strength 1
    /// adds. Neither rank nor alpha scales it.
    ///
    /// # Errors
    /// Any [`LoraProblem`], with the file.
    pub fn open(path: &Path, config: &DitConfig) -> Result<Self, LoraError> {
        let read = || Self::read(&fs::read(path)?, config);
        read().map_err(|problem| LoraError {
            path: path.into(),
            problem,
        })
    }

    fn read(bytes: &[u8], config: &DitConfig) -> Result<Self, LoraProblem> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let file = SafeTensors::deserialize(bytes)?;
        let mut halves: BTreeMap<String, [Option<String>; 2]> = BTreeMap::new();
        for name in file.names() {
            let (parameter, half) = split(name).ok_or_else(|| LoraProblem::Name(name.into()))?;
            halves.entry(parameter.into()).or_default()[half] = Some(name.into());
        }
        if halves.is_empty() {
            return Err(LoraProblem::Empty);
        }
        let (targets, mut parts) = (targets(config), BTreeMap::new());
        for (parameter, names) in halves {
            let target = targets
                .get(&parameter)
                .ok_or_else(|| LoraProblem::Unknown(parameter.clone()))?;
            let [Some(down), Some(up)] = names else {
                return Err(LoraProblem::Half(parameter));
            };
            parts.insert(target.clone(), factors(&file, &down, &up, target)?);
        }
        Ok(Self {
            metadata: header.metadata().clone().unwrap_or_default().into_iter().collect(),
            bytes: parts.values().map(Factors::bytes).sum(),
            parts,
        })
    }

    /// What the file's header says beside shapes.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Bytes of its matrices.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Factors {
    fn bytes(&self) -> u64 {
        [&self.down, &self.up]
            .map(|half| (half.elem_count() * half.dtype().size_in_bytes()) as u64)
            .iter()
            .sum()
    }
}

/// The matrix that a tensor belongs to, and which half of a LoRA it is.
fn split(name: &str) -> Option<(&str, usize)> {
    let name = name.strip_prefix("base_model.model.")?;
    let name = name.strip_prefix("decoder.").unwrap_or(name);
    let half = |suffix| name.strip_suffix(suffix);
    half(".lora_A.weight")
        .map(|parameter| (parameter, 0))
        .or_else(|| half(".lora_B.weight").map(|parameter| (parameter, 1)))
}

fn factors(file: &SafeTensors<'_>, down: &str, up: &str, target: &Target) -> Result<Factors, LoraProblem> {
    let shape = |name: &str, needed: String| -> Result<LoraProblem, LoraProblem> {
        Ok(LoraProblem::Shape {
            name: name.into(),
            found: file.tensor(name)?.shape().to_vec(),
            needed,
        })
    };
    let (first, second) = (matrix(file, down)?, matrix(file, up)?);
    let rank = match first.dims() {
        [rank, inputs] if *rank > 0 && *inputs == target.inputs => *rank,
        _ => return Err(shape(down, format!("[rank, {}]", target.inputs))?),
    };
    if second.dims() != [target.rows, rank] {
        return Err(shape(up, format!("[{}, {rank}]", target.rows))?);
    }
    Ok(Factors {
        down: first,
        up: second,
    })
}

fn matrix(file: &SafeTensors<'_>, name: &str) -> Result<Tensor, LoraProblem> {
    let view = file.tensor(name)?;
    let dtype = match view.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        other => {
            return Err(LoraProblem::Type {
                name: name.into(),
                found: format!("{other:?}"),
            });
        }
    };
    let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?;
    let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    if values.iter().any(|value| !value.is_finite()) {
        return Err(LoraProblem::NotFinite(name.into()));
    }
    Ok(tensor)
}

/// Where each matrix of the checkpoint that a LoRA can change is in the packed tensors.
pub(crate) fn targets(config: &DitConfig) -> BTreeMap<String, Target> {
    let (width, inner) = (config.hidden_size, config.intermediate_size);
    let (queries, keys) = (config.queries(), config.keys());
    let mut targets = BTreeMap::new();
    // Matrices that are packed one below the other.
    let mut pack = |tensor: &str, inputs: usize, parts: &[(&str, usize)], prefix: &str| {
        let mut first_row = 0;
        for (parameter, rows) in parts {
            let target = Target {
                matrix: format!("{prefix}{parameter}"),
                tensor: format!("{prefix}{tensor}"),
                first_row,
                rows: *rows,
                inputs,
            };
            targets.insert(target.matrix.clone(), target);
            first_row += rows;
        }
    };
    pack("condition.weight", width, &[("condition_embedder", width)], "");
    let time = MODULATIONS * width;
    pack(
        "time.linear_1.weight",
        TIME_FEATURES,
        &[("time_embed.linear_1", width)],
        "",
    );
    pack("time.linear_2.weight", width, &[("time_embed.linear_2", width)], "");
    pack("time.time_proj.weight", width, &[("time_embed.time_proj", time)], "");
    for layer in 0..config.num_hidden_layers {
        let prefix = format!("layers.{layer}.");
        let mut pack = |tensor: &str, inputs: usize, parts: &[(&str, usize)]| pack(tensor, inputs, parts, &prefix);
        pack(
            "self.in",
            width,
            &[
                ("self_attn.q_proj", queries),
                ("self_attn.k_proj", keys),
                ("self_attn.v_proj", keys),
            ],
        );
        pack("self.out", queries, &[("self_attn.o_proj", width)]);
        pack("cross.in", width, &[("cross_attn.q_proj", queries)]);
        pack(
            "cross.memory",
            width,
            &[("cross_attn.k_proj", keys), ("cross_attn.v_proj", keys)],
        );
        pack("cross.out", queries, &[("cross_attn.o_proj", width)]);
        pack("mlp.in", width, &[("mlp.gate_proj", inner), ("mlp.up_proj", inner)]);
        pack("mlp.out", inner, &[("mlp.down_proj", width)]);
    }
    targets
}
