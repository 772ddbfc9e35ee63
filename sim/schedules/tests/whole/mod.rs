//! A pod with its threads: director, live, work, stage, disk; three connections and a clock.

mod clients;
mod device;
mod lanes;
mod pod;
pub(crate) mod seen;

pub(crate) use pod::live_through;

use greenroom_director::{Event, Span};
use greenroom_sync::Mailbox;

/// What the director's thread is told.
#[derive(Debug)]
pub(crate) enum News {
    /// Something happened.
    Event(Event),
    /// Time passed.
    Time(Span),
    /// A client has asked for all that it wants, or the clock has stopped.
    Done,
}

/// The way to the director's thread.
pub(crate) fn tell(news: &Mailbox<News>, event: Event) {
    let sent = news.send(News::Event(event));
    assert!(sent.is_ok(), "the director is hopelessly behind, or gone: {sent:?}");
}
