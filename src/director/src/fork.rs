//! Copying the core: sealed, for the checker and the simulation alone, and the one mechanism behind the canonical hash. Tokens that
//! nobody may clone are copied here, together with everything that vouches for them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    event::{Failure, Mode, Source},
    ids::{ClientKey, ConnectionId, JobId, LineageId, TrackId},
};

/// What to call each id in the copy: itself, or its rank.
#[derive(Debug)]
pub struct Rename {
    ranks: Option<Ranks>,
}

#[derive(Debug)]
struct Ranks {
    connections: Vec<ConnectionId>,
    tracks: Vec<TrackId>,
    jobs: Vec<JobId>,
    lineages: Vec<LineageId>,
    clients: Vec<ClientKey>,
}

impl Rename {
    /// Every id keeps its number.
    pub(crate) fn identity() -> Self {
        Self { ranks: None }
    }

    /// Whether ids become ranks: then counters that only tell old from new mean nothing.
    pub(crate) fn is_ranking(&self) -> bool {
        self.ranks.is_some()
    }

    /// Every id becomes its place in these lists.
    pub(crate) fn by_rank(
        connections: Vec<ConnectionId>,
        tracks: Vec<TrackId>,
        jobs: Vec<JobId>,
        lineages: Vec<LineageId>,
        clients: Vec<ClientKey>,
    ) -> Self {
        Self {
            ranks: Some(Ranks {
                connections,
                tracks,
                jobs,
                lineages,
                clients,
            }),
        }
    }
}

fn rank<T: PartialEq>(list: &[T], id: &T) -> u64 {
    list.iter()
        .position(|other| other == id)
        .map_or(u64::MAX, |place| place as u64)
}

/// A copy, with ids renamed. Nobody outside can make the [`Rename`] it takes.
pub trait Fork {
    /// The copy.
    fn fork(&self, rename: &Rename) -> Self;
}

macro_rules! fork_ids {
    ($($id:ident in $list:ident),+ $(,)?) => {$(
        impl Fork for $id {
            fn fork(&self, rename: &Rename) -> Self {
                rename.ranks.as_ref().map_or(*self, |ranks| Self(rank(&ranks.$list, self)))
            }
        }
    )+};
}

fork_ids!(ConnectionId in connections, TrackId in tracks, JobId in jobs, LineageId in lineages, ClientKey in clients);

/// Types without ids or tokens inside are copied as they are.
macro_rules! fork_plain {
    ($($plain:ty),+ $(,)?) => {$(
        impl $crate::fork::Fork for $plain {
            fn fork(&self, _rename: &$crate::fork::Rename) -> Self {
                *self
            }
        }
    )+};
}

pub(crate) use fork_plain;

fork_plain!(bool, u8, u32, u64, usize, Failure, Mode);

impl Fork for Source {
    fn fork(&self, rename: &Rename) -> Self {
        match self {
            Self::Sent(track) => Self::Sent(track.fork(rename)),
            Self::Track(track) => Self::Track(track.fork(rename)),
        }
    }
}

impl<T: Fork> Fork for Option<T> {
    fn fork(&self, rename: &Rename) -> Self {
        self.as_ref().map(|value| value.fork(rename))
    }
}

impl<T: Fork> Fork for Vec<T> {
    fn fork(&self, rename: &Rename) -> Self {
        self.iter().map(|value| value.fork(rename)).collect()
    }
}

impl<K: Fork + Ord, V: Fork> Fork for BTreeMap<K, V> {
    fn fork(&self, rename: &Rename) -> Self {
        self.iter()
            .map(|(key, value)| (key.fork(rename), value.fork(rename)))
            .collect()
    }
}

impl<K: Fork + Ord> Fork for BTreeSet<K> {
    fn fork(&self, rename: &Rename) -> Self {
        self.iter().map(|key| key.fork(rename)).collect()
    }
}

impl<M: Fork> Fork for crate::machine::Cell<M> {
    fn fork(&self, rename: &Rename) -> Self {
        Self::new(self.get().fork(rename))
    }
}

/// Implements [`Fork`] field by field.
macro_rules! fork_fields {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::fork::Fork for $name {
            fn fork(&self, rename: &$crate::fork::Rename) -> Self {
                Self { $($field: $crate::fork::Fork::fork(&self.$field, rename)),+ }
            }
        }
    };
}

pub(crate) use fork_fields;
