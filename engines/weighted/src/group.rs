//! One weight group: its image in system RAM, and the modules over it, there or on a device.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use candle_core::{DType, Tensor};
use greenroom_generator::GenerateError;
use greenroom_stage::{GroupClass, Home, HostImage, ModuleSlot, Tenant};
use greenroom_sync::CancelFlag;
use greenroom_weights::{DeviceLane, HostWeights, PackedImage, WeightSource};
use rand_pcg::{
    Pcg64Mcg,
    rand_core::{Rng, SeedableRng},
};

/// Width of the square layers: 256 KiB each in `f32`.
const WIDTH: usize = 256;
/// Rows that go through the layers together.
const ROWS: usize = 8;
/// Layers that follow each other. A group is many such chains beside each other, so that a device gets on with all of them at once.
const DEPTH: usize = 4;
/// Bytes of a chain.
const CHAIN_BYTES: u64 = (DEPTH * WIDTH * WIDTH * size_of::<f32>()) as u64;
/// By how much a device's arithmetic may differ from the CPU's.
const DEVICE_TOLERANCE: f32 = 1e-3;

/// Chains of linear layers, each followed by a normalisation so that any number of them stays in range.
#[derive(Debug)]
pub(crate) struct Network {
    /// Of each depth, `[chains, WIDTH, WIDTH]`.
    layers: Vec<Tensor>,
    /// `[chains, ROWS, WIDTH]`.
    input: Tensor,
}

impl Network {
    fn build(weights: &dyn WeightSource, chains: usize) -> Result<Self, String> {
        let layers = (0..DEPTH)
            .map(|depth| weights.tensor(&depth.to_string(), &[chains, WIDTH, WIDTH]))
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        let input = (0..ROWS * WIDTH)
            .map(|index| ((index % 17) as f32 - 8.0) / 8.0)
            .collect::<Vec<_>>();
        let input = Tensor::from_vec(input, (1, ROWS, WIDTH), weights.device())
            .and_then(|input| input.broadcast_as((chains, ROWS, WIDTH))?.contiguous())
            .map_err(|error| error.to_string())?;
        Ok(Self { layers, input })
    }

    /// Runs all layers; gives one number within −1..1 that every weight has a part in.
    fn respond(&self) -> candle_core::Result<f32> {
        let mut values = self.input.clone();
        for layer in &self.layers {
            values = values.matmul(layer)?;
            let level = values.sqr()?.mean_keepdim((1, 2))?.sqrt()?;
            values = values.broadcast_div(&level.maximum(f64::from(f32::MIN_POSITIVE))?)?;
        }
        let ends = values
            .narrow(1, 0, 1)?
            .narrow(2, 0, 1)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        let mean = ends.iter().map(|end| f64::from(*end)).sum::<f64>() / ends.len() as f64;
        Ok(mean.tanh() as f32)
    }
}

/// A weight group of the weighted generator, as the stage knows it.
pub(crate) struct Group {
    name: &'static str,
    image: Arc<PackedImage>,
    chains: usize,
    /// The way to the device, where the stage is one's.
    lane: Option<Arc<dyn DeviceLane>>,
    slot: ModuleSlot<Arc<Network>>,
    /// The modules over the group's place on the device: built once, since that never changes.
    on_device: OnceLock<Arc<Network>>,
    /// What the network of this image answers on the CPU.
    fingerprint: f32,
    /// Bits of what it answers where it runs.
    expected: AtomicU32,
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
    pub(crate) fn new(
        name: &'static str,
        bytes: u64,
        seed: u64,
        lane: Option<Arc<dyn DeviceLane>>,
    ) -> Result<Self, GenerateError> {
        let chains = bytes.div_ceil(CHAIN_BYTES).max(1);
        let chains = usize::try_from(chains)
            .ok()
            .filter(|chains| chains.checked_mul(CHAIN_BYTES as usize).is_some())
            .ok_or_else(|| {
                GenerateError::OutOfMemory(format!(
                    "{bytes} bytes of weights for {name} are more than this machine can address"
                ))
            })?;
        let image = random_image(chains, seed)?;
        let fingerprint = Network::build(&HostWeights::new(&image), chains)
            .map_err(GenerateError::Compute)?
            .respond()
            .map_err(compute)?;
        Ok(Self {
            name,
            image,
            chains,
            lane,
            slot: ModuleSlot::new(name),
            on_device: OnceLock::new(),
            fingerprint,
            expected: AtomicU32::new(fingerprint.to_bits()),
            runs: AtomicU64::new(0),
            response: AtomicU32::new(f32::NAN.to_bits()),
        })
    }

    fn expected(&self) -> f32 {
        f32::from_bits(self.expected.load(Ordering::Relaxed))
    }

    /// The modules at the group's place on the device. The first time, what they answer there is held against the CPU.
    fn device_network(&self, address: u64) -> Result<Arc<Network>, String> {
        if let Some(network) = self.on_device.get() {
            return Ok(Arc::clone(network));
        }
        let lane = self.lane.as_ref().ok_or("it was given no lane of the device")?;
        let network = Network::build(&*lane.weights(&self.image, address)?, self.chains)?;
        let response = network.respond().map_err(|error| error.to_string())?;
        if (response - self.fingerprint).abs() > DEVICE_TOLERANCE {
            let wanted = self.fingerprint;
            return Err(format!(
                "its weights answer {response} on the device and {wanted} on the CPU"
            ));
        }
        self.expected.store(response.to_bits(), Ordering::Relaxed);
        Ok(Arc::clone(self.on_device.get_or_init(|| Arc::new(network))))
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
        let mut response = self.expected();
        for _ in 0..repetitions.max(1) {
            if cancel.is_raised() {
                return Err(GenerateError::Cancelled);
            }
            response = network.respond().map_err(compute)?;
            self.runs.fetch_add(1, Ordering::Relaxed);
        }
        self.response.store(response.to_bits(), Ordering::Relaxed);
        Ok(1.0 + (response - self.expected()))
    }

    /// What a run of the modules needs of a device beside them: a few sets of activations. In system RAM nobody counts them.
    pub(crate) fn workspace_bytes(&self) -> u64 {
        let activations = (self.chains * ROWS * WIDTH * size_of::<f32>()) as u64;
        if self.lane.is_some() { 4 * activations } else { 0 }
    }

    /// Bits that tell this group's weights from others.
    pub(crate) fn fingerprint(&self) -> [u8; 4] {
        self.fingerprint.to_le_bytes()
    }

    pub(crate) fn report(&self) -> GroupReport {
        GroupReport {
            name: self.name,
            weights_bytes: self.weights_bytes(),
            runs: self.runs.load(Ordering::Relaxed),
            response: f32::from_bits(self.response.load(Ordering::Relaxed)),
            response_expected: self.expected(),
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
        self.image.bytes().len() as u64
    }

    fn image(&self) -> Option<Arc<HostImage>> {
        self.lane.as_ref().map(|_| Arc::clone(&self.image) as Arc<HostImage>)
    }

    fn attach(&self, home: &Home) -> Result<(), String> {
        let network = match home {
            Home::Ram => Arc::new(Network::build(&HostWeights::new(&self.image), self.chains)?),
            Home::Device(home) => self.device_network(home.address)?,
        };
        self.slot.fill(network);
        Ok(())
    }

    fn detach(&self) -> bool {
        self.slot.clear()
    }
}

/// Random layers, made once.
fn random_image(chains: usize, seed: u64) -> Result<Arc<PackedImage>, GenerateError> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let image = PackedImage::in_memory(|builder| {
        for depth in 0..DEPTH {
            let layers = (0..chains * WIDTH * WIDTH)
                .map(|_| (random.next_u32() >> 8) as f32 / 8_388_608.0 - 1.0)
                .collect::<Vec<_>>();
            builder.tensor(&depth.to_string(), &[chains, WIDTH, WIDTH], DType::F32, &layers)?;
        }
        Ok(())
    });
    image.map_err(|error| GenerateError::OutOfMemory(error.to_string()))
}

fn compute(error: candle_core::Error) -> GenerateError {
    GenerateError::Compute(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(seed: u64) -> Group {
        Group::new("dit", 3 * CHAIN_BYTES, seed, None).unwrap()
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
        for (depth, chain, row, column) in [(0, 0, 0, 0), (1, 1, 5, 17), (DEPTH - 1, 2, 255, 255)] {
            let network = Network::build(&HostWeights::new(&group.image), group.chains).unwrap();
            let mut layers = network.layers.clone();
            let mut values = layers[depth].flatten_all().unwrap().to_vec1::<f32>().unwrap();
            values[(chain * WIDTH + row) * WIDTH + column] += 0.5;
            layers[depth] = Tensor::from_vec(values, (group.chains, WIDTH, WIDTH), &candle_core::Device::Cpu).unwrap();
            let input = network.input.clone();
            group.slot.fill(Arc::new(Network { layers, input }));
            assert_ne!(group.run(1, &CancelFlag::new()).unwrap(), 1.0, "depth {depth}");
        }
        let fingerprint = |seed| Group::new("dit", CHAIN_BYTES, seed, None).unwrap().fingerprint();
        assert_ne!(fingerprint(2), fingerprint(1));
    }

    #[test]
    fn sizes_are_whole_chains() {
        let bytes = |bytes| Group::new("vae", bytes, 1, None).unwrap().weights_bytes();
        assert_eq!(bytes(0), CHAIN_BYTES);
        assert_eq!(bytes(CHAIN_BYTES + 1), 2 * CHAIN_BYTES);
    }

    #[test]
    fn a_group_without_a_lane_has_nothing_for_a_device() {
        assert!(group(1).image().is_none());
        let home = Home::Device(greenroom_stage::DeviceHome {
            address: 0,
            bytes: CHAIN_BYTES,
        });
        assert!(group(1).attach(&home).unwrap_err().contains("no lane"));
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
