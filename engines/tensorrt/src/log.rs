//! What the library says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use trtx::{LogHandler, Logger, Severity};

use crate::memory::{DeviceMemory, Said};

/// Complaints that are kept: what follows the first ones is mostly their consequence.
const COMPLAINTS_MAX: usize = 3;

/// Listens to the library.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    complaints: Vec<String>,
    said: Said,
}

impl Log {
    /// A logger of the library's that tells this one.
    pub(crate) fn logger(&self) -> trtx::Result<Logger> {
        Logger::new(self.clone())
    }

    /// What it complained of since the last time, in a line; what `error` says where it did not complain.
    pub(crate) fn words(&self, error: &trtx::Error) -> String {
        let complaints = std::mem::take(&mut self.heard().complaints);
        if complaints.is_empty() {
            error.to_string()
        } else {
            complaints.join("; ")
        }
    }

    /// What it said about memory.
    pub(crate) fn memory(&self) -> Option<DeviceMemory> {
        self.heard().said.memory()
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        // A panic elsewhere leaves whole lines behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogHandler for Log {
    fn log(&self, severity: Severity, message: &str) {
        let mut heard = self.heard();
        match severity {
            Severity::InternalError | Severity::Error if heard.complaints.len() < COMPLAINTS_MAX => {
                heard.complaints.push(message.trim().to_owned());
            }
            Severity::Info => heard.said.hear(message.trim()),
            _ => {}
        }
    }
}
