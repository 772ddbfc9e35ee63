//! The changes that count: commit, stems, wipe. Each is one renaming, and everything before it can be lost.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use crate::{
    Draft, Library, LibraryError, MANIFEST_VERSION, Manifest, Result, StemsDraft, StemsState, Track, TrackFacts,
    TrackId,
    error::while_doing,
    layout::{
        MANIFEST, MANIFEST_NEXT, SIDECARS, STEMS, absent_is_fine, list_or_empty, remove_entry, remove_tree,
        write_synced,
    },
    recovery::{Incoming, tidy},
};

impl Library {
    /// Makes a draft a track: manifest, sync, one renaming, sync. Once this returns a crash leaves the track whole,
    /// before it nothing. Its stems are owed from now on.
    ///
    /// # Errors
    /// [`LibraryError::Unfinished`] without a source; [`LibraryError::DiskFull`], [`LibraryError::ReadOnly`],
    /// [`LibraryError::Io`], [`LibraryError::Manifest`]. The draft is then discarded.
    pub fn commit(&mut self, mut draft: Draft, facts: TrackFacts) -> Result<Track> {
        let id = draft.track();
        let source = draft.source.take().ok_or(LibraryError::Unfinished {
            track: id,
            what: "the source",
        })?;
        let manifest = Manifest {
            version: MANIFEST_VERSION,
            revision: 1,
            name: draft.name.clone(),
            owner: facts.owner,
            created_unix_s: facts.created_unix_s,
            samples: source.frames,
            channels: source.channels,
            sample_rate: source.sample_rate,
            duration_s: source.frames as f64 / f64::from(source.sample_rate),
            bpm: facts.bpm,
            key: facts.key,
            time_signature: facts.time_signature,
            source: source.file,
            stems: StemsState::Owed,
            sidecars: draft.staging.sidecars.clone(),
        };
        let bytes = manifest.to_bytes()?;
        let doing = || while_doing(format!("committing track {id}"));
        self.publish(&mut draft, &bytes).map_err(doing())?;
        let synced = self.sync_listing();
        if let Err(error) = synced {
            // Whether the renaming would survive a crash is unknown: take it back, now or at the next sweep.
            self.wiping.insert(id);
            let _ = self.finish_wipes();
            return Err(doing()(error));
        }
        self.tracks.insert(id, manifest.clone());
        Ok(Track { id, manifest })
    }

    /// Makes a stems draft the track's stems: files in place, then the manifest. The track stays as it was until the
    /// manifest's renaming, and is so again after any failure.
    ///
    /// # Errors
    /// [`LibraryError::Wiped`] once the track is; [`LibraryError::Unfinished`] without stems;
    /// [`LibraryError::DiskFull`], [`LibraryError::ReadOnly`], [`LibraryError::Io`]. The draft is then discarded.
    pub fn commit_stems(&mut self, mut draft: StemsDraft) -> Result<Track> {
        let id = draft.track();
        let before = self.manifest(id)?.clone();
        let (vocals, instruments) = draft.stems.take().ok_or(LibraryError::Unfinished {
            track: id,
            what: "the stems",
        })?;
        let mut after = before.clone();
        after.stems = StemsState::Ready { vocals, instruments };
        let added = &draft.staging.sidecars;
        after
            .sidecars
            .retain(|old| added.iter().all(|new| new.kind != old.kind));
        after.sidecars.extend(added.iter().cloned());
        let directory = self.layout.track(id);
        let placed = self.place(&draft, &directory);
        placed.map_err(|error| {
            // The manifest knows nothing of what was put in place.
            let _ = self.tidy(id, &before);
            draft.blame(while_doing(format!("placing the stems of track {id}"))(error))
        })?;
        self.save_manifest(id, after)
    }

    /// Says that the stems could not be made: a boot does not queue them again.
    ///
    /// # Errors
    /// [`LibraryError::Wiped`], [`LibraryError::StemsTaken`] if they are there; as [`commit`](Self::commit).
    pub fn mark_stems_failed(&mut self, id: TrackId, reason: &str) -> Result<Track> {
        let mut manifest = self.manifest(id)?.clone();
        if matches!(manifest.stems, StemsState::Ready { .. }) {
            let state = "are there already";
            return Err(LibraryError::StemsTaken { track: id, state });
        }
        manifest.stems = StemsState::Failed {
            reason: reason.to_owned(),
        };
        self.save_manifest(id, manifest)
    }

    /// Gives the track to a lineage.
    ///
    /// # Errors
    /// [`LibraryError::Wiped`]; as [`commit`](Self::commit).
    pub fn set_owner(&mut self, id: TrackId, owner: Option<String>) -> Result<Track> {
        let mut manifest = self.manifest(id)?.clone();
        manifest.owner = owner;
        self.save_manifest(id, manifest)
    }

    /// Removes tracks for good: unlisted at once, their directories renamed away (so that drafts and readers of them
    /// find nothing any more), then deleted. After a failure, calling again (with these or no ids) tries again. A number that is not listed
    /// is nothing to do.
    ///
    /// # Errors
    /// [`LibraryError::ReadOnly`], [`LibraryError::Io`]: what could not be removed is unlisted all the same.
    pub fn wipe(&mut self, ids: &[TrackId]) -> Result<()> {
        for id in ids {
            if self.tracks.remove(id).is_some() {
                self.wiping.insert(*id);
            }
        }
        self.finish_wipes()
    }

    /// Takes unlisted tracks off the disk. All are tried; the first failure is told, and those left stay noted.
    pub(crate) fn finish_wipes(&mut self) -> Result<()> {
        if self.wiping.is_empty() {
            return Ok(());
        }
        let mut failure = None;
        for id in &self.wiping {
            let (from, to) = (self.layout.track(*id), self.layout.wiped(*id));
            if let Err(error) = absent_is_fine(self.disk.rename(&from, &to)) {
                failure.get_or_insert(error);
            }
        }
        // After this no crash brings back a track that was renamed away. Before it nothing may be deleted: a crash would
        // bring back a torn one.
        self.sync_listing().map_err(while_doing("wiping tracks"))?;
        for id in &self.wiping {
            if let Err(error) = remove_tree(&*self.disk, &self.layout.wiped(*id)) {
                failure.get_or_insert(error);
            }
        }
        if let Err(error) = self.disk.sync_dir(&self.layout.tmp()) {
            failure.get_or_insert(error);
        }
        match failure {
            Some(error) => Err(while_doing("wiping tracks")(error)),
            None => {
                self.wiping.clear();
                Ok(())
            }
        }
    }

    /// Writes the manifest into the draft and renames it among the tracks.
    fn publish(&self, draft: &mut Draft, manifest: &[u8]) -> io::Result<()> {
        let disk = &*self.disk;
        let directory = &draft.staging.directory;
        disk.sync_dir(&directory.join(SIDECARS))?;
        write_synced(disk, &directory.join(MANIFEST), manifest)?;
        disk.sync_dir(directory)?;
        disk.rename(directory, &self.layout.track(draft.track()))?;
        draft.staging.keep();
        Ok(())
    }

    /// Moves the draft's files to where the next manifest will name them, all names synced.
    fn place(&self, draft: &StemsDraft, directory: &Path) -> io::Result<()> {
        let disk = &*self.disk;
        let incoming = &draft.staging.directory;
        disk.sync_dir(&incoming.join(STEMS))?;
        remove_tree(disk, &directory.join(STEMS))?;
        disk.rename(&incoming.join(STEMS), &directory.join(STEMS))?;
        for sidecar in &draft.staging.sidecars {
            let path = Path::new(SIDECARS).join(sidecar.file_name());
            disk.rename(&incoming.join(&path), &directory.join(&path))?;
        }
        disk.sync_dir(&directory.join(SIDECARS))?;
        disk.sync_dir(directory)
    }

    /// Replaces a track's manifest, on disk and in the listing, and removes the files that it no longer names.
    pub(crate) fn save_manifest(&mut self, id: TrackId, mut after: Manifest) -> Result<Track> {
        let before = self.manifest(id)?.clone();
        after.revision = before.revision + 1;
        let directory = self.layout.track(id);
        let doing = || while_doing(format!("saving the manifest of track {id}"));
        let bytes = match after.to_bytes() {
            Ok(bytes) => bytes,
            Err(error) => {
                let _ = self.tidy(id, &before);
                return Err(error.into());
            }
        };
        if let Err(error) = self.replace_manifest(&directory, &bytes) {
            // Still the old one on disk, so whatever it does not name can go.
            let _ = self.tidy(id, &before);
            return Err(doing()(error));
        }
        if let Err(error) = self.disk.sync_dir(&directory) {
            // Where even this fails, every sweep tries it again.
            let _ = self.take_back(id).map(|()| self.tidy(id, &before));
            return Err(doing()(error));
        }
        self.tracks.insert(id, after.clone());
        // A file of the old revision that stays is harmless; the next sweep takes it.
        let _ = self.tidy(id, &after);
        Ok(Track { id, manifest: after })
    }

    /// Everything but the last sync.
    fn replace_manifest(&self, directory: &Path, bytes: &[u8]) -> io::Result<()> {
        let next = directory.join(MANIFEST_NEXT);
        absent_is_fine(self.disk.remove_file(&next))?;
        write_synced(&*self.disk, &next, bytes)?;
        self.disk.rename(&next, &directory.join(MANIFEST))
    }

    /// Writes the listed manifest again after a renaming of which nobody knows whether it lasts. Until that succeeds both
    /// manifests' files stay, so that a boot finds one or the other whole.
    fn take_back(&mut self, id: TrackId) -> Result<()> {
        self.unsure.insert(id);
        let bytes = self.manifest(id)?.to_bytes()?;
        let directory = self.layout.track(id);
        let restored = self.replace_manifest(&directory, &bytes);
        let synced = restored.and_then(|()| self.disk.sync_dir(&directory));
        synced.map_err(while_doing(format!("restoring the manifest of track {id}")))?;
        self.unsure.remove(&id);
        Ok(())
    }

    /// Finishes what failures left: wipes, manifests in doubt, leftovers of drafts. Beginning a draft does it too.
    ///
    /// # Errors
    /// [`LibraryError::DiskFull`], [`LibraryError::ReadOnly`], [`LibraryError::Io`]: call again later.
    pub fn sweep(&mut self) -> Result<()> {
        self.finish_wipes()?;
        self.unsure.retain(|id| self.tracks.contains_key(id));
        for id in self.unsure.clone() {
            self.take_back(id)?;
        }
        let doing = || while_doing("removing leftovers");
        for (id, manifest) in &self.tracks {
            self.tidy(*id, manifest).map_err(doing())?;
        }
        let tmp = self.layout.tmp();
        let drafts = self.live_reservations();
        let living: BTreeSet<PathBuf> = drafts.map(|draft| self.layout.draft(draft.track)).collect();
        for entry in list_or_empty(&*self.disk, &tmp).map_err(doing())? {
            let path = tmp.join(&entry.name);
            if !living.contains(&path) {
                remove_entry(&*self.disk, &path, entry.kind).map_err(doing())?;
            }
        }
        Ok(())
    }

    /// Removes what the manifest does not name.
    fn tidy(&self, id: TrackId, manifest: &Manifest) -> io::Result<()> {
        if self.unsure.contains(&id) {
            return Ok(());
        }
        let incoming = if self.is_drafted(id) {
            Incoming::Leave
        } else {
            Incoming::Remove
        };
        tidy(&*self.disk, &self.layout.track(id), manifest, incoming).map(drop)
    }

    /// Makes renamings into and out of `tracks/` last.
    pub(crate) fn sync_listing(&self) -> io::Result<()> {
        self.disk.sync_dir(&self.layout.tracks())?;
        self.disk.sync_dir(&self.layout.tmp())
    }
}
