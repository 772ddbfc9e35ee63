//! One file a composition.

mod floor;
mod handover;
