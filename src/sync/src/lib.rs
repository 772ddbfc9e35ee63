//! The few things that cross threads, each small enough for a model checker.
//!
//! Nothing here knows tokio or any other room. Under `--cfg greenroom_loom` the primitives are built on loom's, under
//! `--cfg greenroom_shuttle` on shuttle's.
#![forbid(unsafe_code)]

mod cancel;
mod gate;
mod heartbeat;
mod latest;
mod mailbox;
mod platform;
mod slices;

pub use cancel::CancelFlag;
pub use gate::{LeaseGate, Pass};
pub use heartbeat::Heartbeat;
pub use latest::Latest;
pub use mailbox::{Mailbox, ReceiveError, SendError, mailbox};
pub use slices::{Region, SliceBuffer};
