//! What transformers are made of: grouped attention, norms that time moves, positions, gated activations.

use candle_core::{DType, Device, Result, Tensor};

use super::{Comparison, EPS, random};
use crate::{
    Adaptive, Gate, Heads, Mask, cross_attention, norm_rotary, residual_norm, rotary_frequencies, rotary_table,
    self_attention, swiglu,
};

const HEADS: Heads = Heads {
    queries: 4,
    keys: 2,
    dim: 128,
};

impl Comparison {
    pub(super) fn transformers(&mut self, dtype: DType) -> Result<()> {
        // Shorter than a tile of queries, one and a rest, many; windows that leave out blocks of keys, and one wider than the sequence.
        for (sequences, length, mask) in [
            (3, 1, Mask::None),
            (40, 5, Mask::Window(128)),
            (40, 6, Mask::None),
            (2, 83, Mask::None),
            (1, 70, Mask::Causal),
            (1, 301, Mask::Causal),
            (2, 129, Mask::Window(3)),
            (1, 750, Mask::Window(128)),
            (2, 750, Mask::None),
        ] {
            self.self_attention(dtype, sequences, length, mask, 1.0)?;
        }
        // Scores so far apart that the softmax changes its reference on the way.
        self.self_attention(dtype, 1, 300, Mask::Window(100), 3.5)?;
        self.cross_attention(dtype, 65, &[1, 83, 64])?;
        self.cross_attention(dtype, 750, &[83, 257])?;
        self.positions(dtype, HEADS, 3, 77)?;
        for width in [512, 2048, 1024] {
            self.residuals(dtype, width)?;
        }
        let (x, on_x) = self.data(&[37, 2 * 384], dtype)?;
        self.compare("swiglu", dtype, &swiglu(&on_x)?, &swiglu(&x)?)
    }

    fn self_attention(&mut self, dtype: DType, sequences: usize, length: usize, mask: Mask, scale: f64) -> Result<()> {
        let columns = HEADS.query_columns() + 2 * HEADS.key_columns();
        let x = (random(&[sequences * length, columns])? * scale)?.to_dtype(dtype)?;
        let (x, on_x) = (x.to_dtype(DType::F32)?, x.to_device(&self.device)?);
        let actual = self_attention(&on_x, HEADS, length, mask)?;
        let expected = self_attention(&x, HEADS, length, mask)?;
        let name = format!("self_attention, {sequences} x {length}, {mask:?}, inputs of {scale}");
        let bound = super::bound(dtype) * scale * scale;
        self.compare_within(&name, dtype, bound, &actual, &expected)
    }

    fn cross_attention(&mut self, dtype: DType, rows: usize, lengths: &[u32]) -> Result<()> {
        let longest = lengths.iter().copied().max().unwrap_or(0) as usize;
        let (q, on_q) = self.data(&[lengths.len() * rows, HEADS.query_columns()], dtype)?;
        let (memory, on_memory) = self.data(&[lengths.len(), longest, 2 * HEADS.key_columns()], dtype)?;
        let counts = Tensor::new(lengths, &Device::Cpu)?;
        let actual = cross_attention(&on_q, &on_memory, &counts.to_device(&self.device)?, HEADS, rows)?;
        let expected = cross_attention(&q, &memory, &counts, HEADS, rows)?;
        self.compare(
            &format!("cross_attention, {rows} to {lengths:?}"),
            dtype,
            &actual,
            &expected,
        )
    }

    fn positions(&mut self, dtype: DType, heads: Heads, sequences: usize, length: usize) -> Result<()> {
        let columns = heads.query_columns() + 2 * heads.key_columns();
        let (x, on_x) = self.data(&[sequences * length, columns], dtype)?;
        let ((q, on_q), (k, on_k)) = (self.parameter(&[heads.dim])?, self.parameter(&[heads.dim])?);
        let table = rotary_table(&rotary_frequencies(heads.dim, 1e6), length + 3, &Device::Cpu)?;
        let on_table = table.to_device(&self.device)?;
        let actual = norm_rotary(on_x, &on_q, &on_k, &on_table, heads, length, EPS)?;
        let expected = norm_rotary(x, &q, &k, &table, heads, length, EPS)?;
        self.compare("norm_rotary", dtype, &actual, &expected)
    }

    fn residuals(&mut self, dtype: DType, width: usize) -> Result<()> {
        let (batch, rows) = (3, 17);
        let (x, on_x) = self.data(&[batch * rows, width], dtype)?;
        let (delta, on_delta) = self.data(&[batch * rows, width], dtype)?;
        let (gamma, on_gamma) = self.parameter(&[width])?;
        let (six, on_six) = self.parameter(&[batch, 6, width])?;
        let (two, on_two) = self.parameter(&[batch, 2, width])?;
        fn adaptive(modulation: &Tensor) -> Adaptive<'_> {
            Adaptive {
                modulation,
                shift: 0,
                scale: 1,
            }
        }
        fn gate(modulation: &Tensor) -> Gate<'_> {
            Gate { modulation, gate: 5 }
        }
        let (_, actual) = residual_norm(&on_x, None, &on_gamma, Some(adaptive(&on_two)), rows, EPS)?;
        let (_, expected) = residual_norm(&x, None, &gamma, Some(adaptive(&two)), rows, EPS)?;
        self.compare(
            &format!("residual_norm of {width}, norm alone"),
            dtype,
            &actual,
            &expected,
        )?;
        let plain = residual_norm(&on_x, Some((&on_delta, None)), &on_gamma, None, rows, EPS)?;
        let expected = residual_norm(&x, Some((&delta, None)), &gamma, None, rows, EPS)?;
        self.compare(
            &format!("residual_norm of {width}, plain sum"),
            dtype,
            &plain.0,
            &expected.0,
        )?;
        self.compare(
            &format!("residual_norm of {width}, plain norm"),
            dtype,
            &plain.1,
            &expected.1,
        )?;
        let all = residual_norm(
            &on_x,
            Some((&on_delta, Some(gate(&on_six)))),
            &on_gamma,
            Some(adaptive(&on_two)),
            rows,
            EPS,
        )?;
        let expected = residual_norm(
            &x,
            Some((&delta, Some(gate(&six)))),
            &gamma,
            Some(adaptive(&two)),
            rows,
            EPS,
        )?;
        self.compare(
            &format!("residual_norm of {width}, gated sum"),
            dtype,
            &all.0,
            &expected.0,
        )?;
        self.compare(
            &format!("residual_norm of {width}, moved norm"),
            dtype,
            &all.1,
            &expected.1,
        )
    }
}
