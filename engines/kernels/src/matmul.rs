//! The one door to the matrix product on the CPU: lengths are checked, then pointers go to `gemm`.
#![allow(unsafe_code, reason = "the product takes pointers")]

use gemm::Parallelism;

/// `output[n][m] = Σ_k rows[m][k] · weights[n][k]`: rows of data that may overlap, or leave gaps.
pub(crate) struct Product<'a> {
    /// Rows of data.
    pub(crate) m: usize,
    /// Rows of the weights.
    pub(crate) n: usize,
    /// Length of the sum.
    pub(crate) k: usize,
    /// Row `m` is `k` values from `m · stride` on.
    pub(crate) rows: &'a [f32],
    /// Values from the beginning of a row to the next one's.
    pub(crate) stride: usize,
    /// `[n][k]`.
    pub(crate) weights: &'a [f32],
}

impl Product<'_> {
    /// Writes the product on this thread. Its columns lie one after the other, so that few of them still fill the registers.
    pub(crate) fn store(&self, output: &mut [f32]) {
        let Self { m, n, k, stride, .. } = *self;
        assert!(m > 0 && n > 0 && k > 0, "a product of something");
        assert!(self.rows.len() >= (m - 1) * stride + k, "all rows are there");
        assert!(self.weights.len() >= n * k, "all weights are there");
        assert!(output.len() >= n * m, "room for the product");
        // SAFETY: the assertions above bound every element that the strides can reach; the output is borrowed exclusively, so it overlaps
        // neither operand.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                output.as_mut_ptr(),
                m as isize,
                1,
                false,
                self.rows.as_ptr(),
                1,
                stride as isize,
                self.weights.as_ptr(),
                k as isize,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }
}
