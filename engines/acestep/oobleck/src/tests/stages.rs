//! Each kind of block by itself, then encoder and decoder.

use candle_core::Tensor;

use super::{assert_golden, data, encoded, image, latent, narrow, network, rates, tensor};
use crate::{OobleckConfig, OobleckError, keys};

#[test]
fn the_public_layout_has_the_tensors_of_the_other_implementation() {
    let mut ours: Vec<String> = keys(&OobleckConfig::public())
        .into_iter()
        .map(|key| {
            let shape: Vec<String> = key.shape.iter().map(ToString::to_string).collect();
            format!("{} {}", key.name, shape.join(" "))
        })
        .collect();
    let mut theirs: Vec<&str> = include_str!("../../goldens/keys.txt").lines().collect();
    ours.sort();
    theirs.sort_unstable();
    assert_eq!(ours, theirs);
    let parameters: usize = keys(&OobleckConfig::public()).iter().map(|key| key.len()).sum();
    assert_eq!(parameters, 168_695_426);
}

/// What a Snake makes of rows.
fn curved(x: &Tensor, seed: u64, name: &str) -> Tensor {
    let image = image(&narrow(), seed);
    let channels = x.dim(1).unwrap();
    let snake = tensor(&image, name, &[2, channels]);
    let sine = x.broadcast_mul(&snake.get(0).unwrap()).unwrap().sin().unwrap();
    (x + sine.sqr().unwrap().broadcast_mul(&snake.get(1).unwrap()).unwrap()).unwrap()
}

#[test]
fn a_residual_unit_adds_to_its_trunk() {
    let x = data("unit", 1, 61, 8);
    let trunk = Tensor::stack(&[&x, &curved(&x, 1, "encoder.block.0.res_unit3.snake1")], 0).unwrap();
    let network = network(&narrow(), 1);
    let trunk = network.encoder.blocks[0].units[2].forward(trunk).unwrap();
    assert_golden("narrow.unit", &trunk.get(0).unwrap());
    let next = curved(&trunk.get(0).unwrap(), 1, "encoder.block.0.snake1");
    let (off, _) = super::distance(&super::list(&trunk.get(1).unwrap()), &super::list(&next));
    assert!(off < 1e-6, "{off:.1e}");
}

#[test]
fn a_block_of_the_encoder_lowers_the_rate() {
    let x = data("encoder block", 1, 92, 8);
    let trunk = Tensor::stack(&[&x, &curved(&x, 1, "encoder.block.1.res_unit1.snake1")], 0).unwrap();
    let network = network(&narrow(), 1);
    let mut look = || Ok::<_, candle_core::Error>(());
    let trunk = network.encoder.blocks[1].forward(trunk, &mut look).unwrap();
    assert_golden("narrow.encoder_block", &trunk.get(0).unwrap());
}

#[test]
fn a_block_of_the_decoder_raises_the_rate() {
    let x = curved(&data("decoder block", 1, 23, 16), 1, "decoder.block.0.snake1");
    let trunk = network(&narrow(), 1).decoder.blocks[0].forward(&x).unwrap();
    assert_golden("narrow.decoder_block", &trunk.get(0).unwrap());
}

#[test]
fn sound_becomes_latents() {
    assert_golden("narrow.mean", &encoded(&network(&narrow(), 1), 1, 131));
    assert_golden("rates.mean", &encoded(&network(&rates(), 2), 2, 23));
    assert_golden("rates.one_mean", &encoded(&network(&rates(), 2), 3, 1));
    assert_golden("latent.mean", &encoded(&network(&latent(), 3), 4, 29));
}

#[test]
fn latents_become_sound() {
    for (config, network_seed, name, seed, frames) in [
        (narrow(), 1, "narrow.sound", 1, 137),
        (rates(), 2, "rates.sound", 2, 5),
        (rates(), 2, "rates.one_sound", 3, 1),
        (latent(), 3, "latent.sound", 4, 29),
    ] {
        let latents = data("latents", seed, frames, config.latent_channels());
        assert_golden(name, &network(&config, network_seed).decode(&latents).unwrap());
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let public = OobleckConfig::public();
    assert!(public.check().is_ok());
    assert_eq!(public.frame_samples(), 1920);
    for (config, word) in [
        (
            OobleckConfig {
                audio_channels: 1,
                ..public.clone()
            },
            "two channels",
        ),
        (
            OobleckConfig {
                decoder_input_channels: 0,
                ..public.clone()
            },
            "may be 0",
        ),
        (
            OobleckConfig {
                channel_multiples: vec![1, 2],
                ..public.clone()
            },
            "multiple",
        ),
        (
            OobleckConfig {
                downsampling_ratios: vec![2, 4, 4, 5, 10],
                ..public.clone()
            },
            "even",
        ),
    ] {
        let Err(OobleckError::Config(reason)) = config.check() else {
            panic!("{config:?} is accepted")
        };
        assert!(reason.contains(word), "{reason}");
    }
}
