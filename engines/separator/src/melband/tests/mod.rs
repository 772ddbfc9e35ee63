//! Parity with an independent implementation, whose numbers `goldens/make.py` wrote down, and what a checkpoint and a rip must withstand.

mod loading;
mod rips;
mod stages;
mod tracks;

use std::{fs, path::Path, sync::Arc};

use candle_core::{DType, Device, Tensor};
use greenroom_stage::{Home, Tenant};
use greenroom_weights::{HostWeights, PackedImage};
use safetensors::SafeTensors;

use super::{Melband, MelbandConfig, MelbandOptions, network::Network, noise, pack, source::RandomWeights};

/// The shapes of `goldens/make.py`.
const NARROW: MelbandConfig = MelbandConfig {
    dim: 16,
    depth: 2,
    heads: 2,
    chunk: 8_820,
    ..MelbandConfig::PUBLIC
};
const WIDE: MelbandConfig = MelbandConfig {
    depth: 1,
    bands: 7,
    window: 512,
    hop: 128,
    chunk: 5_120,
    ..MelbandConfig::PUBLIC
};
const LONG: MelbandConfig = MelbandConfig {
    dim: 8,
    depth: 1,
    heads: 1,
    bands: 2,
    window: 128,
    hop: 32,
    chunk: 25_600,
    ..MelbandConfig::PUBLIC
};

/// How near is near, as a part of the largest value and of the whole.
const TOLERANCE: f64 = 1e-4;

fn options() -> MelbandOptions {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    MelbandOptions {
        dtype: DType::F32,
        lane: None,
        pieces_a_batch: 1,
        pool: Arc::new(pool),
    }
}

/// A separator of random weights, resident.
fn resident(config: MelbandConfig, seed: u64) -> Arc<Melband> {
    let melband = Melband::random(config, seed, options()).unwrap();
    melband.attach(&Home::Ram).unwrap();
    melband
}

fn network(config: &MelbandConfig, seed: u64) -> Network {
    let image =
        PackedImage::in_memory(|builder| pack::pack(config, &RandomWeights { seed }, DType::F32, builder)).unwrap();
    Network::new(config, &HostWeights::new(&image), 1).unwrap()
}

fn noise_tensor(seed: u64, shape: &[usize]) -> Tensor {
    Tensor::from_vec(noise(seed, shape.iter().product()), shape, &Device::Cpu).unwrap()
}

fn list(tensor: &Tensor) -> Vec<f32> {
    tensor.contiguous().unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The values of a file of golden tensors.
struct Goldens(Vec<u8>);

impl Goldens {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens").join(name);
        Self(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    fn words(&self, name: &str) -> Vec<[u8; 4]> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(name).unwrap();
        view.data().as_chunks::<4>().0.to_vec()
    }

    fn get(&self, name: &str) -> Vec<f32> {
        self.words(name).into_iter().map(f32::from_le_bytes).collect()
    }

    /// Asserts that values are those of the golden tensor.
    fn assert_near(&self, name: &str, actual: &[f32]) {
        let expected = self.get(name);
        assert_eq!(actual.len(), expected.len(), "{name}");
        let (mut square, mut error_square, mut largest, mut largest_error) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
        for (actual, expected) in actual.iter().zip(&expected) {
            let (expected, error) = (f64::from(*expected), f64::from(*actual) - f64::from(*expected));
            square += expected * expected;
            error_square += error * error;
            largest = largest.max(expected.abs());
            largest_error = largest_error.max(error.abs());
        }
        assert!(square > 0.0, "{name} is silent: nothing would be compared");
        let (overall, worst) = ((error_square / square).sqrt(), largest_error / largest);
        eprintln!("{name}: {overall:.1e} of all, {worst:.1e} of the largest");
        assert!(
            overall <= TOLERANCE && worst <= TOLERANCE,
            "{name}: {overall:.1e}, {worst:.1e}"
        );
    }
}
