//! A weight group of random bytes, for the conformance list and for measuring: its module is its place.

use std::sync::Arc;

use greenroom_stage::{DeviceHome, GroupClass, Home, HostImage, ModuleSlot, Tenant};
use greenroom_weights::{ImageError, PackedImage};

use candle_core::DType;

/// Bytes that are made at a time.
const BLOCK: usize = 16 << 20;

/// The group.
pub(super) struct Bytes {
    name: &'static str,
    pub(super) image: Arc<PackedImage>,
    slot: ModuleSlot<DeviceHome>,
}

impl Bytes {
    /// A parked group of so many bytes that the seed gives, page-locked as weights are.
    pub(super) fn random(name: &'static str, bytes: u64, seed: u64) -> Result<Arc<Self>, ImageError> {
        let mut random = Random(seed | 1);
        let image = PackedImage::in_memory(|builder| {
            let mut rest = usize::try_from(bytes)?;
            while rest > 0 {
                let block = rest.min(BLOCK);
                let values = random.bytes(block);
                builder.raw(&format!("{}", builder.len()), &[block], DType::U8, &values)?;
                rest -= block;
            }
            Ok(())
        })?;
        Ok(Self::over(name, image))
    }

    /// A parked group of this image.
    pub(super) fn over(name: &'static str, image: Arc<PackedImage>) -> Arc<Self> {
        Arc::new(Self {
            name,
            image,
            slot: ModuleSlot::new(name),
        })
    }

    /// Where it is, if it is on the device.
    pub(super) fn home(&self) -> Option<DeviceHome> {
        self.slot.lease().ok().map(|home| *home)
    }
}

impl Tenant for Bytes {
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
        Some(Arc::clone(&self.image) as Arc<HostImage>)
    }

    fn attach(&self, home: &Home) -> Result<(), String> {
        match home {
            Home::Device(home) => self.slot.fill(*home),
            Home::Ram => return Err("it is of a GPU, and was brought into RAM".into()),
        }
        Ok(())
    }

    fn detach(&self) -> bool {
        self.slot.clear()
    }
}

/// Numbers that look like chance and are the same for the same seed (xorshift64*).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}
