//! The playback buffer between the live thread, which writes what it decodes, and the connection's writer, which sends it.

use crate::platform::{Arc, Mutex, lock};

/// A stretch of the buffer that is new, with its samples as they are now.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// First frame.
    pub start: usize,
    /// Interleaved samples of whole frames.
    pub samples: Vec<f32>,
}

#[derive(Debug)]
struct State {
    samples: Vec<f32>,
    /// New stretches as (first frame, one past the last): sorted, apart, never empty.
    fresh: Vec<(usize, usize)>,
}

/// What the listener should hold: the live thread writes regions, the writer takes what is new, merged and never lost. A slow client so
/// gets fewer, larger, newer slices. Copying happens under the lock, so a region is never torn.
#[derive(Clone, Debug)]
pub struct SliceBuffer {
    state: Arc<Mutex<State>>,
    channels: usize,
    frames: usize,
}

impl SliceBuffer {
    /// A buffer that holds `samples`, interleaved, none of it new.
    ///
    /// # Panics
    /// If `channels` is zero or the samples are not a whole number of frames: a bug of the caller.
    #[must_use]
    pub fn new(samples: Vec<f32>, channels: usize) -> Self {
        assert!(
            channels > 0 && samples.len().is_multiple_of(channels),
            "a whole number of frames"
        );
        let frames = samples.len() / channels;
        Self {
            state: Arc::new(Mutex::new(State {
                samples,
                fresh: Vec::new(),
            })),
            channels,
            frames,
        }
    }

    /// Frames per channel.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Samples a frame.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// A copy of `frames` frames from `start`, which must lie within the buffer.
    #[must_use]
    pub fn read(&self, start: usize, frames: usize) -> Vec<f32> {
        lock(&self.state).samples[start * self.channels..(start + frames) * self.channels].to_vec()
    }

    /// Changes `frames` frames from `start` in place and marks them as new; the range must lie within the buffer.
    pub fn write(&self, start: usize, frames: usize, change: impl FnOnce(&mut [f32])) {
        if frames == 0 {
            return;
        }
        let mut state = lock(&self.state);
        change(&mut state.samples[start * self.channels..(start + frames) * self.channels]);
        mark(&mut state.fresh, start, start + frames);
    }

    /// Takes the new stretch that the playhead reaches next, at most `frames_max` of it; the rest stays new.
    #[must_use]
    pub fn take(&self, playhead: usize, frames_max: usize) -> Option<Region> {
        let mut state = lock(&self.state);
        let ahead = |start: usize, end: usize| {
            if start <= playhead && playhead < end {
                0
            } else {
                (start + self.frames - playhead) % self.frames
            }
        };
        let place = (0..state.fresh.len()).min_by_key(|place| ahead(state.fresh[*place].0, state.fresh[*place].1))?;
        let (start, end) = state.fresh[place];
        let until = end.min(start.saturating_add(frames_max.max(1)));
        if until == end {
            state.fresh.remove(place);
        } else {
            state.fresh[place].0 = until;
        }
        let samples = state.samples[start * self.channels..until * self.channels].to_vec();
        Some(Region { start, samples })
    }

    /// Whether something is new.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        !lock(&self.state).fresh.is_empty()
    }

    /// Everything as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Vec<f32> {
        lock(&self.state).samples.clone()
    }
}

/// Adds a stretch, merging it with those it touches.
fn mark(fresh: &mut Vec<(usize, usize)>, start: usize, end: usize) {
    let (mut start, mut end) = (start, end);
    fresh.retain(|&(other_start, other_end)| {
        let apart = other_end < start || end < other_start;
        if !apart {
            start = start.min(other_start);
            end = end.max(other_end);
        }
        apart
    });
    let place = fresh.partition_point(|&(other, _)| other < start);
    fresh.insert(place, (start, end));
}

#[cfg(all(test, not(any(greenroom_loom, greenroom_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn overlapping_and_touching_writes_become_one_region() {
        let buffer = SliceBuffer::new(vec![0.0; 200], 2);
        buffer.write(10, 10, |region| region.fill(1.0));
        buffer.write(20, 5, |region| region.fill(2.0));
        buffer.write(40, 5, |region| region.fill(3.0));
        let region = buffer.take(0, 100).unwrap();
        assert_eq!((region.start, region.samples.len()), (10, 30));
        assert_eq!(buffer.take(0, 100).unwrap().start, 40);
        assert!(buffer.take(0, 100).is_none() && !buffer.is_fresh());
    }

    #[test]
    fn what_the_playhead_reaches_next_goes_first_and_nothing_is_lost() {
        let buffer = SliceBuffer::new(vec![0.0; 100], 1);
        buffer.write(0, 10, |region| region.fill(1.0));
        buffer.write(50, 20, |region| region.fill(2.0));
        assert_eq!(buffer.take(60, 8).unwrap().start, 50, "the playhead is inside");
        assert_eq!(buffer.take(71, 100).unwrap().start, 0, "it wraps round");
        let rest = buffer.take(71, 100).unwrap();
        assert_eq!((rest.start, rest.samples.len()), (58, 12));
    }
}
