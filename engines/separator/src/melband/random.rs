//! Weights that mean nothing, for tests and for measuring: the same on every machine, from a formula.
//!
//! Value `n` of a tensor is made of the seed, the tensor's name and `n` alone, so that another program makes the same weights without
//! being given them: the 64-bit FNV-1a hash of the name, plus seed · G, plus (n + 1) · G with G the golden ratio's 64 bits, is scrambled as
//! in splitmix64; its upper 24 bits are a uniform number, rounded to half precision as the public checkpoint's weights are.

use half::f16;
use rayon::prelude::*;

use super::{
    config::HEAD_DIM,
    layout::{Key, Role},
};

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Base of the rotary embedding's speeds.
const THETA: f64 = 10_000.0;

/// The values of a tensor. Their spread keeps a signal's level through every layer, so that activations stay finite at any depth.
pub(crate) fn values(seed: u64, key: &Key) -> Vec<f32> {
    let (centre, reach) = match key.role {
        Role::Gamma => (1.0, 0.2),
        Role::Bias => (0.0, 0.1),
        // Variance 1 / inputs.
        Role::Weight => (0.0, (3.0 / key.shape[1] as f64).sqrt() as f32),
        Role::Frequencies => return rotary_frequencies(),
    };
    let start = hash(&key.name).wrapping_add(seed.wrapping_mul(GOLDEN));
    (0..key.len() as u64)
        .into_par_iter()
        .map(|index| rounded(centre + reach * uniform(start.wrapping_add((index + 1).wrapping_mul(GOLDEN)))))
        .collect()
}

/// θ^(−2i/64), as half precision keeps it.
pub(crate) fn rotary_frequencies() -> Vec<f32> {
    (0..HEAD_DIM / 2)
        .map(|pair| rounded(THETA.powf(-(2.0 * pair as f64) / HEAD_DIM as f64) as f32))
        .collect()
}

/// Sound for tests and measurements, −0.5..0.5, by the same formula with the name `noise`.
#[must_use]
pub fn noise(seed: u64, samples: usize) -> Vec<f32> {
    let start = hash("noise").wrapping_add(seed.wrapping_mul(GOLDEN));
    (0..samples as u64)
        .map(|index| 0.5 * uniform(start.wrapping_add((index + 1).wrapping_mul(GOLDEN))))
        .collect()
}

fn rounded(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

/// Uniform in −1..1.
fn uniform(mut state: u64) -> f32 {
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^= state >> 31;
    ((state >> 40) as f32 / (1_u64 << 23) as f32) - 1.0
}

fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, role: Role) -> Key {
        Key {
            name: name.into(),
            shape: vec![64, 48],
            role,
        }
    }

    #[test]
    fn weights_keep_the_level_and_differ_by_name_and_seed() {
        let weights = values(1, &key("a", Role::Weight));
        let power = weights.iter().map(|value| value * value).sum::<f32>() / weights.len() as f32;
        assert!((power * 48.0 - 1.0).abs() < 0.1, "{power}");
        assert_ne!(weights, values(1, &key("b", Role::Weight)));
        assert_ne!(weights, values(2, &key("a", Role::Weight)));
        assert_eq!(weights, values(1, &key("a", Role::Weight)));
        assert!(
            values(1, &key("a", Role::Gamma))
                .iter()
                .all(|gamma| (0.79..1.21).contains(gamma))
        );
    }
}
