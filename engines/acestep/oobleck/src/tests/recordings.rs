//! Windows that a lane repeats: on a lane that records by keeping the work.

use std::sync::Arc;

use greenroom_weights::{DeviceLane, KeepingLane};

use super::{data, network, rates};
use crate::{Oobleck, Windows};

fn rates_network() -> Arc<Oobleck> {
    Arc::new(network(&rates(), 2))
}

#[test]
fn a_repeated_window_is_the_window_to_the_bit() {
    let (network, lane) = (rates_network(), Arc::new(KeepingLane::default()));
    let mut windows = Windows::recording(Arc::clone(&lane) as Arc<dyn DeviceLane>);
    let latents = data("latents", 5, 60, 4);
    // Over the end of a loop, where it begins, and of another length in between.
    let places = [
        (20, 9),
        (31, 9),
        (55, 9),
        (2, 9),
        (20, 10),
        (20, 10),
        (20, 10),
        (40, 10),
        (20, 9),
    ];
    for (first, frames) in places {
        assert_eq!(
            windows
                .decode(
                    &network,
                    &network.window(&latents, first..first + frames, true).unwrap()
                )
                .unwrap(),
            network.decode_window(&latents, first, frames, true).unwrap(),
            "{frames} frames from {first}"
        );
    }
    // Two shapes, each recorded after its third window.
    assert_eq!(lane.counts(), (2, 9 - 2 * 3));
    // Near the ends of what is no loop other frames of the window are kept: that is another shape.
    for _ in 0..4 {
        assert_eq!(
            windows
                .decode(&network, &network.window(&latents, 0..9, false).unwrap())
                .unwrap(),
            network.decode_window(&latents, 0, 9, false).unwrap()
        );
    }
    assert_eq!(lane.counts().0, 3);
}
