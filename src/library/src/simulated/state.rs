//! What is on the medium, what the machine believes is, and which of it a crash takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    path::{Component, Path, PathBuf},
};

use super::DiskFault;

/// Which steps a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hit {
    Step(u64),
    From(u64),
}

pub(super) type Inode = u64;
pub(super) type Directory = BTreeMap<OsString, Node>;

pub(super) const ROOT: Inode = 0;

/// Steps that are remembered by name: a long simulation must not fill the memory with them.
pub(super) const TRACE_STEPS_MAX: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    File(Inode),
    Directory(Inode),
}

#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) now: Vec<u8>,
    pub(super) synced: Option<Vec<u8>>,
}

/// A change of names that a crash may lose: what stands where afterwards.
#[derive(Debug)]
pub(super) struct Change(Vec<(Inode, OsString, Option<Node>)>);

#[derive(Debug)]
pub(super) struct State {
    pub(super) files: BTreeMap<Inode, Content>,
    /// Directories as the running machine sees them.
    pub(super) now: BTreeMap<Inode, Directory>,
    /// Directories as they are on the medium.
    pub(super) durable: BTreeMap<Inode, Directory>,
    pub(super) pending: Vec<Change>,
    pub(super) next: Inode,
    pub(super) steps: u64,
    pub(super) trace: Vec<String>,
    pub(super) faults: Vec<(Hit, DiskFault)>,
    pub(super) crashed: bool,
    pub(super) boots: u64,
    pub(super) capacity_bytes: u64,
    pub(super) locks: BTreeSet<PathBuf>,
}

impl State {
    /// Counts a step, and fails it if its turn has come.
    pub(super) fn step(&mut self, name: &str, path: &Path) -> io::Result<()> {
        match self.next_step(name, path)? {
            None | Some(DiskFault::Lying) => Ok(()),
            Some(fault) => Err(fault.error()),
        }
    }

    /// Counts a sync; whether it is to be done.
    pub(super) fn sync_step(&mut self, name: &str, path: &Path) -> io::Result<bool> {
        match self.next_step(name, path)? {
            None => Ok(true),
            Some(DiskFault::Lying) => Ok(false),
            Some(fault) => Err(fault.error()),
        }
    }

    fn next_step(&mut self, name: &str, path: &Path) -> io::Result<Option<DiskFault>> {
        self.alive()?;
        let step = self.steps;
        self.steps += 1;
        if self.trace.len() < TRACE_STEPS_MAX {
            self.trace.push(format!("{name} {}", path.display()));
        }
        let hits = |(hit, _): &&(Hit, DiskFault)| match hit {
            Hit::Step(at) => *at == step,
            Hit::From(at) => *at <= step,
        };
        let fault = self.faults.iter().find(hits).map(|(_, fault)| *fault);
        self.crashed |= fault == Some(DiskFault::Crash);
        Ok(fault)
    }

    pub(super) fn alive(&self) -> io::Result<()> {
        if self.crashed {
            return Err(DiskFault::Crash.error());
        }
        Ok(())
    }

    pub(super) fn new_directory(&mut self) -> Inode {
        let inode = self.next;
        self.next += 1;
        self.now.insert(inode, Directory::new());
        self.durable.insert(inode, Directory::new());
        inode
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Node> {
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

    pub(super) fn find_directory(&self, path: &Path) -> io::Result<Inode> {
        match self.find(path)? {
            Node::Directory(inode) => Ok(inode),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The directory that holds the path's last name, and that name.
    pub(super) fn find_parent(&self, path: &Path) -> io::Result<(Inode, OsString)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = self.find_directory(path.parent().unwrap_or(Path::new("/")))?;
        Ok((parent, name.to_owned()))
    }

    /// Changes names as the machine sees them; a crash may still lose it.
    pub(super) fn apply(&mut self, edits: Vec<(Inode, OsString, Option<Node>)>) {
        edit(&mut self.now, &edits);
        self.pending.push(Change(edits));
    }

    /// Makes the changes last whose directories are asked for, and all that they rest on.
    pub(super) fn persist_names(&mut self, asked: impl Fn(Inode) -> bool) {
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

    pub(super) fn reboot(&mut self, chance: &mut Chance) {
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
        self.faults.clear();
        self.crashed = false;
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

    pub(super) fn walk(&self, directory: Inode, path: &Path, visit: &mut impl FnMut(PathBuf, &[u8])) {
        for (name, node) in &self.now[&directory] {
            match node {
                Node::File(inode) => visit(path.join(name), &self.files[inode].now),
                Node::Directory(inode) => self.walk(*inode, &path.join(name), visit),
            }
        }
    }

    pub(super) fn free_bytes(&self) -> u64 {
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

pub(super) fn components(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        _ => None,
    });
    names.collect()
}

/// SplitMix64: the same losses for the same seed, on every machine.
pub(super) struct Chance(pub(super) u64);

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
