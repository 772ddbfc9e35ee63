//! Tiles and windows against the whole.

use candle_core::Tensor;
use greenroom_weights::uniform;

use super::{data, distance, list, network, rates};
use crate::{Oobleck, OobleckConfig, WINDOW_MARGIN, encode_workspace_bytes, window_workspace_bytes};

/// What parts may differ by: the order of sums, and nothing that is missing.
const SAME: f64 = 1e-5;

fn rates_network() -> Oobleck {
    network(&rates(), 2)
}

fn latents(frames: usize) -> Tensor {
    data("latents", 5, frames, 4)
}

#[test]
fn margins_are_as_wide_as_layers_look() {
    let public = OobleckConfig::public();
    assert_eq!((public.encode_margin(), public.decode_margin()), (7, 10));
    // The tests' networks look as far: what they show holds for the public one.
    assert_eq!((rates().encode_margin(), rates().decode_margin()), (7, 10));
}

#[test]
fn tiles_have_the_latents_of_the_whole() {
    let network = rates_network();
    let sound = uniform("sound", 6, 2 * 1920 * 61);
    let encode = |tile| {
        let mut look = || Ok::<_, candle_core::Error>(());
        network.encode_in_tiles(&sound, tile, &mut look).unwrap()
    };
    let whole = list(&encode(61));
    for tile in [1, 7, 25, 60] {
        let (overall, worst) = distance(&list(&encode(tile)), &whole);
        assert!(
            overall < SAME && worst < SAME,
            "tiles of {tile}: {overall:.1e}, {worst:.1e}"
        );
    }
}

#[test]
fn an_encoder_looks_up_often_and_ends_when_told() {
    let network = rates_network();
    let sound = uniform("sound", 6, 2 * 1920 * 120);
    let mut looks = 0;
    let ended = network.encode(&sound, &mut || {
        looks += 1;
        if looks == 30 {
            return Err(candle_core::Error::Msg("enough".into()));
        }
        Ok(())
    });
    assert!(ended.unwrap_err().to_string().contains("enough"));
    assert_eq!(looks, 30);
    // 21 layers and the tile itself, of three tiles.
    let mut looks = 0;
    let mut count = || {
        looks += 1;
        Ok::<_, candle_core::Error>(())
    };
    network.encode(&sound, &mut count).unwrap();
    assert_eq!(looks, 3 * 22);
}

#[test]
fn a_sound_of_broken_frames_is_refused() {
    let network = rates_network();
    for values in [0, 1920, 2 * 1920 + 2] {
        let encoded = network.encode::<candle_core::Error>(&vec![0.1; values], &mut || Ok(()));
        assert!(encoded.unwrap_err().to_string().contains("whole latent frames"));
    }
}

#[test]
fn decoded_tiles_are_the_whole() {
    let network = rates_network();
    let latents = latents(131);
    let whole = list(&network.decode(&latents).unwrap());
    let (overall, worst) = distance(&list(&network.decode_in_tiles(&latents).unwrap()), &whole);
    assert!(overall < SAME && worst < SAME, "{overall:.1e}, {worst:.1e}");
}

/// How far nine frames from `first` on are from those of the whole, for a margin.
fn window_error(network: &Oobleck, latents: &Tensor, first: usize, cyclic: bool, margin: usize) -> f64 {
    let frames = latents.dim(0).unwrap();
    // A loop's surroundings are itself.
    let (around, at) = if cyclic {
        (Tensor::cat(&[latents; 5], 0).unwrap(), 2 * frames + first % frames)
    } else {
        (latents.clone(), first)
    };
    let whole = list(&network.decode(&around).unwrap());
    let window = network.window_with_margin(latents, first..first + 9, cyclic, margin);
    let (overall, worst) = distance(&list(&window.unwrap()), &whole[at * 1920 * 2..(at + 9) * 1920 * 2]);
    overall.max(worst)
}

#[test]
fn a_window_of_ten_frames_margin_is_a_part_of_the_whole() {
    let network = rates_network();
    let latents = latents(60);
    for (first, cyclic) in [
        (20, false),
        (0, false),
        (3, false),
        (51, false),
        (0, true),
        (55, true),
        (124, true),
    ] {
        let error = window_error(&network, &latents, first, cyclic, 10);
        assert!(error < SAME, "from {first}, cyclic {cyclic}: {error:.1e}");
        let error = window_error(&network, &latents, first, cyclic, WINDOW_MARGIN);
        eprintln!("from {first}, cyclic {cyclic}, a margin of 8: {error:.1e}");
        assert!(
            error < 1e-3,
            "from {first}, cyclic {cyclic}, a margin of 8: {error:.1e}"
        );
    }
    // The margin is what makes it so.
    assert!(window_error(&network, &latents, 20, false, 2) > 1e-3);
}

#[test]
fn a_loop_shorter_than_the_window_is_one_too() {
    let network = rates_network();
    for frames in [9, 11, 24] {
        let error = window_error(&network, &latents(frames), 5, true, 10);
        assert!(error < SAME, "{frames} frames: {error:.1e}");
    }
    let short = latents(12);
    let whole = list(&network.decode(&short).unwrap());
    let window = network.decode_window(&short, 2, 9, false).unwrap();
    let (overall, _) = distance(&window, &whole[2 * 1920 * 2..11 * 1920 * 2]);
    assert!(overall < SAME, "{overall:.1e}");
}

#[test]
fn frames_that_are_not_there_are_refused() {
    let network = rates_network();
    assert!(network.decode_window(&latents(60), 52, 9, false).is_err());
    assert!(network.decode_window(&latents(60), 5, 0, true).is_err());
    assert_eq!(
        network.decode_window(&latents(1), 7, 2, true).unwrap().len(),
        2 * 2 * 1920
    );
}

#[test]
fn the_workspace_is_that_of_a_tile() {
    // 250 frames and 7 on either side: two trunks of 8 channels, beside the sound.
    assert_eq!(encode_workspace_bytes(&rates()), 264 * 1920 * (2 * 4 + 4 * 8 * 2));
    assert_eq!(window_workspace_bytes(&rates(), 9), 25 * 1920 * (2 * 4 + 4 * 6 * 2));
}
