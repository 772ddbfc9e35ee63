//! The sound of a few frames out of many.

use std::ops::Range;

use candle_core::{Result, Tensor, bail};

use crate::{Oobleck, WINDOW_MARGIN};

/// What a window decodes.
#[derive(Clone, Debug)]
pub struct Window {
    /// The frames and those around them, [frames, channels] f32 on the device.
    pub latents: Tensor,
    /// Which of them become sound.
    pub kept: Range<usize>,
}

impl Window {
    /// Frames that are decoded.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.latents.dims()[0]
    }
}

/// Where a window lies: ranges of frames one after another, and which of them all are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    ranges: Vec<Range<usize>>,
    kept: Range<usize>,
}

impl Place {
    /// Around `frames` frames from `first` on, in a loop of `length`: what is before the beginning is the end, also several times.
    fn in_loop(length: usize, first: usize, frames: usize, margin: usize) -> Self {
        let mut left = frames + 2 * margin;
        // How far before `first` it begins, modulo the length.
        let mut start = (first % length + length - margin % length) % length;
        let mut ranges = Vec::new();
        while left > 0 {
            let end = (start + left).min(length);
            left -= end - start;
            ranges.push(start..end);
            start = 0;
        }
        Self {
            ranges,
            kept: margin..margin + frames,
        }
    }

    /// The same where nothing is before the beginning or after the end; there the other side has more, as far as there is any.
    fn between_ends(length: usize, first: usize, frames: usize, margin: usize) -> Self {
        let latest = length.saturating_sub(frames + 2 * margin);
        let start = first.saturating_sub(margin).min(latest);
        let end = (start + frames + 2 * margin).min(length);
        Self {
            ranges: std::iter::once(start..end).collect(),
            kept: first - start..first - start + frames,
        }
    }
}

impl Oobleck {
    /// The sound of `frames` frames from `first_frame` on, of latents [frames, channels] f32: stereo, left and right by turns, in system
    /// RAM. Nine frames take a window of 25. `cyclic`: the latents are a loop, and frames are counted modulo its length; it may be shorter
    /// than the window.
    ///
    /// # Errors
    /// If the frames are none or beyond the end of what is no loop, or the device fails or has no room.
    pub fn decode_window(&self, latents: &Tensor, first_frame: usize, frames: usize, cyclic: bool) -> Result<Vec<f32>> {
        let sound = self.decode_window_on_device(latents, first_frame, frames, cyclic)?;
        sound.flatten_all()?.to_vec1()
    }

    /// The same as a tensor [samples, 2] on the device. Nothing is copied to or from it, and nobody waits for it.
    ///
    /// # Errors
    /// As [`Self::decode_window`].
    pub fn decode_window_on_device(
        &self,
        latents: &Tensor,
        first_frame: usize,
        frames: usize,
        cyclic: bool,
    ) -> Result<Tensor> {
        self.window_with_margin(latents, first_frame..first_frame + frames, cyclic, WINDOW_MARGIN)
    }

    /// The same with so many frames on either side.
    pub(crate) fn window_with_margin(
        &self,
        latents: &Tensor,
        frames: Range<usize>,
        cyclic: bool,
        margin: usize,
    ) -> Result<Tensor> {
        self.decode_on_device(&window_of(latents, frames, cyclic, margin)?)
    }

    /// The window that the sound of these frames of latents [frames, channels] f32 is decoded from; see [`Self::decode_window`].
    ///
    /// # Errors
    /// As there.
    pub fn window(&self, latents: &Tensor, frames: Range<usize>, cyclic: bool) -> Result<Window> {
        window_of(latents, frames, cyclic, WINDOW_MARGIN)
    }

    /// The sound of a window as [`Self::decode_window`] gives it.
    ///
    /// # Errors
    /// If the device fails or has no room.
    pub fn decode_this(&self, window: &Window) -> Result<Vec<f32>> {
        self.decode_on_device(window)?.flatten_all()?.to_vec1()
    }

    pub(crate) fn decode_on_device(&self, window: &Window) -> Result<Tensor> {
        self.decoder.forward(&window.latents, &window.kept)
    }
}

/// The frames and so many on either side.
fn window_of(latents: &Tensor, frames: Range<usize>, cyclic: bool, margin: usize) -> Result<Window> {
    let length = latents.dim(0)?;
    if frames.is_empty() || length == 0 || (!cyclic && frames.end > length) {
        bail!("frames {frames:?} cannot be decoded: there are {length}")
    }
    let around = if cyclic { Place::in_loop } else { Place::between_ends };
    let place = around(length, frames.start, frames.len(), margin);
    let parts = place
        .ranges
        .into_iter()
        .map(|range| latents.narrow(0, range.start, range.len()));
    let latents = match parts.collect::<Result<Vec<_>>>()?.as_slice() {
        [whole] => whole.clone(),
        parts => Tensor::cat(parts, 0)?,
    };
    Ok(Window {
        latents,
        kept: place.kept,
    })
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "a window may be one range")]
mod tests {
    use super::*;

    #[test]
    fn a_loop_has_no_ends() {
        let window = |length, first| Place::in_loop(length, first, 9, 8);
        assert_eq!(window(100, 50).ranges, [42..67]);
        assert_eq!(window(100, 3).ranges, [95..100, 0..20]);
        assert_eq!(window(100, 95).ranges, [87..100, 0..12]);
        assert_eq!(window(100, 295), window(100, 95));
        // Shorter than the window, and shorter than the margin.
        assert_eq!(window(10, 0).ranges, [2..10, 0..10, 0..7]);
        let ranges = window(3, 1).ranges;
        assert_eq!(ranges[0], 2..3);
        assert_eq!(ranges.iter().map(Range::len).sum::<usize>(), 25);
        assert_eq!(window(100, 3).kept, 8..17);
    }

    #[test]
    fn at_an_end_the_other_side_has_more() {
        let window = |first| Place::between_ends(100, first, 9, 8);
        assert_eq!((window(50).ranges, window(50).kept), (vec![42..67], 8..17));
        assert_eq!((window(0).ranges, window(0).kept), (vec![0..25], 0..9));
        assert_eq!((window(91).ranges, window(91).kept), (vec![75..100], 16..25));
        let short = Place::between_ends(12, 2, 9, 8);
        assert_eq!((short.ranges, short.kept), (vec![0..12], 2..11));
    }
}
