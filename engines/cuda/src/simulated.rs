//! A device that is not there: memory, addresses and access as the CUDA driver keeps them, so that the stage's logic runs where there is
//! no GPU. It refuses every call that a driver would refuse, and forgets what is unmapped.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use greenroom_stage::HostImage;

use crate::driver::{Driver, DriverError, Handle, Memory, Pool};

pub(crate) const GRANULE: u64 = 64;
/// Held by the context, whatever we do.
const CONTEXT: u64 = 10 * GRANULE;

#[derive(Default)]
struct Device {
    total: u64,
    foreign: u64,
    pool: Pool,
    /// Physical memory: its length, and whether the handle is still held.
    memory: BTreeMap<Handle, (u64, bool)>,
    /// Reserved addresses and their length.
    reserved: BTreeMap<u64, u64>,
    /// What is mapped at an address.
    mapped: BTreeMap<u64, Mapped>,
    next: u64,
    trims: Vec<u64>,
    /// Of what the pool has in use, what work that is under way will have freed.
    pending: u64,
    /// How often every lane was waited for.
    drains: u32,
    pinned: usize,
    finished: Vec<u64>,
}

struct Mapped {
    memory: Handle,
    granted: bool,
    bytes: Vec<u8>,
}

pub(crate) struct SimulatedDriver(Mutex<Device>);

impl SimulatedDriver {
    pub(crate) fn new(granules: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Device {
            total: granules * GRANULE + CONTEXT,
            next: 1,
            ..Device::default()
        })))
    }

    fn device(&self) -> MutexGuard<'_, Device> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another process holds so much.
    pub(crate) fn set_foreign(&self, bytes: u64) {
        self.device().foreign = bytes;
    }

    /// Work has a pool of so much, and uses so much of it.
    pub(crate) fn set_pool(&self, reserved: u64, used: u64) {
        self.device().pool = Pool {
            reserved,
            used,
            ..Pool::default()
        };
    }

    /// What the device holds at an address.
    pub(crate) fn read(&self, address: u64, length: u64) -> Vec<u8> {
        let device = self.device();
        let mapped = device.mapped.get(&address).expect("nothing is mapped there");
        assert!(mapped.granted, "the device may not read there");
        mapped.bytes[..length as usize].to_vec()
    }

    /// Bytes of physical memory in use, addresses reserved, images pinned.
    pub(crate) fn holdings(&self) -> (u64, usize, usize) {
        let device = self.device();
        (device.used(), device.reserved.len(), device.pinned)
    }

    /// Lanes will have freed so much of what they use when they have come so far.
    pub(crate) fn set_pending(&self, bytes: u64) {
        self.device().pending = bytes;
    }

    /// How often every lane was waited for.
    pub(crate) fn drains(&self) -> u32 {
        self.device().drains
    }

    /// What the pool was trimmed to, each time.
    pub(crate) fn trims(&self) -> Vec<u64> {
        self.device().trims.clone()
    }

    /// Addresses whose users were waited for.
    pub(crate) fn finished(&self) -> Vec<u64> {
        self.device().finished.clone()
    }
}

impl Device {
    fn used(&self) -> u64 {
        self.memory.values().map(|(bytes, _)| bytes).sum()
    }

    fn free(&self) -> u64 {
        self.total
            .saturating_sub(self.used() + self.foreign + self.pool.reserved + CONTEXT)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Memory without a handle and without a mapping is gone.
    fn sweep(&mut self) {
        let Self { memory, mapped, .. } = self;
        memory.retain(|handle, (_, held)| *held || mapped.values().any(|mapped| mapped.memory == *handle));
    }
}

fn refuse<T>(call: &'static str, code: u32) -> Result<T, DriverError> {
    Err(DriverError {
        call,
        code,
        words: "refused by the simulation".into(),
    })
}

const INVALID_VALUE: u32 = 1;
const OUT_OF_MEMORY: u32 = 2;

impl Driver for SimulatedDriver {
    fn describe(&self) -> String {
        "a GPU that is not there".into()
    }

    fn granule(&self) -> u64 {
        GRANULE
    }

    fn memory(&self) -> Result<Memory, DriverError> {
        let device = self.device();
        Ok(Memory {
            total: device.total,
            free: device.free(),
        })
    }

    fn pool(&self) -> Result<Pool, DriverError> {
        Ok(self.device().pool)
    }

    fn drain(&self) -> Result<(), DriverError> {
        let mut device = self.device();
        device.pool.used -= std::mem::take(&mut device.pending);
        device.drains += 1;
        Ok(())
    }

    fn trim(&self, keep: u64) -> Result<(), DriverError> {
        let mut device = self.device();
        device.trims.push(keep);
        device.pool.reserved = device.pool.reserved.min(keep.max(device.pool.used));
        Ok(())
    }

    fn reserve(&self, bytes: u64) -> Result<u64, DriverError> {
        let mut device = self.device();
        let address = device.number() << 32;
        device.reserved.insert(address, bytes);
        Ok(address)
    }

    fn unreserve(&self, address: u64, bytes: u64) {
        let mut device = self.device();
        assert_eq!(device.reserved.remove(&address), Some(bytes));
        assert!(!device.mapped.contains_key(&address), "something is mapped there");
    }

    fn pin(&self, image: Arc<HostImage>) -> Result<Arc<HostImage>, DriverError> {
        self.device().pinned += 1;
        Ok(image)
    }

    fn create(&self, bytes: u64) -> Result<Handle, DriverError> {
        let mut device = self.device();
        if bytes == 0 || !bytes.is_multiple_of(GRANULE) {
            return refuse("create", INVALID_VALUE);
        }
        if bytes > device.free() {
            return refuse("create", OUT_OF_MEMORY);
        }
        let handle = device.number();
        device.memory.insert(handle, (bytes, true));
        Ok(handle)
    }

    fn map(&self, address: u64, bytes: u64, memory: Handle) -> Result<(), DriverError> {
        let mut device = self.device();
        let held = device.memory.get(&memory) == Some(&(bytes, true));
        let room = device.reserved.get(&address) == Some(&bytes) && !device.mapped.contains_key(&address);
        if !held || !room {
            return refuse("map", INVALID_VALUE);
        }
        let mapped = Mapped {
            memory,
            granted: false,
            // Fresh memory is not the old contents.
            bytes: vec![0xcd; bytes as usize],
        };
        device.mapped.insert(address, mapped);
        Ok(())
    }

    fn release(&self, memory: Handle) -> Result<(), DriverError> {
        let mut device = self.device();
        match device.memory.get_mut(&memory) {
            Some((_, held)) if *held => *held = false,
            _ => return refuse("release", INVALID_VALUE),
        }
        device.sweep();
        Ok(())
    }

    fn grant(&self, address: u64, _bytes: u64) -> Result<(), DriverError> {
        match self.device().mapped.get_mut(&address) {
            Some(mapped) => mapped.granted = true,
            None => return refuse("grant", INVALID_VALUE),
        }
        Ok(())
    }

    fn copy(&self, address: u64, image: &HostImage) -> Result<(), DriverError> {
        match self.device().mapped.get_mut(&address) {
            Some(mapped) if mapped.granted => mapped.bytes[..image.as_ref().len()].copy_from_slice(image.as_ref()),
            _ => return refuse("copy", INVALID_VALUE),
        }
        Ok(())
    }

    fn finish(&self, address: u64) -> Result<(), DriverError> {
        self.device().finished.push(address);
        Ok(())
    }

    fn unmap(&self, address: u64, _bytes: u64) -> Result<(), DriverError> {
        let mut device = self.device();
        if device.mapped.remove(&address).is_none() {
            return refuse("unmap", INVALID_VALUE);
        }
        device.sweep();
        Ok(())
    }
}
