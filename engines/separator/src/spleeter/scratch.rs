//! Buffers of a thread for one tile.

use std::cell::RefCell;

/// Grows to the largest tile that its thread meets, about 2 MiB, and is used again: fresh memory for each tile would cost more than
/// filling it.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Gathered columns.
    gathered: Vec<f32>,
    /// Sums of a tile.
    sums: Vec<f32>,
}

impl Scratch {
    /// The two buffers, of exactly these lengths; what they hold is left over from before.
    pub(crate) fn buffers(&mut self, gathered: usize, sums: usize) -> (&mut [f32], &mut [f32]) {
        (grown(&mut self.gathered, gathered), grown(&mut self.sums, sums))
    }
}

fn grown(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

/// Lends the thread's scratch. The work must not wait for other tiles: a stolen one would find the scratch lent.
pub(crate) fn with_scratch<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with_borrow_mut(work)
}
