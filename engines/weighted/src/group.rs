//! One weight group: its image in system RAM, and the modules that are built from it when it is restored.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use candle_core::{Device, Tensor};
use greenroom_generator::GenerateError;
use greenroom_stage::{GroupClass, Home, ModuleSlot, Tenant};
use greenroom_sync::CancelFlag;
use rand_pcg::{
    Pcg64Mcg,
    rand_core::{Rng, SeedableRng},
};

/// Width of the square layers: 256 KiB each in `f32`.
const WIDTH: usize = 256;
/// Rows that go through the layers together.
const ROWS: usize = 8;
const LAYER_BYTES: u64 = (WIDTH * WIDTH * size_of::<f32>()) as u64;

/// A stack of linear layers, each followed by a normalisation so that any number of them stays in range.
#[derive(Debug)]
pub(crate) struct Network {
    layers: Vec<Tensor>,
    input: Tensor,
}

impl Network {
    fn build(image: &[f32]) -> candle_core::Result<Self> {
        let device = Device::Cpu;
        let layers = image
            .chunks_exact(WIDTH * WIDTH)
            .map(|layer| Tensor::from_slice(layer, (WIDTH, WIDTH), &device))
            .collect::<candle_core::Result<_>>()?;
        let input = (0..ROWS * WIDTH)
            .map(|index| ((index % 17) as f32 - 8.0) / 8.0)
            .collect::<Vec<_>>();
        Ok(Self {
            layers,
            input: Tensor::from_vec(input, (ROWS, WIDTH), &device)?,
        })
    }

    /// Runs all layers; gives one number within −1..1 that every weight has a part in.
    fn respond(&self) -> candle_core::Result<f32> {
        let mut values = self.input.clone();
        for layer in &self.layers {
            values = values.matmul(layer)?;
            let level = values.sqr()?.mean_all()?.to_scalar::<f32>()?.sqrt();
            values = (values / f64::from(level.max(f32::MIN_POSITIVE)))?;
        }
        Ok(values.get(0)?.get(0)?.to_scalar::<f32>()?.tanh())
    }
}

/// A weight group of the weighted generator, as the stage knows it.
pub(crate) struct Group {
    name: &'static str,
    image: Vec<f32>,
    slot: ModuleSlot<Network>,
    /// What the network of this image answers.
    expected: f32,
    runs: AtomicU64,
    /// Bits of the newest response.
    response: AtomicU32,
}

/// What one group has done so far, for telemetry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupReport {
    /// The group.
    pub name: &'static str,
    /// Bytes of its weights.
    pub weights_bytes: u64,
    /// Runs of its modules since the program began.
    pub runs: u64,
    /// The modules' newest response; NaN before the first run.
    pub response: f32,
    /// The response that the right weights give.
    pub response_expected: f32,
}

impl Group {
    /// A parked group of at least so many bytes.
    pub(crate) fn new(name: &'static str, bytes: u64, seed: u64) -> Result<Self, GenerateError> {
        let layers = bytes.div_ceil(LAYER_BYTES).max(1);
        let count = usize::try_from(layers)
            .ok()
            .and_then(|layers| layers.checked_mul(WIDTH * WIDTH))
            .ok_or_else(|| {
                GenerateError::OutOfMemory(format!(
                    "{bytes} bytes of weights for {name} are more than this machine can address"
                ))
            })?;
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let image = (0..count)
            .map(|_| (random.next_u32() >> 8) as f32 / 8_388_608.0 - 1.0)
            .collect::<Vec<_>>();
        let expected = Network::build(&image)
            .and_then(|network| network.respond())
            .map_err(compute)?;
        Ok(Self {
            name,
            image,
            slot: ModuleSlot::new(name),
            expected,
            runs: AtomicU64::new(0),
            response: AtomicU32::new(f32::NAN.to_bits()),
        })
    }

    /// Runs the group's modules under a lease. Gives the factor for the sound: exactly 1 if the weights are the right ones.
    ///
    /// # Errors
    /// `NotResident` while the group is parked, `Cancelled`, `Compute`.
    pub(crate) fn run(&self, repetitions: u32, cancel: &CancelFlag) -> Result<f32, GenerateError> {
        let network = self
            .slot
            .lease()
            .map_err(|parked| GenerateError::NotResident(parked.group))?;
        let mut response = self.expected;
        for _ in 0..repetitions.max(1) {
            if cancel.is_raised() {
                return Err(GenerateError::Cancelled);
            }
            response = network.respond().map_err(compute)?;
            self.runs.fetch_add(1, Ordering::Relaxed);
        }
        self.response.store(response.to_bits(), Ordering::Relaxed);
        Ok(1.0 + (response - self.expected))
    }

    /// Bits that tell this group's weights from others.
    pub(crate) fn fingerprint(&self) -> [u8; 4] {
        self.expected.to_le_bytes()
    }

    pub(crate) fn report(&self) -> GroupReport {
        GroupReport {
            name: self.name,
            weights_bytes: self.weights_bytes(),
            runs: self.runs.load(Ordering::Relaxed),
            response: f32::from_bits(self.response.load(Ordering::Relaxed)),
            response_expected: self.expected,
        }
    }
}

impl Tenant for Group {
    fn name(&self) -> &'static str {
        self.name
    }

    fn class(&self) -> GroupClass {
        GroupClass::Eager
    }

    fn weights_bytes(&self) -> u64 {
        (self.image.len() * size_of::<f32>()) as u64
    }

    fn attach(&self, _home: &Home) -> Result<(), String> {
        self.slot
            .fill(Network::build(&self.image).map_err(|error| error.to_string())?);
        Ok(())
    }

    fn detach(&self) -> bool {
        self.slot.clear()
    }
}

fn compute(error: candle_core::Error) -> GenerateError {
    GenerateError::Compute(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(seed: u64) -> Group {
        Group::new("dit", 3 * LAYER_BYTES, seed).unwrap()
    }

    #[test]
    fn right_weights_give_exactly_one_after_every_restore() {
        let group = group(1);
        let flag = CancelFlag::new();
        assert!(matches!(group.run(1, &flag), Err(GenerateError::NotResident("dit"))));
        for _ in 0..3 {
            group.attach(&Home::Ram).unwrap();
            assert_eq!(group.run(2, &flag).unwrap(), 1.0);
            assert!(group.detach());
            assert!(matches!(group.run(1, &flag), Err(GenerateError::NotResident("dit"))));
        }
        assert_eq!(group.report().runs, 6);
        assert_eq!(group.report().response, group.report().response_expected);
    }

    #[test]
    fn one_wrong_weight_shows() {
        let group = group(1);
        for place in [0, WIDTH * WIDTH + 5 * WIDTH + 17] {
            let mut image = group.image.clone();
            image[place] += 0.5;
            group.slot.fill(Network::build(&image).unwrap());
            assert_ne!(group.run(1, &CancelFlag::new()).unwrap(), 1.0);
        }
        assert_ne!(
            Group::new("dit", LAYER_BYTES, 2).unwrap().fingerprint(),
            Group::new("dit", LAYER_BYTES, 1).unwrap().fingerprint()
        );
    }

    #[test]
    fn sizes_are_whole_layers() {
        assert_eq!(Group::new("vae", 0, 1).unwrap().weights_bytes(), LAYER_BYTES);
        assert_eq!(
            Group::new("vae", LAYER_BYTES + 1, 1).unwrap().weights_bytes(),
            2 * LAYER_BYTES
        );
    }

    #[test]
    fn a_raised_flag_is_seen() {
        let group = group(1);
        group.attach(&Home::Ram).unwrap();
        let flag = CancelFlag::new();
        flag.raise();
        assert!(matches!(group.run(5, &flag), Err(GenerateError::Cancelled)));
        assert_eq!(group.report().runs, 0);
    }
}
