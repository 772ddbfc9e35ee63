//! One file a primitive.

mod cancel;
mod gate;
mod heartbeat;
mod latest;
mod mailbox;
mod slices;
