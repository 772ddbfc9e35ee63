//! What each command does.

pub(crate) mod canary;
pub(crate) mod check;
pub(crate) mod replay;
pub(crate) mod swarm;

use greenroom_sim::{Outcome, Violation};

/// A campaign that missed something it had to meet.
pub(crate) const BLIND: u8 = 15;

/// A state of a small world is wrong.
pub(crate) const VIOLATED: u8 = 16;
/// A small world was not walked to its end.
pub(crate) const INCOMPLETE: u8 = 17;

/// The exit code of what came of a seed.
pub(crate) const fn code(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Fine => 0,
        Outcome::Crashed(_) => 10,
        Outcome::Broken(Violation::Safety(_)) => 11,
        Outcome::Broken(Violation::Liveness(_)) => 12,
        Outcome::Broken(Violation::Leak(_)) => 13,
        Outcome::Different => 14,
    }
}

/// What came of a seed, in words.
pub(crate) fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Fine => "fine".into(),
        Outcome::Crashed(words) => format!("panicked: {words}"),
        Outcome::Broken(Violation::Safety(words)) => format!("safety: {words}"),
        Outcome::Broken(Violation::Liveness(words)) => format!("liveness: {words}"),
        Outcome::Broken(Violation::Leak(words)) => format!("leak: {words}"),
        Outcome::Different => "two lives of the same seed differ".into(),
    }
}

/// Panics are caught and told with their seed; the default words would come once a life.
pub(crate) fn hush_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}
