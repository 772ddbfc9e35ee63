//! What the tests share: small clips, facts, and the invariants of a data directory.
#![allow(dead_code, reason = "no test uses all of it")]

pub(crate) mod life;

use std::{collections::BTreeSet, path::Path, path::PathBuf, sync::Arc};

use greenroom_audio::Pcm;
use greenroom_library::{
    Generator, Library, Limits, Recovery, Result, SidecarKind, StemsState, Track, TrackFacts, Uploads,
    simulated::MemoryDisk,
};

/// Where the library lives on a simulated disk.
pub(crate) const ROOT: &str = "/data";

/// A short clip unlike that of any other seed.
pub(crate) fn clip(seed: u32) -> Pcm {
    let samples = (0..64).map(|index| ((index * 7 + seed * 13) % 101) as f32 / 101.0 - 0.5);
    Pcm::new(48_000, 2, samples.collect())
}

/// The latent frames of some encoder.
pub(crate) fn latents() -> (SidecarKind, Generator) {
    let generator = Generator {
        name: "spectral".into(),
        version: "1".into(),
    };
    (SidecarKind::new("latents").unwrap(), generator)
}

pub(crate) fn facts(owner: &str) -> TrackFacts {
    TrackFacts {
        owner: Some(owner.to_owned()),
        created_unix_s: 1_790_000_000,
        bpm: 127.96,
        key: "F# minor".into(),
        time_signature: "4".into(),
    }
}

pub(crate) fn open(disk: &MemoryDisk, uploads: Uploads) -> Result<(Library, Recovery)> {
    let disk = Arc::new(disk.clone());
    Library::open(disk, Path::new(ROOT), uploads, Limits::default())
}

/// Uploads a clip whole.
pub(crate) fn upload(library: &mut Library, name: &str, seed: u32) -> Result<Track> {
    let (kind, generator) = latents();
    let mut draft = library.begin_draft(name, 1_000)?;
    draft.write_source(&clip(seed))?;
    draft.write_sidecar(&kind, &generator, &[seed as u8; 40])?;
    library.commit(draft, facts("alice"))
}

/// Saves the stems of a clip: two other clips, and latents anew.
pub(crate) fn save_stems(library: &mut Library, track: &Track, seed: u32) -> Result<Track> {
    let (kind, generator) = latents();
    let mut draft = library.begin_stems(track.id, 100)?;
    draft.write_stems(&clip(seed + 1_000), &clip(seed + 2_000))?;
    draft.write_sidecar(&kind, &generator, &[seed as u8 + 100; 50])?;
    library.commit_stems(draft)
}

/// Every track that is listed is whole, and is the clip that its name tells (`<seed>.mp3`).
pub(crate) fn assert_tracks_whole(library: &Library) {
    let (kind, generator) = latents();
    for track in library.tracks() {
        let seed: u32 = track.manifest.name.trim_end_matches(".mp3").parse().unwrap();
        let reader = library.reader(track.id).unwrap();
        reader.verify().unwrap();
        assert_eq!(reader.read_source().unwrap(), clip(seed));
        let sidecar = reader.read_sidecar(&kind, &generator).unwrap().unwrap();
        if let StemsState::Ready { .. } = track.manifest.stems {
            let (vocals, instruments) = reader.read_stems().unwrap();
            assert_eq!(vocals, clip(seed + 1_000));
            assert_eq!(instruments, clip(seed + 2_000));
            assert_eq!(sidecar, [seed as u8 + 100; 50]);
        } else {
            assert_eq!(sidecar, [seed as u8; 40]);
        }
    }
}

/// Nothing is on the disk that no manifest names.
pub(crate) fn assert_no_strays(library: &Library, disk: &MemoryDisk) {
    let tracks = Path::new(ROOT).join("tracks");
    let mut named = BTreeSet::new();
    for track in library.tracks() {
        let directory = tracks.join(track.id.to_string());
        named.extend(["source.wav", "track.json"].map(|name| directory.join(name)));
        if let StemsState::Ready { .. } = track.manifest.stems {
            named.extend(["vocals", "instruments"].map(|name| {
                let name = format!("stems/{name}.wav");
                directory.join(name)
            }));
        }
        named.extend(track.manifest.sidecars.iter().map(|sidecar| {
            let name = format!("sidecars/{}-{}.bin", sidecar.kind, sidecar.revision);
            directory.join(name)
        }));
    }
    let found: BTreeSet<PathBuf> = disk.files().into_keys().collect();
    assert_eq!(found, named);
}
