//! What the disk had at boot: into the track table, and as events for the director.

use greenroom_director::{Event, Failure, Found, StemsPhase};
use greenroom_library::{FixtureContent, Manifest, StemsState as StemsOnDisk};

use super::{
    outbox::Refusal,
    shared::Shared,
    tracks::{Entry, Origin, StemsState, TrackFacts},
};

/// Lists every fixture and kept upload; the events are to be told before any other.
pub(super) fn tracks(shared: &Shared) -> Vec<Event> {
    let library = shared.library();
    let mut events = Vec::new();
    let mut find = |entry: Entry, found: Found| {
        let track = shared.tracks.new_track();
        shared.tracks.insert(track, entry);
        events.push(Event::TrackFound { track, found });
        events.extend(shared.measure(track, None));
    };
    for fixture in library.fixtures() {
        match &fixture.content {
            FixtureContent::Track(manifest) => {
                let stems = stems_of(manifest);
                let found = if stems == StemsState::Ready {
                    Found::FixtureWithStems
                } else {
                    Found::Fixture
                };
                // A fixture's stems are made when somebody wants them, not owed.
                let stems = if stems == StemsState::Ready {
                    stems
                } else {
                    StemsState::Absent
                };
                let origin = Origin::Fixture(fixture.id);
                find(
                    Entry::found(fixture.name.clone(), origin, Some(facts_of(manifest)), stems),
                    found,
                );
            }
            FixtureContent::AudioFile { .. } => {
                let origin = Origin::FixtureFile(fixture.id);
                find(
                    Entry::found(fixture.name.clone(), origin, None, StemsState::Absent),
                    Found::Fixture,
                );
            }
        }
    }
    for track in library.tracks() {
        let found = match &track.manifest.stems {
            StemsOnDisk::Owed => Found::UploadOwingStems,
            StemsOnDisk::Ready { .. } => Found::UploadWithStems,
            StemsOnDisk::Failed { .. } => Found::UploadWithoutStems,
        };
        let (facts, stems) = (facts_of(&track.manifest), stems_of(&track.manifest));
        find(
            Entry::found(
                track.manifest.name.clone(),
                Origin::Upload(track.id),
                Some(facts),
                stems,
            ),
            found,
        );
    }
    events
}

fn facts_of(manifest: &Manifest) -> TrackFacts {
    TrackFacts {
        bpm: manifest.bpm,
        key: manifest.key.clone(),
        time_signature: manifest.time_signature.clone(),
        // Sources are at most minutes long.
        frames: usize::try_from(manifest.samples).unwrap_or(usize::MAX),
        channels: manifest.channels,
    }
}

fn stems_of(manifest: &Manifest) -> StemsState {
    match &manifest.stems {
        StemsOnDisk::Owed => StemsState::Pending {
            phase: StemsPhase::Queued,
            done: 0,
            total: 0,
        },
        StemsOnDisk::Ready { .. } => StemsState::Ready,
        StemsOnDisk::Failed { reason } => StemsState::Failed(Refusal::new(Failure::StemExtractFailed, reason.clone())),
    }
}
