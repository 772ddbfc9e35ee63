//! A disk in memory that forgets what was not synced, fills up, turns read-only, and crashes at a chosen step.
//!
//! What a crash leaves: of a file, its last synced content, or, if it never was synced, nothing, a part, all, or a part
//! and zeros. Of names, a set of changes in which nothing rests on a change that was lost: a directory's changes last in
//! their order, a renaming lasts in both directories or in none, and [`Disk::sync_dir`] makes a directory's changes
//! last together with all they rest on. That is less than journaling file systems promise.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io::{self, Write},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Disk, DiskEntry, DiskFile, EntryKind};

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
}

impl DiskFault {
    fn error(self) -> io::Error {
        match self {
            Self::Crash => io::Error::other("the simulated machine has crashed"),
            Self::Full => io::ErrorKind::StorageFull.into(),
            Self::ReadOnly => io::ErrorKind::ReadOnlyFilesystem.into(),
            Self::Failing => io::Error::other("the simulated medium fails"),
        }
    }
}

/// Which steps a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hit {
    Step(u64),
    From(u64),
}

type Inode = u64;
type Directory = BTreeMap<OsString, Node>;

const ROOT: Inode = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(Inode),
    Directory(Inode),
}

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    synced: Option<Vec<u8>>,
}

/// A change of names that a crash may lose: what stands where afterwards.
#[derive(Debug)]
struct Change(Vec<(Inode, OsString, Option<Node>)>);

#[derive(Debug)]
struct State {
    files: BTreeMap<Inode, Content>,
    /// Directories as the running machine sees them.
    now: BTreeMap<Inode, Directory>,
    /// Directories as they are on the medium.
    durable: BTreeMap<Inode, Directory>,
    pending: Vec<Change>,
    next: Inode,
    steps: Vec<String>,
    fault: Option<(Hit, DiskFault)>,
    crashed: bool,
    boots: u64,
    capacity_bytes: u64,
    locks: BTreeSet<PathBuf>,
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
            steps: Vec::new(),
            fault: None,
            crashed: false,
            boots: 0,
            capacity_bytes,
            locks: BTreeSet::new(),
        })))
    }

    /// How many steps (calls that change something, or would) were made so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.state().steps.len() as u64
    }

    /// All steps so far, for people who ask where a fault hit.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.state().steps.clone()
    }

    /// Lets one step fail, counted from the disk's first.
    pub fn fail_at(&self, step: u64, fault: DiskFault) {
        self.state().fault = Some((Hit::Step(step), fault));
    }

    /// Lets every step fail from this one on.
    pub fn fail_from(&self, step: u64, fault: DiskFault) {
        self.state().fault = Some((Hit::From(step), fault));
    }

    /// Ends all faults but a crash.
    pub fn heal(&self) {
        self.state().fault = None;
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

impl State {
    /// Counts a step, and fails it if its turn has come.
    fn step(&mut self, name: &str, path: &Path) -> io::Result<()> {
        self.alive()?;
        let step = self.steps.len() as u64;
        self.steps.push(format!("{name} {}", path.display()));
        let fault = self.fault.filter(|(hit, _)| match hit {
            Hit::Step(at) => *at == step,
            Hit::From(at) => *at <= step,
        });
        match fault {
            Some((_, fault)) => {
                self.crashed |= fault == DiskFault::Crash;
                Err(fault.error())
            }
            None => Ok(()),
        }
    }

    fn alive(&self) -> io::Result<()> {
        if self.crashed {
            return Err(DiskFault::Crash.error());
        }
        Ok(())
    }

    fn new_directory(&mut self) -> Inode {
        let inode = self.next;
        self.next += 1;
        self.now.insert(inode, Directory::new());
        self.durable.insert(inode, Directory::new());
        inode
    }

    fn find(&self, path: &Path) -> io::Result<Node> {
        let mut node = Node::Directory(ROOT);
        for name in components(path) {
            let Node::Directory(inode) = node else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            let found = self.now[&inode].get(&name);
            node = *found.ok_or(io::Error::from(io::ErrorKind::NotFound))?;
        }
        Ok(node)
    }

    fn find_directory(&self, path: &Path) -> io::Result<Inode> {
        match self.find(path)? {
            Node::Directory(inode) => Ok(inode),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The directory that holds the path's last name, and that name.
    fn find_parent(&self, path: &Path) -> io::Result<(Inode, OsString)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = self.find_directory(path.parent().unwrap_or(Path::new("/")))?;
        Ok((parent, name.to_owned()))
    }

    /// Changes names as the machine sees them; a crash may still lose it.
    fn apply(&mut self, edits: Vec<(Inode, OsString, Option<Node>)>) {
        edit(&mut self.now, &edits);
        self.pending.push(Change(edits));
    }

    /// Makes the changes last whose directories are asked for, and all that they rest on.
    fn persist_names(&mut self, asked: impl Fn(Inode) -> bool) {
        let mut needed = BTreeSet::new();
        let mut lasting = vec![false; self.pending.len()];
        for (index, change) in self.pending.iter().enumerate().rev() {
            let touches = |inode: &Inode| asked(*inode) || needed.contains(inode);
            if change.0.iter().any(|(inode, ..)| touches(inode)) {
                lasting[index] = true;
                needed.extend(change.0.iter().map(|(inode, ..)| *inode));
            }
        }
        let mut lasting = lasting.into_iter();
        let durable = &mut self.durable;
        self.pending.retain(|change| {
            let lasts = lasting.next().unwrap_or(false);
            if lasts {
                edit(durable, &change.0);
            }
            !lasts
        });
        if self.pending.is_empty() {
            self.forget_unnamed();
        }
    }

    fn reboot(&mut self, chance: &mut Chance) {
        let mut lost = BTreeSet::new();
        for change in std::mem::take(&mut self.pending) {
            let rests_on_lost = change.0.iter().any(|(inode, ..)| lost.contains(inode));
            if rests_on_lost || chance.below(3) == 0 {
                lost.extend(change.0.iter().map(|(inode, ..)| *inode));
            } else {
                edit(&mut self.durable, &change.0);
            }
        }
        self.now = self.durable.clone();
        for content in self.files.values_mut() {
            let left = match content.synced.take() {
                Some(synced) => synced,
                None => chance.torn(std::mem::take(&mut content.now)),
            };
            *content = Content {
                now: left.clone(),
                synced: Some(left),
            };
        }
        self.forget_unnamed();
        (self.fault, self.crashed) = (None, false);
        self.boots += 1;
        self.locks.clear();
    }

    /// Drops what no name leads to.
    fn forget_unnamed(&mut self) {
        let (mut named, mut open) = (BTreeSet::from([ROOT]), vec![ROOT]);
        while let Some(inode) = open.pop() {
            for node in self.now[&inode].values() {
                let (Node::File(child) | Node::Directory(child)) = node;
                named.insert(*child);
                if let Node::Directory(child) = node {
                    open.push(*child);
                }
            }
        }
        self.files.retain(|inode, _| named.contains(inode));
        self.now.retain(|inode, _| named.contains(inode));
        self.durable.retain(|inode, _| named.contains(inode));
    }

    fn walk(&self, directory: Inode, path: &Path, visit: &mut impl FnMut(PathBuf, &[u8])) {
        for (name, node) in &self.now[&directory] {
            match node {
                Node::File(inode) => visit(path.join(name), &self.files[inode].now),
                Node::Directory(inode) => self.walk(*inode, &path.join(name), visit),
            }
        }
    }

    fn free_bytes(&self) -> u64 {
        let mut used = 0;
        self.walk(ROOT, Path::new("/"), &mut |_, content| {
            used += content.len() as u64;
        });
        self.capacity_bytes.saturating_sub(used)
    }
}

fn edit(tree: &mut BTreeMap<Inode, Directory>, edits: &[(Inode, OsString, Option<Node>)]) {
    for (inode, name, node) in edits {
        let directory = tree.entry(*inode).or_default();
        match node {
            Some(node) => directory.insert(name.clone(), *node),
            None => directory.remove(name),
        };
    }
}

fn components(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        _ => None,
    });
    names.collect()
}

/// SplitMix64: the same losses for the same seed, on every machine.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// What is left of a content that was never synced.
    fn torn(&mut self, mut content: Vec<u8>) -> Vec<u8> {
        let length = content.len();
        let cut = self.below(length as u64 + 1) as usize;
        match self.below(4) {
            0 => content.clear(),
            1 => content.truncate(cut),
            2 => content[cut..].fill(0),
            _ => {}
        }
        content
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    inode: Inode,
    path: PathBuf,
    boots: u64,
}

impl MemoryFile {
    fn step(&self, name: &str) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.disk.state();
        if state.boots != self.boots {
            return Err(DiskFault::Crash.error());
        }
        state.step(name, &self.path)?;
        Ok(state)
    }
}

impl Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.step("write")?;
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
        let mut state = self.step("sync file")?;
        let content = state.files.entry(self.inode).or_default();
        content.synced = Some(content.now.clone());
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
        state.step("sync directory", path)?;
        let inode = state.find_directory(path)?;
        state.persist_names(|other| other == inode);
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
