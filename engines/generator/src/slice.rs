//! Windows of the buffer that are made and sent together, and how they are laid into it.

use std::ops::Range;

use crate::playhead::Lap;

/// Frames of a slice: 9 latent frames, 0.36 s.
pub const SLICE_FRAMES: usize = 17_280;
/// Longest cross-fade at a slice's edges, in frames: 25 ms.
pub const FADE_FRAMES_MAX: usize = 1_200;

/// A window to decode and to lay into the buffer; it never crosses the buffer's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First frame.
    pub start: u64,
    /// Length in frames; at least 1.
    pub frames: usize,
    /// Frames over which it comes in over what the buffer holds; 0 where playing enters by a jump or from the slice's other window.
    pub fade_in: usize,
    /// Frames over which it gives way to what the buffer holds; 0 likewise.
    pub fade_out: usize,
}

impl Window {
    /// Lays decoded samples (interleaved, `frames` × `channels`) into a buffer of that many channels, with linear cross-fades.
    ///
    /// # Panics
    /// If the window reaches over the buffer's end or the samples are not its own: bugs of the caller.
    pub fn lay_into(&self, buffer: &mut [f32], channels: usize, samples: &[f32]) {
        assert_eq!(samples.len(), self.frames * channels, "samples of this window");
        let start = self.start as usize * channels;
        let target = &mut buffer[start..start + samples.len()];
        let frames = target.chunks_exact_mut(channels).zip(samples.chunks_exact(channels));
        for (index, (old, new)) in frames.enumerate() {
            let weight = self.weight(index);
            for (old, new) in old.iter_mut().zip(new) {
                // Whole weight copies: an unchanged source must come out bit for bit.
                *old = if weight == 1.0 {
                    *new
                } else {
                    *old + (*new - *old) * weight
                };
            }
        }
    }

    /// Share of the new sound at a frame of the window.
    fn weight(&self, index: usize) -> f32 {
        let left = self.frames - index;
        let coming = if index < self.fade_in {
            (index + 1) as f32 / (self.fade_in + 1) as f32
        } else {
            1.0
        };
        let going = if left <= self.fade_out {
            left as f32 / (self.fade_out + 1) as f32
        } else {
            1.0
        };
        coming.min(going)
    }
}

/// What is decoded in one go: one window, or two where playing jumps from the end of its lap back to the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The windows in the order in which they are played; one or two.
    pub windows: Vec<Window>,
}

impl Slice {
    /// The slice at a position of a lap that must not leave a part of the source, which the position lies in. Where it comes to the part's
    /// end, or to the lap's and its start lies in another, it ends there.
    pub(crate) fn within(position: u64, lap: Lap, part: &Range<u64>) -> Self {
        let slice = Self::at(position, lap);
        let inside = |window: &Window| window.start >= part.start && window.start + window.frames as u64 <= part.end;
        if slice.windows.iter().all(inside) {
            return slice;
        }
        let frames = (lap.end.min(part.end) - position).min(slice.frames() as u64) as usize;
        let fade = fade_frames(frames);
        let window = Window {
            start: position,
            frames,
            fade_in: fade,
            fade_out: fade,
        };
        Self { windows: vec![window] }
    }

    /// The slice at a position of a lap, as long as the lap allows.
    pub(crate) fn at(position: u64, lap: Lap) -> Self {
        let frames = SLICE_FRAMES.min(lap.frames() as usize);
        let fade = fade_frames(frames);
        let first = frames.min((lap.end - position) as usize);
        let rest = frames - first;
        let mut windows = vec![Window {
            start: position,
            frames: first,
            fade_in: fade.min(first),
            fade_out: if rest == 0 { fade } else { 0 },
        }];
        if rest > 0 {
            windows.push(Window {
                start: lap.start,
                frames: rest,
                fade_in: 0,
                fade_out: fade.min(rest),
            });
        }
        Self { windows }
    }

    /// Frames of all windows together.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.windows.iter().map(|window| window.frames).sum()
    }
}

/// Frames of the cross-fade at the edges of a slice.
pub(crate) fn fade_frames(frames: usize) -> usize {
    FADE_FRAMES_MAX.min(frames / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAP: Lap = Lap { start: 0, end: 96_000 };

    #[test]
    fn a_slice_at_the_end_goes_on_at_the_start() {
        let slice = Slice::at(90_000, LAP);
        let [end, start] = slice.windows[..] else {
            panic!("two windows")
        };
        assert_eq!(
            end,
            Window {
                start: 90_000,
                frames: 6_000,
                fade_in: 1_200,
                fade_out: 0
            }
        );
        assert_eq!(
            start,
            Window {
                start: 0,
                frames: 11_280,
                fade_in: 0,
                fade_out: 1_200
            }
        );
        assert_eq!(slice.frames(), SLICE_FRAMES);
    }

    #[test]
    fn a_band_is_never_left() {
        let band = Lap {
            start: 10_000,
            end: 20_000,
        };
        for position in (10_000..20_000).step_by(777) {
            let slice = Slice::at(position, band);
            assert_eq!(slice.frames(), 10_000);
            assert!(
                slice
                    .windows
                    .iter()
                    .all(|window| window.start >= 10_000 && window.start as usize + window.frames <= 20_000)
            );
        }
    }

    #[test]
    fn laying_fades_at_the_edges_and_copies_in_between() {
        let window = Window {
            start: 2,
            frames: 8,
            fade_in: 2,
            fade_out: 2,
        };
        let mut buffer = vec![0.0_f32; 24];
        window.lay_into(&mut buffer, 2, &[1.0; 16]);
        let left = buffer.iter().step_by(2).copied().collect::<Vec<_>>();
        let third = 1.0 / 3.0;
        let expected = [
            0.0,
            0.0,
            third,
            2.0 * third,
            1.0,
            1.0,
            1.0,
            1.0,
            2.0 * third,
            third,
            0.0,
            0.0,
        ];
        assert!(
            left.iter()
                .zip(expected)
                .all(|(left, expected)| (left - expected).abs() < 1e-6),
            "{left:?}"
        );
        assert!(buffer.iter().step_by(2).eq(buffer.iter().skip(1).step_by(2)));
    }

    #[test]
    fn laying_the_same_sound_changes_no_bit() {
        let samples = (0..100)
            .map(|index| (index as f32 * 0.37).sin() / 3.0)
            .collect::<Vec<_>>();
        let mut buffer = samples.clone();
        Window {
            start: 0,
            frames: 100,
            fade_in: 25,
            fade_out: 25,
        }
        .lay_into(&mut buffer, 1, &samples);
        assert_eq!(buffer, samples);
    }
}
