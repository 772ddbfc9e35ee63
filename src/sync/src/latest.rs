//! A cell in which the newest value wins.

use crate::platform::{Arc, Mutex, lock};

/// Newest wins: a writer at 125 Hz never fills anything up, and a reader sees each value at most once.
#[derive(Debug)]
pub struct Latest<T>(Arc<Mutex<Option<T>>>);

impl<T> Clone for Latest<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Latest<T> {
    /// An empty cell.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }

    /// Puts a value in, in place of one that nobody took.
    pub fn put(&self, value: T) {
        *lock(&self.0) = Some(value);
    }

    /// Changes the value that waits, or puts one in: for values that add up instead of replacing each other.
    pub fn merge(&self, merge: impl FnOnce(Option<T>) -> T) {
        let mut cell = lock(&self.0);
        let waiting = cell.take();
        *cell = Some(merge(waiting));
    }

    /// Takes the value, if there is a new one.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        lock(&self.0).take()
    }

    /// Copies the value and leaves it, for a cell that is read by many.
    #[must_use]
    pub fn peek(&self) -> Option<T>
    where
        T: Clone,
    {
        lock(&self.0).clone()
    }
}
