//! The network once more, as plainly as it can be written, in `f64`: what the fast layers are compared with.

use greenroom_audio::sdr_db;
use greenroom_sync::CancelFlag;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{
    network::{Cancelled, DEPTH, Half, Network},
    plane::{Plane, channel_of},
    weights::Tensors,
};

/// `[channels][height][width]`.
#[derive(Clone)]
struct Image {
    channels: usize,
    height: usize,
    width: usize,
    values: Vec<f64>,
}

impl Image {
    fn new(channels: usize, height: usize, width: usize) -> Self {
        Self {
            channels,
            height,
            width,
            values: vec![0.0; channels * height * width],
        }
    }

    fn at(&self, channel: usize, y: isize, x: isize) -> f64 {
        if y < 0 || x < 0 || y >= self.height as isize || x >= self.width as isize {
            return 0.0;
        }
        self.values[(channel * self.height + y as usize) * self.width + x as usize]
    }

    fn at_mut(&mut self, channel: usize, y: usize, x: usize) -> &mut f64 {
        &mut self.values[(channel * self.height + y) * self.width + x]
    }

    fn map(mut self, change: impl Fn(usize, f64) -> f64) -> Self {
        let plane = self.height * self.width;
        self.values
            .iter_mut()
            .enumerate()
            .for_each(|(index, value)| *value = change(index / plane, *value));
        self
    }

    fn over(mut self, below: &Self) -> Self {
        self.channels += below.channels;
        self.values.extend(&below.values);
        self
    }
}

/// Random weights of small networks.
struct Weights(Vec<(String, Vec<usize>, Vec<f32>)>);

impl Weights {
    fn get(&self, name: &str) -> &[f32] {
        &self.0.iter().find(|(there, ..)| there == name).unwrap().2
    }

    fn random(encoders: [usize; DEPTH], decoders: [usize; DEPTH - 1]) -> Self {
        let mut weights = Self(Vec::new());
        let mut state = 1_u64;
        let mut inputs = 2;
        for (layer, outputs) in (1..).zip(encoders) {
            weights.add(
                &mut state,
                &format!("down{layer}_conv.1.weight"),
                &[outputs, inputs, 5, 5],
            );
            weights.add(&mut state, &format!("down{layer}_conv.1.bias"), &[outputs]);
            weights.add_normalisation(&mut state, &format!("down{layer}_act.0"), outputs);
            inputs = outputs;
        }
        for (layer, outputs) in (1..).zip(decoders.into_iter().chain([1])) {
            weights.add(&mut state, &format!("up{layer}.0.weight"), &[inputs, outputs, 5, 5]);
            weights.add(&mut state, &format!("up{layer}.0.bias"), &[outputs]);
            weights.add_normalisation(&mut state, &format!("up{layer}.3"), outputs);
            inputs = outputs + if layer < DEPTH { encoders[DEPTH - 1 - layer] } else { 0 };
        }
        weights.add(&mut state, "up7.0.weight", &[2, 1, 4, 4]);
        weights.add(&mut state, "up7.0.bias", &[2]);
        weights
    }

    fn add(&mut self, state: &mut u64, name: &str, shape: &[usize]) {
        // Filters are scaled so that values stay about as large from layer to layer.
        let fan_in: usize = if shape.len() == 1 {
            4
        } else {
            shape[1..].iter().product()
        };
        let values = (0..shape.iter().product()).map(|_| random(state) * 1.7 / (fan_in as f32).sqrt());
        self.0.push((name.into(), shape.into(), values.collect()));
    }

    fn add_normalisation(&mut self, state: &mut u64, name: &str, channels: usize) {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            let values = (0..channels).map(|_| match part {
                "weight" | "running_var" => 1.0 + 0.5 * random(state),
                _ => 0.3 * random(state),
            });
            self.0
                .push((format!("{name}.{part}"), vec![channels], values.collect()));
        }
    }

    fn safetensors(&self) -> Vec<u8> {
        let bytes: Vec<Vec<u8>> = self
            .0
            .iter()
            .map(|(.., values)| values.iter().flat_map(|value| value.to_le_bytes()).collect())
            .collect();
        let views = self.0.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            (
                format!("tiny.{name}"),
                TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
            )
        });
        safetensors::serialize(views, None).unwrap()
    }

    fn convolve(&self, layer: usize, input: &Image) -> Image {
        let (weights, bias) = (
            self.get(&format!("down{layer}_conv.1.weight")),
            self.get(&format!("down{layer}_conv.1.bias")),
        );
        let mut output = Image::new(bias.len(), input.height / 2, input.width / 2);
        for_each_place(&mut output, |channel, y, x| {
            let mut sum = f64::from(bias[channel]);
            for_each_tap(input.channels, 5, |source, ky, kx| {
                let weight = weights[((channel * input.channels + source) * 5 + ky) * 5 + kx];
                sum += f64::from(weight) * input.at(source, (2 * y + ky) as isize - 1, (2 * x + kx) as isize - 1);
            });
            sum
        });
        output
    }

    /// Transposed convolution as it is defined: every input value is scattered; the edges are cut by 1 and 2.
    fn expand(&self, layer: usize, input: &Image) -> Image {
        let (weights, bias) = (
            self.get(&format!("up{layer}.0.weight")),
            self.get(&format!("up{layer}.0.bias")),
        );
        let mut full = Image::new(bias.len(), 2 * input.height + 3, 2 * input.width + 3);
        for y in 0..input.height {
            for x in 0..input.width {
                for_each_tap(input.channels, 5, |source, ky, kx| {
                    let value = input.at(source, y as isize, x as isize);
                    for channel in 0..bias.len() {
                        let weight = weights[((source * bias.len() + channel) * 5 + ky) * 5 + kx];
                        *full.at_mut(channel, 2 * y + ky, 2 * x + kx) += f64::from(weight) * value;
                    }
                });
            }
        }
        let mut output = Image::new(bias.len(), 2 * input.height, 2 * input.width);
        for_each_place(&mut output, |channel, y, x| {
            full.at(channel, y as isize + 1, x as isize + 1) + f64::from(bias[channel])
        });
        self.normalise(&format!("up{layer}.3"), output.map(|_, value| value.max(0.0)))
    }

    fn normalise(&self, name: &str, image: Image) -> Image {
        let part = |part: &str, channel: usize| f64::from(self.get(&format!("{name}.{part}"))[channel]);
        image.map(|channel, value| {
            let deviation = (part("running_var", channel) + 1e-3).sqrt();
            (value - part("running_mean", channel)) / deviation * part("weight", channel) + part("bias", channel)
        })
    }

    fn masks(&self, input: &Image) -> Image {
        let mut raws = Vec::new();
        let mut values = input.clone();
        for layer in 1..=DEPTH {
            let raw = self.convolve(layer, &values);
            values = self
                .normalise(&format!("down{layer}_act.0"), raw.clone())
                .map(|_, value| if value < 0.0 { 0.2 * value } else { value });
            raws.push(raw);
        }
        values = self.expand(1, &raws[DEPTH - 1]);
        for layer in 2..=DEPTH {
            values = self.expand(layer, &raws[DEPTH - layer].clone().over(&values));
        }
        let (weights, bias) = (self.get("up7.0.weight"), self.get("up7.0.bias"));
        let mut masks = Image::new(2, input.height, input.width);
        for_each_place(&mut masks, |channel, y, x| {
            let mut sum = f64::from(bias[channel]);
            for_each_tap(1, 4, |_, ky, kx| {
                let weight = weights[(channel * 4 + ky) * 4 + kx];
                sum += f64::from(weight) * values.at(0, (y + 2 * ky) as isize - 3, (x + 2 * kx) as isize - 3);
            });
            1.0 / (1.0 + (-sum).exp())
        });
        masks
    }
}

fn for_each_place(image: &mut Image, value: impl Fn(usize, usize, usize) -> f64) {
    for channel in 0..image.channels {
        for y in 0..image.height {
            for x in 0..image.width {
                *image.at_mut(channel, y, x) = value(channel, y, x);
            }
        }
    }
}

fn for_each_tap(channels: usize, kernel: usize, mut visit: impl FnMut(usize, usize, usize)) {
    for channel in 0..channels {
        for tap in 0..kernel * kernel {
            visit(channel, tap / kernel, tap % kernel);
        }
    }
}

/// Evenly spread in −1..1.
fn random(state: &mut u64) -> f32 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 40) as f32 / (1 << 23) as f32 - 1.0
}

fn magnitudes(height: usize, width: usize) -> Image {
    let mut state = 7;
    Image::new(2, height, width)
        .map(|_, _| 0.0)
        .fill_with(|| f64::from(random(&mut state).abs()))
}

impl Image {
    fn fill_with(mut self, mut next: impl FnMut() -> f64) -> Self {
        self.values.iter_mut().for_each(|value| *value = next());
        self
    }
}

fn write_split(image: &Image, input: &mut Plane) {
    let half = image.width / 2;
    for (y, band) in input.bands_mut().enumerate() {
        for channel in 0..2 * image.channels {
            for (x, value) in channel_of(band, channel, half).iter_mut().enumerate() {
                *value = image.at(channel / 2, y as isize, (2 * x + channel % 2) as isize) as f32;
            }
        }
    }
}

fn compare(encoders: [usize; DEPTH], decoders: [usize; DEPTH - 1], height: usize, width: usize) -> f64 {
    let weights = Weights::random(encoders, decoders);
    let image = weights.safetensors();
    let file = SafeTensors::deserialize(&image).unwrap();
    let network = Network::build(&Tensors {
        file: &file,
        instrument: "tiny",
    })
    .unwrap();
    let magnitudes = magnitudes(height, width);
    let expected = weights.masks(&magnitudes);

    let mut activations = network.activations(height, width);
    let mut masks = Plane::new(height, 2, width);
    // Twice over the same buffers: nothing of the first run may show in the second.
    for _ in 0..2 {
        write_split(&magnitudes, activations.input());
        for half in [Half::Down, Half::Up] {
            // A half that was given up and is done again ends the same.
            let raised = CancelFlag::new();
            raised.raise();
            assert_eq!(network.run(half, &mut activations, &mut masks, &raised), Err(Cancelled));
            network
                .run(half, &mut activations, &mut masks, &CancelFlag::new())
                .unwrap();
        }
    }
    let found: Vec<f32> = (0..2)
        .flat_map(|channel| (0..height).map(move |y| (channel, y)))
        .flat_map(|(channel, y)| masks.row(y, channel))
        .copied()
        .collect();
    let expected: Vec<f32> = expected.values.iter().map(|value| *value as f32).collect();
    // Masks that hardly move would agree whatever the layers do.
    let mean = expected.iter().sum::<f32>() / expected.len() as f32;
    let centred = |values: &[f32]| values.iter().map(|value| value - mean).collect::<Vec<_>>();
    assert!(greenroom_audio::rms(&centred(&expected)) > 0.02, "the masks are flat");
    sdr_db(&centred(&expected), &centred(&found))
}

#[test]
fn odd_numbers_of_channels_and_uneven_tiles_agree_with_the_plain_network() {
    let agreement = compare([3, 5, 7, 9, 11, 13], [12, 10, 8, 6, 4], 192, 128);
    assert!(agreement > 100.0, "{agreement} dB");
}

#[test]
fn layers_cut_by_channels_agree_with_the_plain_network() {
    let agreement = compare([4, 6, 20, 64, 128, 192], [128, 64, 34, 16, 8], 64, 192);
    assert!(agreement > 100.0, "{agreement} dB");
}

#[test]
fn a_raised_flag_ends_the_run() {
    let weights = Weights::random([2; DEPTH], [2; DEPTH - 1]).safetensors();
    let file = SafeTensors::deserialize(&weights).unwrap();
    let network = Network::build(&Tensors {
        file: &file,
        instrument: "tiny",
    })
    .unwrap();
    let flag = CancelFlag::new();
    flag.raise();
    for half in [Half::Down, Half::Up] {
        let ended = network.run(
            half,
            &mut network.activations(64, 64),
            &mut Plane::new(64, 2, 64),
            &flag,
        );
        assert_eq!(ended, Err(Cancelled));
    }
}

#[test]
fn a_tensor_that_does_not_fit_is_named() {
    let mut weights = Weights::random([2; DEPTH], [2; DEPTH - 1]);
    let index = weights.0.iter().position(|(name, ..)| name == "up3.0.weight").unwrap();
    let (_, shape, values) = &mut weights.0[index];
    shape[0] += 1;
    values.resize(shape.iter().product(), 0.0);
    let image = weights.safetensors();
    let file = SafeTensors::deserialize(&image).unwrap();
    let error = Network::build(&Tensors {
        file: &file,
        instrument: "tiny",
    })
    .unwrap_err()
    .to_string();
    assert!(
        error.contains("tiny.up3.0.weight") && error.contains("[5, 2, 5, 5]"),
        "{error}"
    );
    assert!(
        Network::build(&Tensors {
            file: &file,
            instrument: "other"
        })
        .is_err()
    );
}
