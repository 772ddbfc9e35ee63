//! Whole tracks, conversion of the rate included.

use std::sync::Arc;

use greenroom_audio::Pcm;
use greenroom_sync::CancelFlag;

use super::{
    super::resample::{Input, Resampler},
    Goldens, NARROW, noise, resident,
};
use crate::{Rip, Separator, Stems};

/// Channels one after another.
struct Channels(Vec<f32>);

impl Input for Channels {
    fn length(&self) -> usize {
        self.0.len() / 2
    }

    fn read(&self, channel: usize, start: usize, out: &mut [f32]) {
        out.copy_from_slice(&self.0[channel * self.length() + start..][..out.len()]);
    }
}

/// `[channels][frames]` as a track.
fn interleaved(planar: &[f32], channels: u16) -> Pcm {
    let (count, frames) = (usize::from(channels), planar.len() / usize::from(channels));
    let samples = (0..planar.len()).map(|index| planar[index % count * frames + index / count]);
    Pcm::new(48_000, channels, samples.collect())
}

fn separated(track: Pcm, seed: u64) -> Stems {
    let mut rip = resident(NARROW, seed).begin(Arc::new(track)).unwrap();
    run_out(rip.as_mut());
    rip.finish().unwrap()
}

pub(super) fn run_out(rip: &mut dyn Rip) {
    while rip.progress().0 < rip.progress().1 {
        rip.run_batch(&CancelFlag::new()).unwrap();
    }
}

#[test]
fn the_rate_is_converted_as_in_training() {
    let goldens = Goldens::read("tracks.safetensors");
    for (name, seed, rate_in, rate_out) in [("down", 30, 48_000, 44_100), ("up", 31, 44_100, 48_000)] {
        let (resampler, input) = (Resampler::new(rate_in, rate_out), Channels(noise(seed, 2 * 3_001)));
        let mut output = vec![0.0; 2 * resampler.output_length(3_001)];
        for (channel, output) in output.chunks_mut(resampler.output_length(3_001)).enumerate() {
            resampler.channel(&input, channel, output);
        }
        goldens.assert_near(name, &output);
    }
}

#[test]
fn tracks_of_every_kind_of_length_become_stems() {
    let goldens = Goldens::read("tracks.safetensors");
    for (name, seed, channels, frames) in [
        ("long", 32, 2_u16, 19_201),
        ("over_a_piece", 33, 1, 9_701),
        ("under_a_piece", 34, 2, 9_011),
        ("under_half_a_piece", 35, 2, 2_003),
        ("mono", 36, 1, 14_007),
    ] {
        let track = interleaved(&noise(seed, usize::from(channels) * frames), channels);
        let stems = separated(track, 6);
        for (stem, pcm) in [("vocals", stems.vocals), ("instruments", stems.instruments)] {
            assert_eq!(
                (pcm.sample_rate(), pcm.channels(), pcm.frames()),
                (48_000, channels, frames)
            );
            let planar: Vec<f32> = (0..channels).flat_map(|channel| pcm.channel(channel)).collect();
            goldens.assert_near(&format!("{name}.{stem}"), &planar);
        }
    }
}

#[test]
fn a_silent_track_has_silent_stems() {
    let stems = separated(Pcm::new(48_000, 2, vec![0.0; 24_000]), 6);
    for stem in [stems.vocals, stems.instruments] {
        assert_eq!(stem.samples(), vec![0.0; 24_000]);
    }
}
