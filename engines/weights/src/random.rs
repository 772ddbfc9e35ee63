//! Weights that mean nothing, for tests and for measuring: the same on every machine, from a formula.
//!
//! Value `n` of a tensor is made of the seed, the tensor's name and `n` alone, so that another program makes the same weights without
//! being given them: the 64-bit FNV-1a hash of the name, plus seed · G, plus (n + 1) · G with G the golden ratio's 64 bits, is scrambled as
//! in splitmix64; its upper 24 bits are a uniform number.

use half::bf16;
use rayon::prelude::*;

use crate::checkpoint::{CheckpointError, Key, Tensors};

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// `count` numbers in −1..1 that depend on the name, the seed and their index alone.
#[must_use]
pub fn uniform(name: &str, seed: u64, count: usize) -> Vec<f32> {
    let start = start(name, seed);
    (0..count as u64)
        .into_par_iter()
        .map(|index| value(start, index))
        .collect()
}

/// Tensors from the formula: `centre + reach · uniform` of each key, rounded to `bf16` as the public checkpoints are.
#[derive(Clone, Copy, Debug)]
pub struct RandomTensors {
    /// Tells one set of weights from another.
    pub seed: u64,
}

impl RandomTensors {
    /// All values of a tensor, row-major.
    #[must_use]
    pub fn of(&self, key: &Key) -> Vec<f32> {
        let start = start(&key.name, self.seed);
        let (centre, reach) = (key.spread.centre, key.spread.reach);
        (0..key.len() as u64)
            .into_par_iter()
            .map(|index| bf16::from_f32(centre + reach * value(start, index)).to_f32())
            .collect()
    }
}

impl Tensors for RandomTensors {
    fn values(&self, key: &Key) -> Result<Vec<f32>, CheckpointError> {
        Ok(self.of(key))
    }
}

fn start(name: &str, seed: u64) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash.wrapping_add(seed.wrapping_mul(GOLDEN))
}

/// Uniform in −1..1.
fn value(start: u64, index: u64) -> f32 {
    let mut state = start.wrapping_add((index + 1).wrapping_mul(GOLDEN));
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^= state >> 31;
    ((state >> 40) as f32 / (1_u64 << 23) as f32) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Spread;

    #[test]
    fn weights_keep_the_level_and_differ_by_name_and_seed() {
        let values = |name: &str, seed| {
            let key = Key::new(name, &[64, 48], Spread::weight(48));
            RandomTensors { seed }.values(&key).unwrap()
        };
        let weights = values("a", 1);
        let power = weights.iter().map(|value| value * value).sum::<f32>() / weights.len() as f32;
        assert!((power * 48.0 - 1.0).abs() < 0.1, "{power}");
        assert_ne!(weights, values("b", 1));
        assert_ne!(weights, values("a", 2));
        assert_eq!(weights, values("a", 1));
    }

    #[test]
    fn the_formula_is_what_other_programs_compute() {
        // By the Python in the golden scripts: uniform("noise", 1, 3).
        assert_eq!(uniform("noise", 1, 3), [-0.683_086_5, 0.300_807_48, 0.843_974_1]);
    }
}
