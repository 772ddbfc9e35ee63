//! A disk in memory that forgets what was not synced, fills up, turns read-only, and crashes at a chosen step.
//!
//! What a crash leaves: of a file, its last synced content, or, if it never was synced, nothing, a part, all, or a part
//! and zeros. Of names, a set of changes in which nothing rests on a change that was lost: a directory's changes last in
//! their order, a renaming lasts in both directories or in none, and [`Disk::sync_dir`] makes a directory's changes
//! last together with all they rest on. That is less than journaling file systems promise.

mod state;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Disk, DiskEntry, DiskFile, EntryKind};
use state::{Chance, Content, Directory, Hit, Inode, Node, ROOT, State, components};

/// What goes wrong at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// The machine stops before the step; every call fails until [`MemoryDisk::reboot`].
    Crash,
    /// The step fails for want of room.
    Full,
    /// The step fails because the medium cannot be written.
    ReadOnly,
    /// The step fails with an input/output error.
    Failing,
    /// A sync says that it is done and does nothing; other steps are as ever.
    Lying,
}

impl DiskFault {
    fn error(self) -> io::Error {
        match self {
            Self::Crash => io::Error::other("the simulated machine has crashed"),
            Self::Full => io::ErrorKind::StorageFull.into(),
            Self::ReadOnly => io::ErrorKind::ReadOnlyFilesystem.into(),
            Self::Failing | Self::Lying => io::Error::other("the simulated medium fails"),
        }
    }
}

/// The disk. Copies are the same disk, as are all files opened on it.
#[derive(Clone, Debug)]
pub struct MemoryDisk(Arc<Mutex<State>>);

impl MemoryDisk {
    /// An empty disk with this much room for file contents.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Self {
        let root = BTreeMap::from([(ROOT, Directory::new())]);
        Self(Arc::new(Mutex::new(State {
            files: BTreeMap::new(),
            now: root.clone(),
            durable: root,
            pending: Vec::new(),
            next: ROOT + 1,
            steps: 0,
            trace: Vec::new(),
            faults: Vec::new(),
            crashed: false,
            boots: 0,
            capacity_bytes,
            locks: BTreeSet::new(),
        })))
    }

    /// How many steps (calls that change something, or would) were made so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// The first ten thousand steps, for people who ask where a fault hit.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.state().trace.clone()
    }

    /// Lets one step fail, counted from the disk's first.
    pub fn fail_at(&self, step: u64, fault: DiskFault) {
        self.state().faults.push((Hit::Step(step), fault));
    }

    /// Lets every step fail from this one on.
    pub fn fail_from(&self, step: u64, fault: DiskFault) {
        self.state().faults.push((Hit::From(step), fault));
    }

    /// Ends all faults but a crash.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// Stops the machine now.
    pub fn crash(&self) {
        self.state().crashed = true;
    }

    /// Whether the machine has stopped.
    #[must_use]
    pub fn is_crashed(&self) -> bool {
        self.state().crashed
    }

    /// Starts the machine again after a crash (or pulls its plug); the seed chooses what was lost. Faults are over, and
    /// files opened before are dead.
    pub fn reboot(&self, seed: u64) {
        self.state().reboot(&mut Chance(seed));
    }

    /// Changes the room for file contents.
    pub fn set_capacity_bytes(&self, bytes: u64) {
        self.state().capacity_bytes = bytes;
    }

    /// Every file as the machine sees it.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        let mut found = BTreeMap::new();
        state.walk(ROOT, Path::new("/"), &mut |path, content| {
            found.insert(path, content.to_vec());
        });
        found
    }

    /// Puts a file there, directories and all, synced: what an operator or a failing medium may do.
    ///
    /// # Panics
    /// If a file is where a directory must be.
    pub fn plant(&self, path: &Path, content: &[u8]) {
        let mut state = self.state();
        let mut directory = ROOT;
        let mut names = components(path);
        let name = names.pop().expect("a path with a name");
        for name in names {
            directory = match state.now[&directory].get(&name) {
                Some(Node::Directory(inode)) => *inode,
                Some(Node::File(_)) => panic!("{name:?} is a file"),
                None => {
                    let inode = state.new_directory();
                    state.apply(vec![(directory, name, Some(Node::Directory(inode)))]);
                    inode
                }
            };
        }
        let inode = state.next;
        state.next += 1;
        let (now, synced) = (content.to_vec(), Some(content.to_vec()));
        state.files.insert(inode, Content { now, synced });
        state.apply(vec![(directory, name, Some(Node::File(inode)))]);
        state.persist_names(|_| true);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each step leaves the state whole, also one that panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    inode: Inode,
    path: PathBuf,
    boots: u64,
}

impl MemoryFile {
    /// Of the machine that opened the file: a later boot has closed it.
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.boots != self.boots {
            return Err(DiskFault::Crash.error());
        }
        Ok(state)
    }
}

impl Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state()?;
        state.step("write", &self.path)?;
        let room = usize::try_from(state.free_bytes()).unwrap_or(usize::MAX);
        let fitting = &bytes[..bytes.len().min(room)];
        if fitting.is_empty() && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let content = state.files.entry(self.inode).or_default();
        content.now.extend_from_slice(fitting);
        Ok(fitting.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.state()?;
        if state.sync_step("sync file", &self.path)? {
            let content = state.files.entry(self.inode).or_default();
            content.synced = Some(content.now.clone());
        }
        Ok(())
    }
}

struct MemoryLock {
    disk: MemoryDisk,
    path: PathBuf,
    boots: u64,
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.boots == self.boots {
            state.locks.remove(&self.path);
        }
    }
}

impl Disk for MemoryDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step("create directory", path)?;
        let Ok((parent, name)) = state.find_parent(path) else {
            // The root itself is always there.
            return Err(match path.file_name() {
                None => io::ErrorKind::AlreadyExists.into(),
                Some(_) => io::ErrorKind::NotFound.into(),
            });
        };
        if state.now[&parent].contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.new_directory();
        state.apply(vec![(parent, name, Some(Node::Directory(inode)))]);
        Ok(())
    }

    fn create_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.step("create file", path)?;
        let (parent, name) = state.find_parent(path)?;
        if state.now[&parent].contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.next;
        state.next += 1;
        state.files.insert(inode, Content::default());
        state.apply(vec![(parent, name, Some(Node::File(inode)))]);
        Ok(Box::new(MemoryFile {
            disk: self.clone(),
            inode,
            path: path.to_owned(),
            boots: state.boots,
        }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state();
        state.alive()?;
        match state.find(path)? {
            Node::File(inode) => Ok(state.files[&inode].now.clone()),
            Node::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step("rename", from)?;
        let (from_parent, from_name) = state.find_parent(from)?;
        let (to_parent, to_name) = state.find_parent(to)?;
        let found = state.now[&from_parent].get(&from_name);
        let node = *found.ok_or(io::Error::from(io::ErrorKind::NotFound))?;
        match (node, state.now[&to_parent].get(&to_name)) {
            (_, None) | (Node::File(_), Some(Node::File(_))) => {}
            (Node::Directory(_), Some(Node::Directory(there))) if state.now[there].is_empty() => {}
            (_, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
        }
        state.apply(vec![(from_parent, from_name, None), (to_parent, to_name, Some(node))]);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let done = state.sync_step("sync directory", path)?;
        let inode = state.find_directory(path)?;
        if done {
            state.persist_names(|other| other == inode);
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step("remove file", path)?;
        let (parent, name) = state.find_parent(path)?;
        match state.now[&parent].get(&name) {
            Some(Node::File(_)) => {}
            Some(Node::Directory(_)) => return Err(io::ErrorKind::IsADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        state.apply(vec![(parent, name, None)]);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step("remove directory", path)?;
        let inode = state.find_directory(path)?;
        if !state.now[&inode].is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (parent, name) = state.find_parent(path)?;
        state.apply(vec![(parent, name, None)]);
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>> {
        let state = self.state();
        state.alive()?;
        let inode = state.find_directory(path)?;
        let entries = state.now[&inode].iter().map(|(name, node)| DiskEntry {
            name: name.clone(),
            kind: match node {
                Node::File(inode) => EntryKind::File {
                    bytes: state.files[inode].now.len() as u64,
                },
                Node::Directory(_) => EntryKind::Directory,
            },
        });
        Ok(entries.collect())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let state = self.state();
        state.alive()?;
        Ok(state.free_bytes())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut state = self.state();
        state.step("lock", path)?;
        if !state.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemoryLock {
            disk: self.clone(),
            path: path.to_owned(),
            boots: state.boots,
        }))
    }
}
