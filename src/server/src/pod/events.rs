//! The way to the director: a bounded channel. `Full` and `Closed` differ, nobody on a tokio worker ever blocks.

use greenroom_director::Event;
use tokio::sync::mpsc;

/// Events that may wait for the director, who handles each in microseconds.
const EVENTS_MAX: usize = 1_024;

/// Why the director was not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TellError {
    /// Too many events wait: the caller may wait too, or let go.
    #[error("the pod's event loop is {EVENTS_MAX} events behind: try again in a moment")]
    Full,
    /// The pod has ended.
    #[error("the pod has ended: nothing more can be asked of it")]
    Closed,
}

/// Tells the director of events; cloned to whoever has something to tell.
#[derive(Clone, Debug)]
pub(super) struct EventSender(mpsc::Sender<Event>);

/// The channel and its end on the director's thread.
pub(super) fn channel() -> (EventSender, mpsc::Receiver<Event>) {
    let (sender, receiver) = mpsc::channel(EVENTS_MAX);
    (EventSender(sender), receiver)
}

impl EventSender {
    /// Tells at once or not at all.
    pub(super) fn try_tell(&self, event: Event) -> Result<(), TellError> {
        self.0.try_send(event).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => TellError::Full,
            mpsc::error::TrySendError::Closed(_) => TellError::Closed,
        })
    }

    /// Waits for room.
    pub(super) async fn tell(&self, event: Event) -> Result<(), TellError> {
        self.0.send(event).await.map_err(|_| TellError::Closed)
    }

    /// Waits for room on a thread of the pod's own (never on a tokio worker). A pod that has ended needs no more news.
    pub(super) fn tell_blocking(&self, event: Event) {
        if self.0.blocking_send(event).is_err() {
            tracing::debug!("an event came after the pod's end");
        }
    }

    /// Tells what must not be lost, from a place that can neither wait nor fail (a `Drop`): waits on a thread if it must.
    pub(super) fn tell_surely(&self, event: Event) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.0.try_send(event) {
            let sender = self.clone();
            let told = std::thread::Builder::new()
                .name("late-event".to_owned())
                .spawn(move || sender.tell_blocking(event));
            if let Err(error) = told {
                tracing::error!(%error, "the end of a connection could not be told: no thread to be had");
            }
        }
    }
}
