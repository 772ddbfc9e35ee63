//! A bounded queue between threads. Full and closed are different things.

use std::{collections::VecDeque, time::Duration};

use crate::platform::{Arc, Condvar, Mutex, lock, wait};

/// Why a message was not taken; it comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum SendError<T> {
    /// The queue is full: the receiver is behind.
    Full(T),
    /// The receiver is gone.
    Closed(T),
}

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveError {
    /// None came in time.
    TimedOut,
    /// None came, and somebody nudged: there is something new elsewhere.
    Nudged,
    /// The mailbox is closed and empty.
    Closed,
}

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<T>,
    capacity: usize,
    nudged: bool,
    closed: bool,
}

/// One end of a mailbox; both ends are the same, and whoever closes it closes it for all.
#[derive(Debug)]
pub struct Mailbox<T>(Arc<(Mutex<State<T>>, Condvar)>);

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A mailbox for at most `capacity` messages.
#[must_use]
pub fn mailbox<T>(capacity: usize) -> Mailbox<T> {
    Mailbox(Arc::new((
        Mutex::new(State {
            queue: VecDeque::new(),
            capacity,
            nudged: false,
            closed: false,
        }),
        Condvar::new(),
    )))
}

impl<T> Mailbox<T> {
    /// Puts a message in, without waiting.
    ///
    /// # Errors
    /// `Full` or `Closed`, with the message.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        let (mutex, arrived) = &*self.0;
        let mut state = lock(mutex);
        if state.closed {
            return Err(SendError::Closed(message));
        }
        if state.queue.len() >= state.capacity {
            return Err(SendError::Full(message));
        }
        state.queue.push_back(message);
        arrived.notify_one();
        Ok(())
    }

    /// Takes the oldest message, if there is one.
    #[must_use]
    pub fn try_receive(&self) -> Option<T> {
        lock(&self.0.0).queue.pop_front()
    }

    /// Waits for a message, at most `patience`.
    ///
    /// # Errors
    /// Once everything that was sent has been taken: `Nudged`, `Closed`, or `TimedOut`.
    pub fn receive(&self, patience: Duration) -> Result<T, ReceiveError> {
        let (mutex, arrived) = &*self.0;
        let mut state = lock(mutex);
        loop {
            if let Some(message) = state.queue.pop_front() {
                return Ok(message);
            }
            if std::mem::take(&mut state.nudged) {
                return Err(ReceiveError::Nudged);
            }
            if state.closed {
                return Err(ReceiveError::Closed);
            }
            let (next, timed_out) = wait(arrived, state, patience);
            state = next;
            if timed_out && state.queue.is_empty() && !state.nudged && !state.closed {
                return Err(ReceiveError::TimedOut);
            }
        }
    }

    /// Has the receiver, or the next one who would wait, look at what is new elsewhere. It takes no room, so that it works on a full
    /// mailbox too, and many before the next look are one.
    pub fn nudge(&self) {
        let (mutex, arrived) = &*self.0;
        lock(mutex).nudged = true;
        arrived.notify_one();
    }

    /// Closes it: nothing more is taken in, what is in can still be taken out.
    pub fn close(&self) {
        let (mutex, arrived) = &*self.0;
        lock(mutex).closed = true;
        arrived.notify_all();
    }
}
