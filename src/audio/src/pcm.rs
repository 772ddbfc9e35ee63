//! The one form in which decoded audio travels between rooms.

/// Sample rate of everything that is played or sent, in hertz (wire §1).
pub const SAMPLE_RATE: u32 = 48_000;

/// Every source is trimmed down to a multiple of this many frames per channel (wire §1: 5 latent frames, 0.2 s).
pub const POOL_FRAMES: usize = 9_600;

/// Decoded audio: interleaved `f32`, one or two channels, nominally in −1..1 (louder is legal and kept).
#[derive(Clone, Debug, PartialEq)]
pub struct Pcm {
    sample_rate: u32,
    channels: u16,
    samples: Vec<f32>,
}

impl Pcm {
    /// Wraps interleaved samples.
    ///
    /// # Panics
    /// If `channels` is neither 1 nor 2, or the samples are not a whole number of frames: both are bugs of the caller,
    /// who has checked whatever came from outside.
    #[must_use]
    pub fn new(sample_rate: u32, channels: u16, samples: Vec<f32>) -> Self {
        assert!(
            (1..=2).contains(&channels),
            "audio here has one or two channels, not {channels}"
        );
        assert!(
            samples.len().is_multiple_of(usize::from(channels)),
            "a whole number of frames"
        );
        Self {
            sample_rate,
            channels,
            samples,
        }
    }

    /// Frames per second.
    #[must_use]
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// 1 or 2.
    #[must_use]
    pub fn channels(&self) -> u16 {
        self.channels
    }

    /// Samples per channel.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.samples.len() / usize::from(self.channels)
    }

    /// Length in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.frames() as f64 / f64::from(self.sample_rate)
    }

    /// The interleaved samples.
    #[must_use]
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// Tells audio apart: FNV-1a over rate, channels and the samples' bits.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let form = [u64::from(self.sample_rate), u64::from(self.channels)];
        let bits = self.samples.iter().map(|sample| u64::from(sample.to_bits()));
        form.into_iter().chain(bits).fold(0xcbf2_9ce4_8422_2325, |hash, bits| {
            (hash ^ bits).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// Gives the interleaved samples away.
    #[must_use]
    pub fn into_samples(self) -> Vec<f32> {
        self.samples
    }

    /// A copy of one channel, `frames()` long.
    #[must_use]
    pub fn channel(&self, index: u16) -> Vec<f32> {
        self.samples
            .iter()
            .skip(usize::from(index))
            .step_by(usize::from(self.channels))
            .copied()
            .collect()
    }
}
