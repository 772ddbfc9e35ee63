//! The disk under the director: what the library would have written, step by step, and what a crash leaves of it. The semantics are
//! those of the library's own simulated disk; contents are left out.

use greenroom_director::{Failure, Found, Outcome, Task, TrackId, Uploads};

use crate::{
    chance::Chance,
    marks::{Mark, Marks},
};

/// Where the name of a track's directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Not acknowledged: `tmp/draft-…`.
    Draft,
    /// `tracks/…`.
    Listed,
    /// On its way out: `tmp/wiped-…`.
    Leaving,
}

/// What a manifest says of the stems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stems {
    Owed,
    Ready,
    Failed,
}

/// Something on the disk, as the machine sees it and as it would be after a crash.
#[derive(Clone, Copy, Debug)]
struct Lasting<T> {
    now: T,
    synced: T,
}

impl<T: Copy + PartialEq> Lasting<T> {
    fn new(value: T) -> Self {
        Self {
            now: value,
            synced: value,
        }
    }

    fn sync(&mut self) {
        self.synced = self.now;
    }

    /// A change that was not synced may have reached the medium or not.
    fn crash(&mut self, chance: &mut Chance) {
        if self.now != self.synced && chance.permille(500) {
            self.now = self.synced;
        }
        self.synced = self.now;
    }
}

/// One track's directory.
#[derive(Clone, Debug)]
struct Files {
    track: TrackId,
    place: Lasting<Place>,
    /// Whether the source is whole.
    source: Lasting<bool>,
    manifest: Lasting<Option<Stems>>,
    /// Whether both stems are whole where the manifest expects them.
    stems: Lasting<bool>,
    /// The rest of a failed write, swept later.
    stray: bool,
    /// The director was told that it is saved.
    acked: bool,
}

/// What keeps the disk from working now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Full,
    ReadOnly,
}

/// A disk.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    files: Vec<Files>,
    pub(crate) trouble: Option<Trouble>,
}

/// Steps of a disk job; the last one makes it last.
pub(crate) const fn steps(task: Task) -> u8 {
    match task {
        Task::Save { .. } => 4,
        Task::SaveStems { .. } => 5,
        _ => 3,
    }
}

impl Disk {
    /// The audio of an upload is written; `false` if the disk would not take it.
    pub(crate) fn begin_draft(&mut self, track: TrackId) -> bool {
        if self.trouble.is_some() {
            return false;
        }
        let absent = Lasting {
            now: true,
            synced: false,
        };
        if self.find(track).is_none() {
            self.files.push(Files {
                track,
                place: Lasting::new(Place::Draft),
                source: absent,
                manifest: Lasting::new(None),
                stems: Lasting::new(false),
                stray: false,
                acked: false,
            });
        }
        true
    }

    /// One step of a job on the disk; an outcome if it ended there.
    pub(crate) fn step(&mut self, task: Task, step: u8, fails: bool, marks: &mut Marks) -> Option<Outcome> {
        let (Task::Save { track } | Task::SaveStems { track } | Task::Wipe { track }) = task else {
            return Some(Outcome::Done);
        };
        if fails || self.trouble.is_some() {
            return Some(Outcome::Failed(self.refuse(task, fails, marks)));
        }
        let last = step + 1 >= steps(task);
        let wipe = matches!(task, Task::Wipe { .. });
        let Some(files) = self.find(track) else {
            // Nothing was ever written, or it is gone already.
            return Some(if wipe {
                Outcome::Done
            } else {
                Outcome::Failed(Failure::Internal)
            });
        };
        match (task, step) {
            (Task::Save { .. }, 0) => files.manifest.now = Some(Stems::Owed),
            (Task::Save { .. }, 1) => {
                files.source.sync();
                files.manifest.sync();
            }
            (Task::Save { .. }, 2) => files.place.now = Place::Listed,
            (Task::SaveStems { .. }, 0) => files.stray = true,
            (Task::SaveStems { .. }, 2) => {
                files.stems = Lasting::new(true);
                files.stray = false;
            }
            (Task::SaveStems { .. }, 3) => files.manifest.now = Some(Stems::Ready),
            (Task::SaveStems { .. }, 4) => files.manifest.sync(),
            (Task::Wipe { .. }, 0) => files.place.now = Place::Leaving,
            (Task::Save { .. }, _) | (Task::Wipe { .. }, 1) => files.place.sync(),
            (Task::Wipe { .. }, _) => self.files.retain(|files| files.track != track),
            _ => {}
        }
        if !last {
            return None;
        }
        if let (Task::Save { .. }, Some(files)) = (task, self.find(track)) {
            files.acked = true;
        }
        Some(Outcome::Done)
    }

    fn refuse(&mut self, task: Task, fails: bool, marks: &mut Marks) -> Failure {
        match (task, self.trouble) {
            (Task::Wipe { .. }, _) => marks.hit(Mark::FullInWipe),
            (Task::Save { .. }, Some(Trouble::Full)) => marks.hit(Mark::FullInSave),
            (Task::SaveStems { .. }, Some(Trouble::Full)) => marks.hit(Mark::FullInStemsSave),
            (Task::Save { .. }, Some(Trouble::ReadOnly)) => marks.hit(Mark::ReadOnlyInSave),
            _ => {}
        }
        if fails { Failure::Internal } else { Failure::DiskFull }
    }

    /// The manifest says that the stems are not to be had: written when the disk lets it.
    pub(crate) fn note_stems_failed(&mut self, track: TrackId) {
        if self.trouble.is_some() {
            return;
        }
        if let Some(files) = self.find(track).filter(|files| files.place.now == Place::Listed) {
            files.manifest = Lasting::new(Some(Stems::Failed));
        }
    }

    /// What a failed write left is removed when the disk lets it.
    pub(crate) fn sweep(&mut self) {
        if self.trouble.is_none() {
            for files in &mut self.files {
                files.stray = false;
            }
        }
    }

    /// The machine lost power.
    pub(crate) fn lose_power(&mut self, chance: &mut Chance) {
        for files in &mut self.files {
            files.place.crash(chance);
            files.source.crash(chance);
            files.manifest.crash(chance);
            files.stems.crash(chance);
        }
        self.trouble = None;
    }

    /// What the next process finds, oldest first, and what it does about the rest. `forgotten` tells whom nobody may name any more.
    pub(crate) fn recover(
        &mut self,
        uploads: Uploads,
        forgotten: impl Fn(TrackId) -> bool,
        marks: &mut Marks,
    ) -> Result<Vec<(TrackId, Found)>, String> {
        if self
            .files
            .iter()
            .any(|files| files.place.now == Place::Draft && !files.source.now)
        {
            marks.hit(Mark::TornFileAtBoot);
        }
        if uploads == Uploads::Wipe {
            if self.files.iter().any(|files| files.place.now == Place::Listed) {
                marks.hit(Mark::PreviousFilesAtBoot);
            }
            self.files.clear();
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for files in &mut self.files {
            let whole = files.place.now == Place::Listed && files.source.now && files.manifest.now.is_some();
            if files.acked && !whole && !forgotten(files.track) {
                return Err(format!("{:?} was acknowledged and is lost: {files:?}", files.track));
            }
            let Some(stems) = files.manifest.now.filter(|_| whole) else {
                continue;
            };
            files.stray = false;
            // What a boot lists, it makes last first.
            files.place.sync();
            found.push((
                files.track,
                match stems {
                    Stems::Ready if files.stems.now => Found::UploadWithStems,
                    Stems::Ready | Stems::Owed => Found::UploadOwingStems,
                    Stems::Failed => Found::UploadWithoutStems,
                },
            ));
        }
        self.files
            .retain(|files| found.iter().any(|(track, _)| *track == files.track));
        for files in &mut self.files {
            files.acked = true;
        }
        Ok(found)
    }

    /// What lies there that no manifest names, or that the director does not know of.
    pub(crate) fn strays(&self, known: &[TrackId]) -> Vec<String> {
        let stray = |files: &&Files| files.stray || files.place.now != Place::Listed || !known.contains(&files.track);
        self.files
            .iter()
            .filter(stray)
            .map(|files| format!("{files:?}"))
            .collect()
    }

    pub(crate) fn is_acked(&self, track: TrackId) -> bool {
        self.files.iter().any(|files| files.track == track && files.acked)
    }

    fn find(&mut self, track: TrackId) -> Option<&mut Files> {
        self.files.iter_mut().find(|files| files.track == track)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
mod tests;
