//! One file a composition, and one with what each must notice.

mod broken;
mod floor;
mod handover;
