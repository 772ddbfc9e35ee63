//! The one door to the matrix product, and the only unsafe code here: lengths are checked, then pointers go to `gemm`.
#![allow(unsafe_code)]

use gemm::Parallelism;

/// `output[n][m] (+)= Σ_k columns[k][m] · weights[n][k]`, with `m` contiguous in `output` and `columns`, and row `n` of the weights
/// beginning at `n · weights_stride`. One thread; its result depends on nothing but its input.
pub(crate) struct Product<'a> {
    /// Values per row of `columns` and `output`.
    pub(crate) m: usize,
    /// Rows of the output.
    pub(crate) n: usize,
    /// Length of the sum.
    pub(crate) k: usize,
    /// `[k][m]`.
    pub(crate) columns: &'a [f32],
    /// `[n][k]`, rows `weights_stride` apart.
    pub(crate) weights: &'a [f32],
    /// Distance between two rows of the weights.
    pub(crate) weights_stride: usize,
}

impl Product<'_> {
    /// Writes the product to `output`, or adds it to what is there.
    pub(crate) fn store(&self, output: &mut [f32], adds: bool) {
        let Self { m, n, k, .. } = *self;
        assert!(m > 0 && n > 0 && k > 0, "a product of something");
        assert!(output.len() >= n * m, "room for the product");
        assert!(self.columns.len() >= k * m, "all columns are there");
        assert!(
            k <= self.weights_stride && self.weights.len() >= (n - 1) * self.weights_stride + k,
            "all weights are there"
        );
        // SAFETY: the assertions above bound every element that the strides can reach; the output is borrowed exclusively, so it
        // overlaps neither operand.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                output.as_mut_ptr(),
                m as isize,
                1,
                adds,
                self.columns.as_ptr(),
                m as isize,
                1,
                self.weights.as_ptr(),
                self.weights_stride as isize,
                1,
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }
}
