//! A weight group of the generator, as the stage moves it.

use std::sync::{Arc, OnceLock};

use candle_core::Device;
use greenroom_generator::GenerateError;
use greenroom_stage::{GroupClass, Home, HostImage, ModuleLease, ModuleSlot, Tenant};
use greenroom_weights::{DeviceLane, HostWeights, PackedImage, WeightSource};

use crate::worn::Worn;

/// The ways to a device: each lane's work is ordered by itself, so sources are encoded beside a stream that plays.
#[derive(Clone)]
pub struct Lanes {
    /// Where uploads are encoded.
    pub work: Arc<dyn DeviceLane>,
    /// Where prompts are encoded, and where a stream ticks and is decoded.
    pub live: Arc<dyn DeviceLane>,
}

/// A group's tensors, as each lane takes them. In system RAM both are the same.
pub(crate) struct Sources<'a> {
    pub(crate) work: &'a dyn WeightSource,
    pub(crate) live: &'a dyn WeightSource,
    on_device: bool,
}

impl Sources<'_> {
    /// Whether they are views of a device's memory, which outlive a parking.
    pub(crate) fn on_device(&self) -> bool {
        self.on_device
    }
}

/// A network as each lane computes it.
pub(crate) struct Both<N> {
    pub(crate) work: Arc<N>,
    pub(crate) live: Arc<N>,
}

impl<N> Both<N> {
    /// Builds it once where lanes make no difference.
    pub(crate) fn build<E>(
        sources: &Sources<'_>,
        build: impl Fn(&dyn WeightSource) -> Result<N, E>,
    ) -> Result<Self, E> {
        let live = Arc::new(build(sources.live)?);
        let work = if sources.on_device {
            Arc::new(build(sources.work)?)
        } else {
            Arc::clone(&live)
        };
        Ok(Self { work, live })
    }
}

type Build<N> = Box<dyn Fn(&Sources<'_>) -> Result<N, String> + Send + Sync>;

/// Image and modules of one group.
pub(crate) struct Group<N> {
    name: &'static str,
    image: Arc<PackedImage>,
    lanes: Option<Lanes>,
    build: Build<N>,
    slot: ModuleSlot<Arc<N>>,
    /// The modules over the group's place on the device: built once, since that never changes.
    on_device: OnceLock<Arc<N>>,
    /// Where those lie.
    address: OnceLock<u64>,
    /// LoRAs that are to be in the weights, where a group has any.
    worn: Option<Arc<Worn>>,
}

impl<N> Group<N> {
    /// A parked group. With `lanes` it is for the stage of their device, else for the CPU's.
    pub(crate) fn new(
        name: &'static str,
        image: Arc<PackedImage>,
        lanes: Option<Lanes>,
        build: impl Fn(&Sources<'_>) -> Result<N, String> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Self::with_loras(name, image, lanes, None, build)
    }

    /// The same, with LoRAs in its weights. On the CPU `build` puts them in.
    pub(crate) fn with_loras(
        name: &'static str,
        image: Arc<PackedImage>,
        lanes: Option<Lanes>,
        worn: Option<Arc<Worn>>,
        build: impl Fn(&Sources<'_>) -> Result<N, String> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            image,
            lanes,
            build: Box::new(build),
            slot: ModuleSlot::new(name),
            on_device: OnceLock::new(),
            address: OnceLock::new(),
            worn,
        })
    }

    /// The group's weights in system RAM.
    pub(crate) fn packed(&self) -> &Arc<PackedImage> {
        &self.image
    }

    /// The modules, while the caller holds the stage's lease.
    ///
    /// # Errors
    /// `NotResident` while the group is parked.
    pub(crate) fn lease(&self) -> Result<ModuleLease<Arc<N>>, GenerateError> {
        self.slot
            .lease()
            .map_err(|parked| GenerateError::NotResident(parked.group))
    }

    fn device_modules(&self, address: u64) -> Result<Arc<N>, String> {
        if let Some(modules) = self.on_device.get() {
            return Ok(Arc::clone(modules));
        }
        let lanes = self.lanes.as_ref().ok_or("it was given no lanes of the device")?;
        let (work, live) = (
            lanes.work.weights(&self.image, address)?,
            lanes.live.weights(&self.image, address)?,
        );
        let modules = (self.build)(&Sources {
            work: &*work,
            live: &*live,
            on_device: true,
        })?;
        Ok(Arc::clone(self.on_device.get_or_init(|| Arc::new(modules))))
    }

    /// Puts a set of LoRAs into the weights, while the caller holds the stage's lease and nobody computes with them. Gives whether they
    /// changed; modules that were leased before are of the old ones then.
    ///
    /// # Errors
    /// In words, why the weights could not be changed.
    pub(crate) fn wear(&self, set: &greenroom_dit::LoraSet) -> Result<bool, String> {
        let Some(worn) = &self.worn else {
            return Ok(false);
        };
        let other = worn.enable(set);
        // A parked group has no memory to change: its next restore brings the set.
        let Ok(_lease) = self.slot.lease() else {
            return Ok(other);
        };
        if let (Some(lanes), Some(address)) = (&self.lanes, self.address.get()) {
            return worn.changed(&self.image, &*lanes.live.weights(&self.image, *address)?);
        }
        if other {
            self.slot.fill(self.host_modules()?);
        }
        Ok(other)
    }

    fn host_modules(&self) -> Result<Arc<N>, String> {
        let weights = HostWeights::new(&self.image);
        (self.build)(&Sources {
            work: &weights,
            live: &weights,
            on_device: false,
        })
        .map(Arc::new)
    }
}

impl<N: Send + Sync> Tenant for Group<N> {
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
        self.lanes.as_ref().map(|_| Arc::clone(&self.image) as Arc<HostImage>)
    }

    fn attach(&self, home: &Home) -> Result<(), String> {
        let modules = match home {
            Home::Ram => self.host_modules()?,
            Home::Device(home) => {
                let modules = self.device_modules(home.address)?;
                // Last of all, so that what was parked comes back as it was.
                if let (Some(worn), Some(lanes)) = (&self.worn, &self.lanes) {
                    let address = *self.address.get_or_init(|| home.address);
                    worn.restored(&self.image, &*lanes.live.weights(&self.image, address)?)?;
                }
                modules
            }
        };
        self.slot.fill(modules);
        Ok(())
    }

    fn detach(&self) -> bool {
        self.slot.clear()
    }
}

/// Where a lane computes.
pub(crate) fn device(lane: Option<&Arc<dyn DeviceLane>>) -> Device {
    lane.map_or(Device::Cpu, |lane| lane.device().clone())
}
