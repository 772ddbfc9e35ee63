//! The stage over a driver: who is on the device, and how they come and go.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use greenroom_stage::{DeviceHome, Home, HostImage, MemoryModel, Reading, Stage, StageError, Tenant, Workspace};

use crate::{
    driver::{Driver, DriverError, Severity},
    ledger::{Figures, whole_granules},
};

/// A weight group and its place.
struct Site {
    tenant: Arc<dyn Tenant>,
    /// `None` for a tenant whose modules live in system RAM.
    place: Option<Place>,
    /// One move of the group at a time.
    moving: Mutex<()>,
}

/// A group's addresses, and what belongs there.
struct Place {
    home: DeviceHome,
    /// Bytes of whole granules.
    mapped: u64,
    image: Arc<HostImage>,
}

struct House {
    model: MemoryModel,
    sites: BTreeMap<&'static str, Arc<Site>>,
    /// Bytes that are mapped now. The model counts a group from the beginning of its restore to the end of its park.
    mapped: u64,
    /// Room of what libraries take by themselves: workspaces to the model, and nothing of the pool's.
    beside: u64,
    /// What the driver counted beside ours.
    baseline: u64,
    lost: Option<String>,
}

/// Weight groups on a GPU, admitted by peak before anything is loaded, and never by more than the driver says is there.
#[derive(Clone)]
pub struct CudaStage(Arc<Inner>);

struct Inner {
    driver: Arc<dyn Driver>,
    house: Mutex<House>,
}

impl CudaStage {
    /// A stage over `driver` that uses at most `budget` bytes for weights and workspaces; all of the device without one.
    ///
    /// # Errors
    /// `DeviceLost`, `Refused`: the driver says nothing of its memory.
    pub fn over(driver: Arc<dyn Driver>, budget: Option<u64>) -> Result<Self, StageError> {
        let explain = |error: DriverError| error.for_stage(0, 0);
        let figures = Figures::of(
            driver.memory().map_err(explain)?,
            driver.pool().map_err(explain)?,
            (0, 0),
            0,
        );
        let capacity = budget.map_or(figures.total, |budget| budget.min(figures.total));
        let house = House {
            model: MemoryModel::new(capacity),
            sites: BTreeMap::new(),
            mapped: 0,
            beside: 0,
            baseline: figures.others(),
            lost: None,
        };
        Ok(Self(Arc::new(Inner {
            driver,
            house: Mutex::new(house),
        })))
    }

    /// The driver's figures beside ours.
    ///
    /// # Errors
    /// `DeviceLost`.
    pub fn figures(&self) -> Result<Figures, StageError> {
        let mut house = self.house();
        self.read_driver(&mut house)
    }

    /// Takes everything that is held now for what libraries and kernels need: to be called when they are warm.
    ///
    /// # Errors
    /// `DeviceLost`.
    pub fn settle(&self) -> Result<Figures, StageError> {
        let mut house = self.house();
        house.baseline = self.read_driver(&mut house)?.others();
        self.read_driver(&mut house)
    }

    /// Says that work on a lane met an error after which the device is lost: nothing works from now on.
    pub fn lose(&self, reason: &str) {
        self.house().lost.get_or_insert_with(|| reason.into());
    }

    fn house(&self) -> MutexGuard<'_, House> {
        self.0.house.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn site(&self, house: &House, group: &str) -> Result<Arc<Site>, StageError> {
        let site = house.sites.get(group).cloned();
        site.ok_or_else(|| StageError::NotRegistered(group.into()))
    }

    /// The driver's figures; after a sticky error the house knows that the device is lost.
    fn read_driver(&self, house: &mut House) -> Result<Figures, StageError> {
        let driver = &self.0.driver;
        let figures = driver.memory().and_then(|memory| {
            Ok(Figures::of(
                memory,
                driver.pool()?,
                (house.mapped, house.beside),
                house.baseline,
            ))
        });
        figures.map_err(|error| house.note(error, 0, 0))
    }

    /// Lets the model see what others hold of the budget.
    fn compare(&self, house: &mut House) -> Result<Figures, StageError> {
        house.expect_alive()?;
        let figures = self.read_driver(house)?;
        let budget = house.model.read().capacity;
        let admitted = house.model.workspace_bytes();
        house.model.set_foreign(figures.cut(budget, admitted));
        Ok(figures)
    }

    /// Puts memory behind a place's addresses and the image into it: all of it or nothing.
    fn fill(&self, place: &Place) -> Result<(), StageError> {
        let driver = &self.0.driver;
        let (address, bytes) = (place.home.address, place.mapped);
        let mut house = self.house();
        let free = house.model.free_bytes() + bytes;
        let memory = driver.create(bytes).map_err(|error| house.note(error, bytes, free))?;
        house.mapped += bytes;
        if let Err(error) = driver.map(address, bytes, memory) {
            // Nothing is mapped, so the memory is free when it is let go of.
            let let_go = driver.release(memory);
            house.mapped -= bytes;
            house.expect_undone(let_go);
            return Err(house.note(error, bytes, free));
        }
        // From now on it lives as long as it is mapped, and one call gives it back.
        let mapped = driver.release(memory).and_then(|()| driver.grant(address, bytes));
        drop(house);
        let filled = mapped.and_then(|()| driver.copy(address, &*place.image));
        filled.map_err(|error| {
            self.empty(place);
            self.house().note(error, bytes, free)
        })
    }

    /// Takes the memory away from a place that could not be filled or used.
    fn empty(&self, place: &Place) {
        let mut house = self.house();
        let unmapped = self.0.driver.unmap(place.home.address, place.mapped);
        house.mapped -= place.mapped;
        house.expect_undone(unmapped);
    }

    /// Waits for whoever still reads the group, and takes its memory away.
    fn clear(&self, place: &Place) -> Result<(), StageError> {
        let finished = self.0.driver.finish(place.home.address);
        let mut house = self.house();
        finished
            .and_then(|()| self.0.driver.unmap(place.home.address, place.mapped))
            .map_err(|error| house.note(error, 0, 0))?;
        house.mapped -= place.mapped;
        Ok(())
    }

    /// `beside` of its bytes were a library's own.
    fn give_back(&self, workspace: u64, beside: u64) {
        let mut house = self.house();
        house.model.free_workspace(workspace);
        house.beside -= beside;
        if house.lost.is_none() {
            self.trim(&mut house);
        }
    }

    /// Claims room in the model. Where there is none, and lanes have more in use than was admitted, it is asked again when they have freed
    /// what they are about to free.
    fn claim<T>(
        &self,
        house: &mut House,
        claim: impl Fn(&mut MemoryModel) -> Result<T, StageError>,
    ) -> Result<(T, Figures), StageError> {
        let figures = self.compare(house)?;
        let freeing = figures.pool.used > house.pooled();
        match claim(&mut house.model) {
            Err(StageError::OutOfMemory { .. }) if freeing => {}
            claimed => return claimed.map(|claimed| (claimed, figures)),
        }
        self.drain(house);
        let figures = self.compare(house)?;
        claim(&mut house.model).map(|claimed| (claimed, figures))
    }

    /// Makes claimed room free: what the pool keeps for later was counted as there to be given.
    fn have_free(&self, house: &mut House, figures: &Figures, bytes: u64) {
        if figures.free < bytes {
            self.drain(house);
            self.trim(house);
        }
    }

    /// Waits for what every lane was given so far. Whoever asks next hears of a lost device.
    fn drain(&self, house: &mut House) {
        if let Err(error) = self.0.driver.drain() {
            house.note(error, 0, 0);
        }
    }

    /// Leaves the pool what workspaces were promised. Nobody waits for an answer: whoever asks next hears of a lost device. Nor for a lane:
    /// whoever gives a workspace back has seen the results of its own, and ticks must not wait for an upload that is being encoded.
    fn trim(&self, house: &mut House) {
        let keep = house.pooled();
        if let Err(error) = self.0.driver.trim(keep) {
            house.note(error, 0, 0);
        }
    }
}

impl House {
    /// What workspaces may take of the pool.
    fn pooled(&self) -> u64 {
        self.model.workspace_bytes().saturating_sub(self.beside)
    }

    fn expect_alive(&self) -> Result<(), StageError> {
        match &self.lost {
            Some(reason) => Err(StageError::DeviceLost(reason.clone())),
            None => Ok(()),
        }
    }

    /// Remembers a sticky error.
    fn note(&mut self, error: DriverError, needed: u64, free: u64) -> StageError {
        if error.severity() == Severity::Lost {
            self.lost.get_or_insert_with(|| error.to_string());
        }
        error.for_stage(needed, free)
    }

    /// What was begun must be undone: where that is refused too, nobody knows what the device holds.
    fn expect_undone(&mut self, undone: Result<(), DriverError>) {
        if let Err(error) = undone {
            self.lost
                .get_or_insert_with(|| format!("a move that failed could not be undone: {error}"));
        }
    }
}

impl Site {
    fn home(&self) -> Home {
        self.place.as_ref().map_or(Home::Ram, |place| Home::Device(place.home))
    }

    fn attach(&self) -> Result<(), StageError> {
        self.tenant
            .attach(&self.home())
            .map_err(|reason| StageError::BuildFailed {
                group: self.tenant.name().into(),
                reason,
            })
    }

    fn hold(&self) -> MutexGuard<'_, ()> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stage for CudaStage {
    fn device(&self) -> String {
        let capacity = self.house().model.read().capacity;
        format!(
            "{}, {} MiB for weights and workspaces",
            self.0.driver.describe(),
            capacity >> 20
        )
    }

    fn register(&self, tenant: Arc<dyn Tenant>) -> Result<(), StageError> {
        let name = tenant.name();
        let driver = &self.0.driver;
        let mut house = self.house();
        house.expect_alive()?;
        if house.sites.contains_key(name) {
            return Err(StageError::RegisteredTwice(name.into()));
        }
        let place = match tenant.image() {
            None => None,
            Some(image) => {
                let bytes = (*image).as_ref().len() as u64;
                let mapped = whole_granules(bytes, driver.granule());
                let image = driver.pin(image).map_err(|error| match error.severity() {
                    Severity::OutOfMemory => StageError::HostMemory { group: name.into() },
                    _ => house.note(error, mapped, 0),
                })?;
                let address = driver.reserve(mapped).map_err(|error| house.note(error, mapped, 0))?;
                let home = DeviceHome { address, bytes };
                Some(Place { home, mapped, image })
            }
        };
        let bytes = place.as_ref().map_or(0, |place| place.mapped);
        house.model.register(name, bytes)?;
        let site = Site {
            tenant,
            place,
            moving: Mutex::new(()),
        };
        house.sites.insert(name, Arc::new(site));
        Ok(())
    }

    fn restore(&self, group: &str) -> Result<(), StageError> {
        let site = self.site(&self.house(), group)?;
        let _one_move = site.hold();
        {
            let mut house = self.house();
            let ((), figures) = self.claim(&mut house, |model| model.restore(group))?;
            if let Some(place) = &site.place {
                self.have_free(&mut house, &figures, place.mapped);
            }
        }
        let restored = match &site.place {
            None => site.attach(),
            Some(place) => self
                .fill(place)
                .and_then(|()| site.attach().inspect_err(|_| self.empty(place))),
        };
        if restored.is_err() {
            self.house().model.park(group)?;
        }
        restored
    }

    fn park(&self, group: &str) -> Result<(), StageError> {
        let site = self.site(&self.house(), group)?;
        let _one_move = site.hold();
        {
            let mut house = self.house();
            house.expect_alive()?;
            if house.model.is_resident(group) != Some(true) {
                return house.model.park(group);
            }
        }
        if !site.tenant.detach() {
            return Err(StageError::InUse { group: group.into() });
        }
        if let Some(place) = &site.place
            && let Err(error) = self.clear(place)
        {
            // It is still there; on a device that is lost nobody shall use it.
            if !matches!(error, StageError::DeviceLost(_)) {
                site.attach()?;
            }
            return Err(error);
        }
        self.house().model.park(group)
    }

    fn admit(&self, bytes: u64) -> Result<Workspace, StageError> {
        let mut house = self.house();
        let (number, _) = self.claim(&mut house, |model| model.admit(bytes))?;
        let stage = self.clone();
        Ok(Workspace::new(move || stage.give_back(number, 0)))
    }

    fn admit_beside(&self, bytes: u64) -> Result<Workspace, StageError> {
        let mut house = self.house();
        let (number, figures) = self.claim(&mut house, |model| model.admit(bytes))?;
        house.beside += bytes;
        self.have_free(&mut house, &figures, bytes);
        let stage = self.clone();
        Ok(Workspace::new(move || stage.give_back(number, bytes)))
    }

    fn read(&self) -> Reading {
        let mut house = self.house();
        // A device that is lost has no figures: the last ones stand.
        let _ = self.compare(&mut house);
        house.model.read()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let house = self.house.get_mut().unwrap_or_else(PoisonError::into_inner);
        for place in house.sites.values().filter_map(|site| site.place.as_ref()) {
            // Of a group that is parked nothing is mapped, and of a device that is lost nothing can be had: then there is nothing to do,
            // and a process that ends gives everything back in any case.
            let _ = self.driver.finish(place.home.address);
            let _ = self.driver.unmap(place.home.address, place.mapped);
            self.driver.unreserve(place.home.address, place.mapped);
        }
    }
}
