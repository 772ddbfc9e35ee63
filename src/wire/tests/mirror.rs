//! The mirror under bad and hostile input: it always holds what the client holds, and nothing poisons it.
#![allow(clippy::unwrap_used, reason = "a slice that cannot be made here is a failure")]

use greenroom_wire::{Mirror, SliceError, SliceHeader, fuzz, slice};
use proptest::prelude::*;

const CHANNELS: usize = 2;
/// Largest finite half float.
const LOUDEST: f32 = 65_504.0;

fn at(start_sample: u32) -> SliceHeader {
    SliceHeader {
        start_sample,
        ..SliceHeader::default()
    }
}

/// Encodes for `client` too; both must hold the same afterwards.
fn play(server: &mut Mirror, client: &mut Mirror, start_sample: u32, region: &[f32]) {
    let slice = server.encode(at(start_sample), region).unwrap();
    client.apply(&slice).unwrap();
    assert_eq!(server.samples(), client.samples());
}

#[test]
fn samples_louder_than_half_floats_do_not_stay_for_good() {
    let mut server = Mirror::from_source(&[1e30, -1e30, 0.5, -0.5], 2);
    assert_eq!(server.samples(), [LOUDEST, -LOUDEST, 0.5, -0.5]);
    assert_eq!(
        slice::decode_halves(&slice::encode_halves(&[1e30, -1e30])),
        [LOUDEST, -LOUDEST]
    );
    let mut client = server.clone();
    play(&mut server, &mut client, 0, &[-1e30, 1e30, 1e30, 0.0]);
    // Whatever was asked, a few quiet slices bring both back to the sound.
    for _ in 0..4 {
        play(&mut server, &mut client, 0, &[0.25; 4]);
    }
    assert_eq!(client.samples(), [0.25; 4]);
}

#[test]
fn a_generators_nan_leaves_what_the_client_holds() {
    let mut server = Mirror::from_source(&[0.5; 4], 2);
    let mut client = server.clone();
    play(
        &mut server,
        &mut client,
        0,
        &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.25],
    );
    assert_eq!(client.samples(), [0.5, 0.5, 0.5, 0.25]);
}

#[test]
fn a_region_outside_the_buffer_or_of_half_a_frame_is_none_and_changes_nothing() {
    let mut server = Mirror::from_source(&[0.5; 8], 2);
    let before = server.clone();
    assert_eq!(server.encode(at(3), &[0.0; 4]), None);
    assert_eq!(server.encode(at(u32::MAX), &[0.0; 2]), None);
    assert_eq!(server.encode(at(0), &[0.0; 3]), None);
    assert_eq!(Mirror::from_source(&[], 0).encode(at(0), &[]), None);
    assert_eq!(server, before);
}

#[test]
fn a_bad_slice_leaves_the_buffer_untouched() {
    let mut server = Mirror::from_source(&[0.5; 8], 2);
    let mut client = Mirror::from_source(&[0.5; 4], 2);
    let before = client.clone();
    let good = server.encode(at(0), &[0.25; 4]).unwrap();
    let outside = server.encode(at(2), &[0.25; 4]).unwrap();
    let mono = slice::encode_raw(
        SliceHeader {
            num_samples: 4,
            channels: 1,
            ..SliceHeader::default()
        },
        &[0.0; 4],
    );
    let mut unknown = good.clone();
    unknown[0] = 2;
    let mut longer = good.clone();
    longer[5] = 9;
    assert_eq!(client.apply(&good[..22]), Err(SliceError::NoHeader(22)));
    assert_eq!(
        client.apply(&good[..good.len() - 1]),
        Err(SliceError::WrongLength { promised: 4 })
    );
    assert_eq!(client.apply(&longer), Err(SliceError::WrongLength { promised: 18 }));
    assert_eq!(client.apply(&unknown), Err(SliceError::UnknownFlags(2)));
    assert_eq!(client.apply(&outside), Err(SliceError::OutOfRange));
    assert_eq!(client.apply(&mono), Err(SliceError::OutOfRange));
    assert_eq!(client, before);
    client.apply(&good).unwrap();
    assert_eq!(client.samples(), [0.25; 4]);
}

#[test]
fn overlapping_slices_do_not_add_up_their_rounding() {
    let mut server = Mirror::from_source(&[0.0; 512], 2);
    let mut client = server.clone();
    let region: Vec<f32> = (0..512).map(|at| (at as f32 * 0.37).sin() * 0.9).collect();
    for turn in 0..200 {
        let sign = if turn % 2 == 0 { 1.0 } else { -1.0 };
        let region: Vec<f32> = region.iter().map(|sample| sample * sign).collect();
        play(&mut server, &mut client, 0, &region);
        let furthest = server
            .samples()
            .iter()
            .zip(&region)
            .map(|(held, exact)| (held - exact).abs())
            .fold(0.0, f32::max);
        // Half a step of a half float just below 2, which is as far as one rounding can be off.
        assert!(furthest <= 2.0_f32.powi(-11), "{furthest} after {turn} slices");
    }
}

#[test]
fn the_seam_fades_from_and_to_silence_and_nothing_else_changes() {
    let mut samples = vec![1.0; 20];
    slice::fade_seam(&mut samples, 2, 2);
    assert_eq!(samples[..6], [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]);
    assert_eq!(samples[14..], [1.0, 1.0, 0.5, 0.5, 0.0, 0.0]);
    let mut short = vec![1.0; 2];
    slice::fade_seam(&mut short, 2, 2400);
    slice::fade_seam(&mut [], 2, 2400);
    assert_eq!(short, [1.0; 2]);
}

proptest! {
    #[test]
    fn any_regions_in_any_order_leave_both_sides_equal(
        regions in prop::collection::vec((0_u32..64, prop::collection::vec(prop::num::f32::ANY, 0..80)), 1..8),
    ) {
        let mut server = Mirror::from_source(&[0.1; 128], 2);
        let mut client = server.clone();
        for (start, region) in regions {
            let whole = region.len() / CHANNELS * CHANNELS;
            if let Some(slice) = server.encode(at(start), &region[..whole]) {
                prop_assert!(client.apply(&slice).is_ok());
            }
            prop_assert_eq!(server.samples(), client.samples());
            prop_assert!(server.samples().iter().all(|sample| sample.is_finite()));
        }
    }

    #[test]
    fn a_good_slice_with_any_byte_changed_makes_no_reader_panic(which in 0_usize..400, value in any::<u8>()) {
        let mut bytes = Mirror::from_source(&[0.25; 256], 2).encode(at(1), &[0.5; 128]).unwrap();
        let which = which % bytes.len();
        bytes[which] = value;
        fuzz::slice_frame(&bytes);
    }
}
