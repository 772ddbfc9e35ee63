//! A pod in miniature, to be run under every schedule of its threads (loom) or under many (shuttle).
//!
//! What decides and what crosses threads is production's own: the director with its machines, the primitives of `greenroom-sync`, the
//! simulated stage. What is small here is what hangs between them: [`Driver`] carries out effects like the director's thread of the
//! server, but its lanes hold no audio and its clients no sockets.
#![forbid(unsafe_code)]

mod desks;
mod driver;
mod plans;

pub use desks::Desks;
pub use driver::{Break, Driver, House, Job};
pub use plans::{crowded, without_weights};
