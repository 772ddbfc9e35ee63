//! Sizes of the network and of the pieces that a track is cut into.

use super::{bands::Bands, error::MelbandError};

/// Width of an attention head. The kernels are written for it.
pub(crate) const HEAD_DIM: usize = 64;
/// How much wider than the network its hidden layers are.
const EXPANSION: usize = 4;
/// The network hears two channels; a mono track is given to both.
pub(crate) const CHANNELS: usize = 2;

/// A Mel-Band RoFormer's shape. Only the public checkpoint's is used for real tracks; smaller ones are for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MelbandConfig {
    /// Width of a token.
    pub dim: usize,
    /// Pairs of a transformer over time and one over frequency.
    pub depth: usize,
    /// Heads of 64 values each.
    pub heads: usize,
    /// Mel bands.
    pub bands: usize,
    /// Rate that the network hears, in hertz.
    pub sample_rate: u32,
    /// Samples under a window of the Fourier transform.
    pub window: usize,
    /// Samples from one window to the next.
    pub hop: usize,
    /// Samples of a piece of a track, a multiple of `hop`: half of it is the step from one piece to the next.
    pub chunk: usize,
}

impl MelbandConfig {
    /// The public vocal checkpoint's shape: 228 million parameters, pieces of 8 s.
    pub const PUBLIC: Self = Self {
        dim: 384,
        depth: 6,
        heads: 8,
        bands: 60,
        sample_rate: 44_100,
        window: 2048,
        hop: 441,
        chunk: 352_800,
    };

    /// Says what of it does not fit together.
    ///
    /// # Errors
    /// `Config`.
    pub fn check(&self) -> Result<(), MelbandError> {
        let wrong = |reason: &str| Err(MelbandError::Config(reason.into()));
        if [self.dim, self.depth, self.heads, self.bands, self.hop].contains(&0) {
            return wrong("nothing in it may be 0");
        }
        if self.window < 4 || !self.window.is_multiple_of(2) || self.hop > self.window / 2 {
            return wrong("windows have an even length and overlap by half or more");
        }
        if !self.chunk.is_multiple_of(2 * self.hop) || self.chunk <= self.window || self.chunk < 20 {
            return wrong("a piece is an even number of hops and longer than a window");
        }
        Bands::of(self).check()
    }

    /// Bins of a spectrum.
    #[must_use]
    pub fn bins(&self) -> usize {
        self.window / 2 + 1
    }

    /// Spectra of a piece.
    #[must_use]
    pub fn frames(&self) -> usize {
        1 + self.chunk / self.hop
    }

    /// Width of the hidden layers.
    #[must_use]
    pub fn hidden(&self) -> usize {
        self.dim * EXPANSION
    }

    /// Width of all heads together.
    #[must_use]
    pub fn inner(&self) -> usize {
        self.heads * HEAD_DIM
    }

    /// Width of queries, keys, values and gates of a token, with what makes it a multiple of 32: every row begins on 64 bytes of half
    /// precision, which makes its product a fifth faster on a GPU than the 16 bytes that it needs.
    pub(crate) fn projected(&self) -> usize {
        (3 * self.inner() + self.heads).next_multiple_of(32)
    }

    /// Samples of so many pieces, in both channels.
    pub(crate) fn values_a_batch(&self, pieces: usize) -> usize {
        pieces * CHANNELS * self.chunk
    }

    /// Values of a spectrum: bins × channels × (real, imaginary), in this order.
    pub(crate) fn spectrum(&self) -> usize {
        self.bins() * CHANNELS * 2
    }
}
