//! A checkpoint's tensors as the network takes them: fused, stacked, padded, cast, and with the tables that go with them.

use candle_core::{DType, Device};
use greenroom_kernels::rotary_table;
use greenroom_weights::{BuildError, ImageBuilder};

use super::{
    bands::{Band, BandGroup, Bands},
    config::{HEAD_DIM, MelbandConfig},
    error::MelbandError,
    fourier,
    layout::{Key, Role, band_split, mask_estimator, transformer},
    source::Source,
};

/// Number of what is packed here: changes whenever a name, a shape, the order or the folding does.
pub(crate) const LAYOUT_VERSION: u32 = 2;

/// Packs everything that the network needs on its device.
pub(crate) fn pack(
    config: &MelbandConfig,
    source: &dyn Source,
    dtype: DType,
    builder: &mut ImageBuilder<'_>,
) -> Result<(), BuildError> {
    let mut packer = Packer {
        config,
        source,
        dtype,
        builder,
    };
    for layer in 0..config.depth {
        for side in 0..2 {
            packer.transformer(layer, side)?;
        }
    }
    let bands = Bands::of(config);
    packer.band_norms(&bands)?;
    packer.mask_hidden(0, config.dim)?;
    packer.mask_hidden(2, config.hidden())?;
    for (index, group) in bands.groups.iter().enumerate() {
        let members = &bands.bands[group.first..][..group.count];
        packer.band_split(index, *group, members)?;
        packer.mask_output(index, *group, members)?;
    }
    fourier::pack_window(config, builder)
}

struct Packer<'a, 'b> {
    config: &'a MelbandConfig,
    source: &'a dyn Source,
    dtype: DType,
    builder: &'a mut ImageBuilder<'b>,
}

impl Packer<'_, '_> {
    fn values(&self, name: String, shape: &[usize], role: Role) -> Result<Vec<f32>, MelbandError> {
        self.source.values(&Key {
            name,
            shape: shape.into(),
            role,
        })
    }

    /// Norms, biases and tables stay in single precision.
    fn precise(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Result<(), BuildError> {
        Ok(self.builder.tensor(name, shape, DType::F32, values)?)
    }

    fn matrix(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Result<(), BuildError> {
        Ok(self.builder.tensor(name, shape, self.dtype, values)?)
    }

    fn transformer(&mut self, layer: usize, side: usize) -> Result<(), BuildError> {
        let (dim, hidden, inner, heads) = (
            self.config.dim,
            self.config.hidden(),
            self.config.inner(),
            self.config.heads,
        );
        let (from, to) = (transformer(layer, side), transformer(layer, side));
        let attention = format!("{from}.layers.0.0");
        let forward = format!("{from}.layers.0.1.net");
        for (name, key, length, role) in [
            ("attention.norm", format!("{attention}.norm.gamma"), dim, Role::Gamma),
            (
                "attention.gate_bias",
                format!("{attention}.to_gates.bias"),
                heads,
                Role::Bias,
            ),
            ("forward.norm", format!("{forward}.0.gamma"), dim, Role::Gamma),
            ("forward.in.bias", format!("{forward}.1.bias"), hidden, Role::Bias),
            ("forward.out.bias", format!("{forward}.4.bias"), dim, Role::Bias),
            ("norm", format!("{from}.norm.gamma"), dim, Role::Gamma),
        ] {
            let values = self.values(key, &[length], role)?;
            self.precise(&format!("{to}.{name}"), &[length], &values)?;
        }
        let mut projection = self.values(format!("{attention}.to_qkv.weight"), &[3 * inner, dim], Role::Weight)?;
        projection.extend(self.values(format!("{attention}.to_gates.weight"), &[heads, dim], Role::Weight)?);
        projection.resize(self.config.projected() * dim, 0.0);
        self.matrix(
            &format!("{to}.attention.in"),
            &[self.config.projected(), dim],
            &projection,
        )?;
        for (name, key, shape) in [
            ("attention.out", format!("{attention}.to_out.0.weight"), [dim, inner]),
            ("forward.in.weight", format!("{forward}.1.weight"), [hidden, dim]),
            ("forward.out.weight", format!("{forward}.4.weight"), [dim, hidden]),
        ] {
            let values = self.values(key, &shape, Role::Weight)?;
            self.matrix(&format!("{to}.{name}"), &shape, &values)?;
        }
        let frequencies = self.values(
            format!("{attention}.rotary_embed.freqs"),
            &[HEAD_DIM / 2],
            Role::Frequencies,
        )?;
        let positions = if side == 0 {
            self.config.frames()
        } else {
            self.config.bands
        };
        let table = rotary_table(&frequencies, positions, &Device::Cpu)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        self.precise(&format!("{to}.attention.rotary"), &[positions, HEAD_DIM / 2, 2], &table)
    }

    /// A hidden layer of all bands' mask estimators, stacked.
    fn mask_hidden(&mut self, layer: usize, inputs: usize) -> Result<(), BuildError> {
        let (bands, hidden) = (self.config.bands, self.config.hidden());
        let (mut weights, mut biases) = (Vec::with_capacity(bands * hidden * inputs), Vec::new());
        for band in 0..bands {
            let key = format!("{}.{layer}", mask_estimator(band));
            weights.extend(self.values(format!("{key}.weight"), &[hidden, inputs], Role::Weight)?);
            biases.extend(self.values(format!("{key}.bias"), &[hidden], Role::Bias)?);
        }
        self.matrix(&format!("masks.{layer}.weight"), &[bands, hidden, inputs], &weights)?;
        self.precise(&format!("masks.{layer}.bias"), &[bands, hidden], &biases)
    }

    /// The last layer of a group's mask estimators: values and gates are each padded to the group's width.
    fn mask_output(&mut self, index: usize, group: BandGroup, members: &[Band]) -> Result<(), BuildError> {
        let hidden = self.config.hidden();
        let rows = 2 * group.width;
        let (mut weights, mut biases) = (vec![0.0; group.count * rows * hidden], vec![0.0; group.count * rows]);
        for (member, band) in members.iter().enumerate() {
            let key = format!("{}.4", mask_estimator(group.first + member));
            let width = band.width();
            let weight = self.values(format!("{key}.weight"), &[2 * width, hidden], Role::Weight)?;
            let bias = self.values(format!("{key}.bias"), &[2 * width], Role::Bias)?;
            for half in 0..2 {
                let row = member * rows + half * group.width;
                weights[row * hidden..][..width * hidden]
                    .copy_from_slice(&weight[half * width * hidden..][..width * hidden]);
                biases[row..][..width].copy_from_slice(&bias[half * width..][..width]);
            }
        }
        self.matrix(
            &format!("masks.4.{index}.weight"),
            &[group.count, rows, hidden],
            &weights,
        )?;
        self.precise(&format!("masks.4.{index}.bias"), &[group.count, rows], &biases)
    }

    /// What turns a group's bands into tokens; columns beyond a band are 0.
    fn band_split(&mut self, index: usize, group: BandGroup, members: &[Band]) -> Result<(), BuildError> {
        let dim = self.config.dim;
        let mut weights = vec![0.0; group.count * dim * group.width];
        for (member, band) in members.iter().enumerate() {
            let key = format!("{}.1.weight", band_split(group.first + member));
            let width = band.width();
            let weight = self.values(key, &[dim, width], Role::Weight)?;
            let rows = weights[member * dim * group.width..].chunks_exact_mut(group.width);
            for (row, weight) in rows.zip(weight.chunks_exact(width)) {
                row[..width].copy_from_slice(weight);
            }
        }
        self.matrix(
            &format!("bands.{index}.weight"),
            &[group.count, dim, group.width],
            &weights,
        )
    }

    /// Scales and biases of all bands.
    fn band_norms(&mut self, bands: &Bands) -> Result<(), BuildError> {
        let dim = self.config.dim;
        let (mut gammas, mut biases) = (Vec::new(), Vec::new());
        for group in &bands.groups {
            for band in group.first..group.first + group.count {
                let (key, width) = (band_split(band), bands.bands[band].width());
                gammas.extend(self.values(format!("{key}.0.gamma"), &[width], Role::Gamma)?);
                gammas.resize(gammas.len() + group.width - width, 0.0);
                biases.extend(self.values(format!("{key}.1.bias"), &[dim], Role::Bias)?);
            }
        }
        self.precise("bands.norm", &[bands.padded()], &gammas)?;
        self.precise("bands.bias", &[self.config.bands, dim], &biases)
    }
}
