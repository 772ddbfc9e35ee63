//! The locks of the stages: the standard library's, or those of shuttle, which runs whoever uses them under many schedules.

#[cfg(greenroom_shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
#[cfg(not(greenroom_shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard};
