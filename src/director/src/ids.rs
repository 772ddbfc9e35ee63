//! Names for things that come and go. A number is never used twice, so a late message about something gone is recognised and
//! counted as a no-op; for hashing, numbers are renamed by rank.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(formatter, "{}", self.0)
            }
        }
    };
}

id! {
    /// One socket or HTTP upload, numbered by the driver in the order in which connections were accepted: that order decides who
    /// may take the pod over.
    ConnectionId
}
id! {
    /// One job of the driver, numbered by the director.
    JobId
}
id! {
    /// One track, numbered by the driver in the order in which tracks came to be: an upload, a fixture, or the nameless source that a
    /// session brought with it.
    TrackId
}
id! {
    /// One line of sessions of the same client; the owner of tracks.
    LineageId
}
id! {
    /// A client's `client_id`, as a keyed hash that the driver makes; an empty `client_id` has none.
    ClientKey
}
