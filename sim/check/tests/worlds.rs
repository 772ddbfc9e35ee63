//! Every small world, walked to its end.

use std::time::Duration;

use greenroom_check::{Size, cells_missed, check_all, settings};

/// What the worlds leave to the swarm: what boot finds, and rips of audio that a session brings itself (its tracks have no end).
const LEFT_TO_THE_SWARM: &[&str] = &[
    "Stems.Absent.find",
    "Stems.Absent.find_failed",
    "Stems.Ripping.ripped_in_memory",
];

#[test]
fn no_reachable_state_of_any_world_is_wrong_and_rest_is_never_out_of_reach() {
    // Panics are caught and told with the way to them.
    std::panic::set_hook(Box::new(|_| {}));
    let reports = check_all(&settings(Size::Usual), 2, Duration::from_secs(1_200), &|_| {});
    let _ = std::panic::take_hook();
    for report in &reports {
        assert_eq!(report.violations, [""; 0], "{}", report.world);
        assert!(
            report.complete,
            "{}: {} states and not at the end",
            report.world, report.states
        );
    }
    let states: usize = reports.iter().map(|report| report.states).sum();
    assert!(states >= 1_000_000, "{states} states are too few to say much");
    assert_eq!(cells_missed(&reports), LEFT_TO_THE_SWARM);
}
