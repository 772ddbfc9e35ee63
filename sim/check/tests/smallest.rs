//! The smallest world, counted: whatever changes what can happen in it, or what counts as the same state, changes a number.

use std::time::Duration;

use greenroom_check::{Size, check, settings};

/// On one thread the order of the walk, and with it the numbers, are the same every time.
const STATES: usize = 145_773;
const STEPS: usize = 809_161;

#[test]
fn the_smallest_world_has_as_many_states_and_steps_as_ever() {
    let settings = settings(Size::Usual);
    let report = check(&settings[0], 1, Duration::from_secs(600));
    assert_eq!(report.violations, [""; 0]);
    assert!(report.complete);
    assert_eq!(
        (report.states, report.steps),
        (STATES, STEPS),
        "if the director was meant to behave otherwise, these are the new numbers"
    );
}
