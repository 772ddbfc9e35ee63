//! The driver: carries out the director's effects and tells it what happened. Decides nothing.
//!
//! ```text
//! sockets ── PodHandle ──events──▶ director thread ──effects──▶ lanes: live · work · stage · disk
//!    ▲                                   │                          │
//!    └────────── Outbox (per connection) ◀──────── announcements ◀──┘ JobEnded, RipProgress, GateDrained
//! ```
//! Data that is too large for an event (audio, prompts, parameters) is deposited beside it.

pub mod deposit;
mod desk;
mod events;
mod handle;
pub mod outbox;

pub use deposit::{Params, ReferenceKind, SessionCommand, SessionDeposit, SwapDeposit, UploadBody, UploadDeposit, Wants};
pub use events::TellError;
pub use handle::PodHandle;
pub use outbox::{Echo, Ending, Frame, Inbox, Outgoing, Playback, Refusal, UploadAnswer};
