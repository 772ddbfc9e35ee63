//! What the sockets count, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use greenroom_wire::Ignored;

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    malformed: AtomicU64,
    unknown_type: AtomicU64,
    bad_fields: AtomicU64,
    denied: AtomicU64,
}

impl Counters {
    /// A message was passed over.
    pub(super) fn ignored(&self, what: Ignored) {
        let counter = match what {
            Ignored::Malformed => &self.malformed,
            Ignored::UnknownType => &self.unknown_type,
            Ignored::BadFields => &self.bad_fields,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Somebody had no key, or a page of a foreign origin tried.
    pub(super) fn denied(&self) {
        self.denied.fetch_add(1, Ordering::Relaxed);
    }

    /// Prometheus text.
    pub(super) fn to_text(&self) -> String {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        format!(
            "# HELP greenroom_messages_ignored_total Messages of clients that were passed over.\n\
             # TYPE greenroom_messages_ignored_total counter\n\
             greenroom_messages_ignored_total{{reason=\"malformed\"}} {}\n\
             greenroom_messages_ignored_total{{reason=\"unknown_type\"}} {}\n\
             greenroom_messages_ignored_total{{reason=\"bad_fields\"}} {}\n\
             # HELP greenroom_requests_denied_total Sockets and requests without the key or of a foreign origin.\n\
             # TYPE greenroom_requests_denied_total counter\n\
             greenroom_requests_denied_total {}\n",
            read(&self.malformed),
            read(&self.unknown_type),
            read(&self.bad_fields),
            read(&self.denied),
        )
    }
}
