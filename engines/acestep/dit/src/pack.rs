//! The checkpoint's tensors as the network takes them: projections fused, convolutions as matrices, the constant half of the time folded in.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use greenroom_weights::{BuildError, ImageBuilder, Key, Tensors};

use crate::{
    config::{DitConfig, MODULATIONS, PATCH, TIME_FEATURES},
    layout::{PREFIX, keys},
    time,
};

/// Number of what is packed here: changes whenever a name, a shape, the order or the folding does.
pub const LAYOUT_VERSION: u32 = 1;

/// Packs everything that the network needs on its device. Norms, biases, tables and what makes a time into modulations stay in single
/// precision.
///
/// # Errors
/// If a tensor is missing, or the image cannot be written.
pub fn pack(
    config: &DitConfig,
    tensors: &dyn Tensors,
    dtype: DType,
    builder: &mut ImageBuilder<'_>,
) -> Result<(), BuildError> {
    let mut packer = Packer {
        config,
        keys: keys(config).into_iter().map(|key| (key.name.clone(), key)).collect(),
        tensors,
        dtype,
        builder,
    };
    packer.ends()?;
    packer.time()?;
    for layer in 0..config.num_hidden_layers {
        packer.layer(layer)?;
    }
    packer.tables()
}

struct Packer<'a, 'b> {
    config: &'a DitConfig,
    keys: HashMap<String, Key>,
    tensors: &'a dyn Tensors,
    dtype: DType,
    builder: &'a mut ImageBuilder<'b>,
}

impl Packer<'_, '_> {
    fn values(&self, name: &str) -> Result<Vec<f32>, BuildError> {
        let name = format!("{PREFIX}.{name}");
        let key = self.keys.get(&name).ok_or_else(|| format!("{name} is not packed"))?;
        Ok(self.tensors.values(key)?)
    }

    /// A parameter in single precision.
    fn precise(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Result<(), BuildError> {
        Ok(self.builder.tensor(name, shape, DType::F32, values)?)
    }

    /// Matrices with the same inputs, one below the other.
    fn fused(&mut self, name: &str, inputs: usize, parts: &[&str]) -> Result<(), BuildError> {
        let mut values = Vec::new();
        for part in parts {
            values.extend(self.values(part)?);
        }
        Ok(self
            .builder
            .tensor(name, &[values.len() / inputs, inputs], self.dtype, &values)?)
    }

    /// What stands before and behind the layers.
    fn ends(&mut self) -> Result<(), BuildError> {
        let (width, channels) = (self.config.hidden_size, self.config.audio_acoustic_hidden_dim);
        let into = self.values("proj_in.1.weight")?;
        let into = frames_outside(&into, width, self.config.in_channels);
        self.builder.tensor(
            "in.weight",
            &[width, PATCH * self.config.in_channels],
            self.dtype,
            &into,
        )?;
        let out = self.values("proj_out.1.weight")?;
        // [width, channels, frames] of a transposed convolution, as the rows (frame, channel) of a matrix.
        let rows: Vec<f32> = (0..PATCH * channels)
            .flat_map(|row| (0..width).map(move |column| (row, column)))
            .map(|(row, column)| out[(column * channels + row % channels) * PATCH + row / channels])
            .collect();
        self.builder
            .tensor("out.weight", &[PATCH * channels, width], self.dtype, &rows)?;
        self.fused("condition.weight", width, &["condition_embedder.weight"])?;
        for (name, from) in [
            ("in.bias", "proj_in.1.bias"),
            ("condition.bias", "condition_embedder.bias"),
            ("out.norm", "norm_out.weight"),
        ] {
            let values = self.values(from)?;
            self.precise(name, &[width], &values)?;
        }
        let bias = self.values("proj_out.1.bias")?.repeat(PATCH);
        self.precise("out.bias", &[PATCH * channels], &bias)
    }

    fn time(&mut self) -> Result<(), BuildError> {
        let width = self.config.hidden_size;
        let shapes = [
            ("linear_1", width, TIME_FEATURES),
            ("linear_2", width, width),
            ("time_proj", MODULATIONS * width, width),
        ];
        for (name, outputs, inputs) in shapes {
            let (weight, bias) = (
                self.values(&format!("time_embed.{name}.weight"))?,
                self.values(&format!("time_embed.{name}.bias"))?,
            );
            self.precise(&format!("time.{name}.weight"), &[outputs, inputs], &weight)?;
            self.precise(&format!("time.{name}.bias"), &[outputs], &bias)?;
        }
        // The second time is always the difference of two equal ones: what it adds is the same for every step.
        let layer = |(name, outputs, inputs): (&str, usize, usize)| -> Result<time::Linear, BuildError> {
            let weight = self.values(&format!("time_embed_r.{name}.weight"))?;
            let bias = self.values(&format!("time_embed_r.{name}.bias"))?;
            Ok(time::Linear {
                weight: Tensor::from_vec(weight, (outputs, inputs), &Device::Cpu)?,
                bias: Tensor::from_vec(bias, outputs, &Device::Cpu)?,
            })
        };
        let [first, second, project] = shapes;
        let embedding = time::TimeEmbedding {
            first: layer(first)?,
            second: layer(second)?,
            project: layer(project)?,
        };
        let (embedded, projected) = embedding.forward(&time::features(&[0.0], &Device::Cpu)?)?;
        self.precise("time_r.embedded", &[width], &embedded.flatten_all()?.to_vec1::<f32>()?)?;
        let projected = projected.flatten_all()?.to_vec1::<f32>()?;
        self.precise("time_r.projected", &[MODULATIONS, width], &projected)
    }

    fn layer(&mut self, layer: usize) -> Result<(), BuildError> {
        let (width, queries, inner) = (
            self.config.hidden_size,
            self.config.queries(),
            self.config.intermediate_size,
        );
        let (from, to) = (format!("layers.{layer}"), format!("layers.{layer}"));
        let fused: [(&str, usize, &[&str]); 7] = [
            (
                "self.in",
                width,
                &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
            ),
            ("self.out", queries, &["self_attn.o_proj"]),
            ("cross.in", width, &["cross_attn.q_proj"]),
            ("cross.memory", width, &["cross_attn.k_proj", "cross_attn.v_proj"]),
            ("cross.out", queries, &["cross_attn.o_proj"]),
            ("mlp.in", width, &["mlp.gate_proj", "mlp.up_proj"]),
            ("mlp.out", inner, &["mlp.down_proj"]),
        ];
        for (name, inputs, parts) in fused {
            let parts: Vec<String> = parts.iter().map(|part| format!("{from}.{part}.weight")).collect();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            self.fused(&format!("{to}.{name}"), inputs, &parts)?;
        }
        let head = self.config.head_dim;
        for (name, part, length) in [
            ("self.norm", "self_attn_norm", width),
            ("self.q_norm", "self_attn.q_norm", head),
            ("self.k_norm", "self_attn.k_norm", head),
            ("cross.norm", "cross_attn_norm", width),
            ("cross.q_norm", "cross_attn.q_norm", head),
            ("cross.k_norm", "cross_attn.k_norm", head),
            ("mlp.norm", "mlp_norm", width),
        ] {
            let values = self.values(&format!("{from}.{part}.weight"))?;
            self.precise(&format!("{to}.{name}"), &[length], &values)?;
        }
        Ok(())
    }

    /// What a time's modulations are added to.
    fn tables(&mut self) -> Result<(), BuildError> {
        let (layers, width) = (self.config.num_hidden_layers, self.config.hidden_size);
        let mut tables = Vec::with_capacity(layers * MODULATIONS * width);
        for layer in 0..layers {
            tables.extend(self.values(&format!("layers.{layer}.scale_shift_table"))?);
        }
        self.precise("tables", &[layers, MODULATIONS, width], &tables)?;
        let table = self.values("scale_shift_table")?;
        self.precise("out.table", &[2, width], &table)
    }
}

/// [rows, channels, frames] of a convolution's kernel as [rows, frames · channels].
fn frames_outside(values: &[f32], rows: usize, channels: usize) -> Vec<f32> {
    let frames = values.len() / rows / channels;
    (0..rows)
        .flat_map(|row| (0..frames * channels).map(move |column| (row, column)))
        .map(|(row, column)| values[(row * channels + column % channels) * frames + column / channels])
        .collect()
}
