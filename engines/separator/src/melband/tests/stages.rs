//! Each stage of the network by itself, then all of them.

use candle_core::Tensor;
use greenroom_kernels::rms_norm;

use super::{
    super::{
        bands::Bands,
        layout::keys,
        transformer::{NORM_EPS, Transformer},
    },
    Goldens, LONG, MelbandConfig, NARROW, WIDE, list, network, noise_tensor,
};

#[test]
fn the_public_layout_has_the_tensors_of_the_other_implementation() {
    let mut ours: Vec<String> = keys(&MelbandConfig::PUBLIC)
        .into_iter()
        .map(|key| {
            let shape: Vec<String> = key.shape.iter().map(ToString::to_string).collect();
            format!("{} {}", key.name, shape.join(" "))
        })
        .collect();
    let mut theirs: Vec<&str> = include_str!("../../../goldens/keys.txt").lines().collect();
    ours.sort();
    theirs.sort_unstable();
    assert_eq!(ours, theirs);
}

#[test]
fn bands_have_as_many_bins() {
    let counts = Goldens::read("stages.safetensors").words("narrow.band_counts");
    let ours = Bands::of(&NARROW).bands;
    let ours: Vec<i32> = ours.iter().map(|band| band.count as i32).collect();
    let theirs: Vec<i32> = counts.into_iter().map(i32::from_le_bytes).collect();
    assert_eq!(ours, theirs);
}

#[test]
fn sound_becomes_spectra_and_spectra_sound() {
    let (goldens, network) = (Goldens::read("stages.safetensors"), network(&NARROW, 1));
    let spectra = network.fourier.spectra(&noise_tensor(10, &[1, 2, 5_003])).unwrap();
    goldens.assert_near("narrow.spectra", &list(&spectra));
    // These are no sound's spectra: their first and last bins are complex.
    let sound = network
        .fourier
        .sound(&noise_tensor(11, &[1, 2, 9, 1025, 2]), 8 * NARROW.hop)
        .unwrap();
    goldens.assert_near("narrow.resynthesis", &list(&sound));
}

#[test]
fn bands_become_tokens() {
    let (goldens, network) = (Goldens::read("stages.safetensors"), network(&NARROW, 1));
    let spectra = network.fourier.spectra(&noise_tensor(10, &[1, 2, 5_003])).unwrap();
    let tokens = network.split.forward(&spectra, &network.layout, 12).unwrap();
    goldens.assert_near("narrow.tokens", &list(&tokens));
}

/// The output of a transformer for tokens `[batch, frames, bands, dim]`, and the same through the norm of the next.
fn transformed(transformer: &Transformer, next: Option<&Tensor>, tokens: &Tensor) -> (Tensor, Tensor) {
    let (batch, frames, bands, dim) = tokens.dims4().unwrap();
    let tokens = tokens.reshape((batch * frames * bands, dim)).unwrap();
    let normed = rms_norm(&tokens, transformer.input_norm(), NORM_EPS).unwrap();
    transformer.forward(&tokens, &normed, next, (batch, frames)).unwrap()
}

#[test]
fn a_transformer_looks_along_its_axis() {
    let goldens = Goldens::read("stages.safetensors");
    let narrow = network(&NARROW, 1);
    let tokens = noise_tensor(12, &[2, 7, 60, 16]);
    for (transformer, name) in [
        (&narrow.layers[0][0], "narrow.over_time"),
        (&narrow.layers[1][1], "narrow.over_bands"),
    ] {
        let (out, _) = transformed(transformer, None, &tokens);
        goldens.assert_near(name, &list(&out));
        let next = narrow.layers[1][0].input_norm();
        let (out, normed) = transformed(transformer, Some(next), &tokens);
        goldens.assert_near(name, &list(&out));
        let expected = rms_norm(&out, next, NORM_EPS).unwrap();
        for (normed, expected) in list(&normed).iter().zip(list(&expected)) {
            assert!((normed - expected).abs() < 1e-5);
        }
    }
}

#[test]
fn a_transformer_of_the_public_width_does_too() {
    let (goldens, wide) = (Goldens::read("stages.safetensors"), network(&WIDE, 2));
    let tokens = noise_tensor(14, &[1, 5, 7, 384]);
    let [over_time, over_bands] = &wide.layers[0];
    goldens.assert_near("wide.over_time", &list(&transformed(over_time, None, &tokens).0));
    goldens.assert_near("wide.over_bands", &list(&transformed(over_bands, None, &tokens).0));
}

#[test]
fn a_sequence_is_as_long_as_a_piece_of_a_track() {
    let (goldens, long) = (Goldens::read("stages.safetensors"), network(&LONG, 3));
    let (out, _) = transformed(&long.layers[0][0], None, &noise_tensor(15, &[1, 801, 2, 8]));
    goldens.assert_near("long.over_time", &list(&out));
}

#[test]
fn tokens_become_masks() {
    let (goldens, network) = (Goldens::read("stages.safetensors"), network(&NARROW, 1));
    let tokens = noise_tensor(13, &[3 * 60, 16]);
    let buffer = network.masks.forward(tokens, &network.bands, 3).unwrap();
    let layout = &network.layout;
    let masks: Vec<Tensor> = (0..60)
        .map(|band| {
            let (offset, width) = (layout.offset(band), layout.width(band));
            let rows = buffer.narrow(0, 3 * offset, 3 * width).unwrap();
            rows.reshape((3, width))
                .unwrap()
                .narrow(1, 0, layout.values(band))
                .unwrap()
        })
        .collect();
    goldens.assert_near("narrow.masks", &list(&Tensor::cat(&masks, 1).unwrap()));
}

#[test]
fn masks_lie_on_the_spectra() {
    let (goldens, network) = (Goldens::read("sounds.safetensors"), network(&NARROW, 4));
    let spectra = network.fourier.spectra(&noise_tensor(20, &[1, 2, 5_003])).unwrap();
    let masked = network.mask(&spectra, &mut || Ok(())).unwrap();
    goldens.assert_near("narrow.masked", &list(&masked));
}

#[test]
fn sound_becomes_singing() {
    let goldens = Goldens::read("sounds.safetensors");
    for (config, seed, name, noise_seed, shape) in [
        (NARROW, 4, "narrow.sound", 20, [1, 2, 5_003]),
        (NARROW, 4, "narrow.batch", 21, [2, 2, 2_999]),
        (WIDE, 5, "wide.sound", 22, [1, 2, 4_001]),
    ] {
        let sound = noise_tensor(noise_seed, &shape);
        let singing = network(&config, seed).separate(&sound, &mut || Ok(())).unwrap();
        goldens.assert_near(name, &list(&singing));
    }
}

#[test]
fn silence_stays_silent() {
    let silence = noise_tensor(1, &[1, 2, 3_000]).zeros_like().unwrap();
    let singing = list(&network(&NARROW, 4).separate(&silence, &mut || Ok(())).unwrap());
    assert_eq!(singing, Goldens::read("sounds.safetensors").get("narrow.silence"));
}
