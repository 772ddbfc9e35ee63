//! Rips that give way, fail, or are asked for what cannot be.

use std::sync::Arc;

use greenroom_audio::Pcm;
use greenroom_stage::{Home, Tenant};
use greenroom_sync::CancelFlag;

use super::{
    super::{
        Melband,
        error::MelbandError,
        interruption::Interruption,
        layout::Key,
        rip::MelbandRip,
        source::{RandomWeights, Source},
    },
    NARROW, noise, options, resident,
    tracks::run_out,
};
use crate::{BatchOutcome, Rip, SeparateError, Separator, Stems};

/// Of six pieces.
fn track() -> Arc<Pcm> {
    Arc::new(Pcm::new(48_000, 2, noise(40, 2 * 19_001)))
}

/// Separates the track, giving way so often: each time somewhere else within a batch, and leaving the device meanwhile.
fn separated(melband: &Melband, interruptions: u32) -> Stems {
    let mut rip = MelbandRip::new(Arc::clone(&melband.core), track()).unwrap();
    for interruption in 0..interruptions {
        if interruption % 2 == 1 {
            assert_eq!(rip.run(&mut || Ok(())).unwrap(), BatchOutcome::Done);
        }
        let before = rip.progress();
        let mut looks = 0;
        let outcome = rip.run(&mut || {
            looks += 1;
            if looks > interruption % 5 {
                return Err(Interruption::Cancelled);
            }
            Ok(())
        });
        assert_eq!(outcome.unwrap(), BatchOutcome::Abandoned);
        assert_eq!(rip.progress(), before);
        assert!(melband.detach());
        assert!(matches!(rip.run(&mut || Ok(())), Err(SeparateError::NotResident)));
        melband.attach(&Home::Ram).unwrap();
    }
    run_out(&mut rip);
    Box::new(rip).finish().unwrap()
}

#[test]
fn stems_are_the_same_bits_however_often_the_rip_gave_way() {
    let melband = resident(NARROW, 7);
    let expected = separated(&melband, 0);
    for interruptions in [1, 7] {
        let stems = separated(&melband, interruptions);
        assert!(
            stems == expected,
            "the stems differ after {interruptions} interruptions"
        );
    }
}

#[test]
fn a_flag_that_is_up_leaves_everything_as_it_was() {
    let mut rip = resident(NARROW, 7).begin(track()).unwrap();
    let flag = CancelFlag::new();
    flag.raise();
    for _ in 0..3 {
        assert_eq!(rip.run_batch(&flag).unwrap(), BatchOutcome::Abandoned);
        assert_eq!(rip.progress(), (0, 6));
    }
    assert!(matches!(
        rip.finish(),
        Err(SeparateError::Unfinished { done: 0, total: 6 })
    ));
}

#[test]
fn the_flag_is_looked_at_after_every_transformer() {
    let mut rip = MelbandRip::new(Arc::clone(&resident(NARROW, 7).core), track()).unwrap();
    let mut looks = 0;
    rip.run(&mut || {
        looks += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(looks, 1 + 2 * NARROW.depth);
}

#[test]
fn batches_of_several_pieces_make_the_same_stems() {
    let separate = |pieces_a_batch| {
        let mut options = options();
        options.pieces_a_batch = pieces_a_batch;
        let melband = Melband::random(NARROW, 7, options).unwrap();
        melband.attach(&Home::Ram).unwrap();
        let mut rip = melband.begin(track()).unwrap();
        run_out(rip.as_mut());
        (rip.progress().1, rip.finish().unwrap())
    };
    let ((one_by_one, expected), (by_four, stems)) = (separate(1), separate(4));
    assert_eq!((one_by_one, by_four), (6, 2));
    for (sample, expected) in stems.vocals.samples().iter().zip(expected.vocals.samples()) {
        assert!((sample - expected).abs() < 1e-5);
    }
}

#[test]
fn tracks_that_are_none_are_refused() {
    let melband = resident(NARROW, 7);
    for (track, reason) in [
        (Pcm::new(44_100, 2, vec![0.1; 2_000]), "44100"),
        (Pcm::new(48_000, 2, Vec::new()), "empty"),
        (Pcm::new(48_000, 1, vec![0.1, f32::NAN]), "sample 1"),
    ] {
        match melband.begin(Arc::new(track)).map(|_| ()) {
            Err(SeparateError::Unsuitable(words)) => assert!(words.contains(reason), "{words}"),
            other => panic!("{other:?}"),
        }
    }
}

/// Weights that are numbers and make none.
struct Overflowing;

impl Source for Overflowing {
    fn values(&self, key: &Key) -> Result<Vec<f32>, MelbandError> {
        let values = RandomWeights { seed: 7 }.values(key)?;
        Ok(if key.name == "mask_estimators.0.to_freqs.3.0.4.bias" {
            vec![3e38; values.len()]
        } else {
            values
        })
    }
}

#[test]
fn an_output_that_is_no_number_fails_the_rip() {
    let melband = Melband::of_source(NARROW, &Overflowing, options()).unwrap();
    melband.attach(&Home::Ram).unwrap();
    let mut rip = melband.begin(track()).unwrap();
    let error = rip.run_batch(&CancelFlag::new()).unwrap_err();
    assert!(matches!(error, SeparateError::NotFinite { batch: 0 }), "{error}");
    assert_eq!(rip.progress(), (0, 6));
}
