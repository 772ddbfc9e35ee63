//! The tensors of the published checkpoint.

use greenroom_weights::{Key, Spread};

use crate::config::{DILATIONS, LAST_TAPS, OobleckConfig, Stage, TAPS};

/// Every tensor of `vae/diffusion_pytorch_model.safetensors`.
#[must_use]
pub fn keys(config: &OobleckConfig) -> Vec<Key> {
    let mut keys = Keys(Vec::new());
    let sound = config.audio_channels;
    let (stages, latent) = (config.encoder_stages(), 2 * config.latent_channels());
    keys.convolution("encoder.conv1", [config.encoder_hidden_size, sound, TAPS], true);
    for (block, stage) in stages.iter().enumerate() {
        let prefix = format!("encoder.block.{block}");
        keys.units(&prefix, stage.upper);
        keys.snake(&format!("{prefix}.snake1"), stage.upper);
        keys.convolution(
            &format!("{prefix}.conv1"),
            [stage.lower, stage.upper, 2 * stage.ratio],
            true,
        );
    }
    if let Some(last) = stages.last() {
        keys.snake("encoder.snake1", last.lower);
        keys.convolution("encoder.conv2", [latent, last.lower, LAST_TAPS], true);
    }
    let stages = config.decoder_stages();
    if let Some(first) = stages.first() {
        keys.convolution("decoder.conv1", [first.lower, config.latent_channels(), TAPS], true);
    }
    for (block, stage) in stages.iter().enumerate() {
        let prefix = format!("decoder.block.{block}");
        keys.snake(&format!("{prefix}.snake1"), stage.lower);
        keys.transposed(&format!("{prefix}.conv_t1"), stage);
        keys.units(&prefix, stage.upper);
    }
    keys.snake("decoder.snake1", config.decoder_channels);
    keys.convolution(SOUND, [sound, config.decoder_channels, TAPS], false);
    keys.0
}

/// Names of a convolution's direction, its lengths and its bias.
pub(crate) struct Weights {
    pub(crate) direction: Key,
    pub(crate) length: Key,
    pub(crate) bias: Option<Key>,
}

/// The decoder's last convolution, after which there is sound.
pub(crate) const SOUND: &str = "decoder.conv2";

/// A weight-normed convolution [out, in, taps].
pub(crate) fn convolution(name: &str, shape: [usize; 3], biased: bool) -> Weights {
    let [out, inputs, taps] = shape;
    // What random ones do to the signal's level. Units add little to it, or it would double with each; sound is far from its limits.
    let gain = match (name, taps) {
        (SOUND, _) => 0.1,
        (_, 1) => 0.3,
        _ => 1.0,
    };
    weights(name, shape, Spread::weight(inputs * taps), gain, biased.then_some(out))
}

/// A weight-normed transposed convolution [in, out, taps], with one length for each input.
pub(crate) fn transposed(name: &str, stage: &Stage) -> Weights {
    let shape = [stage.lower, stage.upper, 2 * stage.ratio];
    // Two rows of inputs make an output: this keeps its level.
    let gain = ((stage.upper * stage.ratio) as f32 / stage.lower as f32).sqrt();
    weights(name, shape, Spread::weight(2 * stage.lower), gain, Some(stage.upper))
}

fn weights(name: &str, shape: [usize; 3], spread: Spread, gain: f32, bias: Option<usize>) -> Weights {
    let length = Spread {
        centre: gain,
        reach: 0.2 * gain,
    };
    Weights {
        direction: Key::new(format!("{name}.weight_v"), &shape, spread),
        length: Key::new(format!("{name}.weight_g"), &[shape[0], 1, 1], length),
        bias: bias.map(|out| Key::new(format!("{name}.bias"), &[out], Spread::BIAS)),
    }
}

/// Logarithms of a Snake's frequencies, and of what its squared sines are divided by.
pub(crate) fn snake(name: &str, channels: usize) -> [Key; 2] {
    let spread = Spread {
        centre: 0.0,
        reach: 0.5,
    };
    ["alpha", "beta"].map(|part| Key::new(format!("{name}.{part}"), &[1, channels, 1], spread))
}

/// Where a block's residual units are.
pub(crate) fn unit(block: &str, index: usize) -> String {
    format!("{block}.res_unit{}", index + 1)
}

struct Keys(Vec<Key>);

impl Keys {
    fn add(&mut self, weights: Weights) {
        self.0.extend([weights.length, weights.direction]);
        self.0.extend(weights.bias);
    }

    fn convolution(&mut self, name: &str, shape: [usize; 3], biased: bool) {
        self.add(convolution(name, shape, biased));
    }

    fn transposed(&mut self, name: &str, stage: &Stage) {
        self.add(transposed(name, stage));
    }

    fn snake(&mut self, name: &str, channels: usize) {
        self.0.extend(snake(name, channels));
    }

    fn units(&mut self, block: &str, channels: usize) {
        for index in 0..DILATIONS.len() {
            let unit = unit(block, index);
            self.snake(&format!("{unit}.snake1"), channels);
            self.convolution(&format!("{unit}.conv1"), [channels, channels, TAPS], true);
            self.snake(&format!("{unit}.snake2"), channels);
            self.convolution(&format!("{unit}.conv2"), [channels, channels, 1], true);
        }
    }
}
