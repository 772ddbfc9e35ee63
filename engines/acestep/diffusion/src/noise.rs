//! Noise that depends on a seed alone, so that the same seed makes the same sound again.

use std::f64::consts::TAU;

use candle_core::{Device, Result, Tensor};
use rand_pcg::{
    Pcg64Mcg,
    rand_core::{Rng, SeedableRng},
};

/// Standard normal values, [frames, channels] f32, of one of a seed's streams.
pub(crate) fn normal(seed: u64, stream: u64, (frames, channels): (usize, usize), device: &Device) -> Result<Tensor> {
    let mut random = Pcg64Mcg::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(stream));
    let mut uniform = || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let count = frames * channels;
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        // Box and Muller (1958): two at a time.
        let (radius, angle) = ((-2.0 * (1.0 - uniform()).ln()).sqrt(), TAU * uniform());
        values.extend([(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]);
    }
    values.truncate(count);
    Tensor::from_vec(values, (frames, channels), device)
}

/// The noise that generations start from: the same for all of a seed, so it is made once.
#[derive(Default)]
pub(crate) struct Noise {
    kept: Option<(u64, Tensor)>,
}

impl Noise {
    pub(crate) fn of(&mut self, seed: u64, shape: (usize, usize), device: &Device) -> Result<Tensor> {
        if let Some((known, noise)) = &self.kept
            && *known == seed
            && noise.dims2()? == shape
        {
            return Ok(noise.clone());
        }
        let noise = normal(seed, 0, shape, device)?;
        self.kept = Some((seed, noise.clone()));
        Ok(noise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(seed: u64, stream: u64) -> Vec<f32> {
        let noise = normal(seed, stream, (501, 7), &Device::Cpu).unwrap();
        noise.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn it_is_normal() {
        let values = values(3, 0);
        let mean = |power| values.iter().map(|value| f64::from(*value).powi(power)).sum::<f64>() / values.len() as f64;
        assert!(mean(1).abs() < 0.05, "{}", mean(1));
        assert!((mean(2) - 1.0).abs() < 0.07, "{}", mean(2));
        assert!((mean(4) - 3.0).abs() < 0.5, "{}", mean(4));
    }

    #[test]
    fn a_seed_makes_the_same_again_and_another_one_does_not() {
        assert_eq!(values(3, 0), values(3, 0));
        assert_ne!(values(3, 0), values(4, 0));
        assert_ne!(values(3, 0), values(3, 1));
    }
}
