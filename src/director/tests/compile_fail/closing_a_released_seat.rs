//! Whoever is gone is not told to leave.
use greenroom_director::typestate::{Draining, Leaving, Live, Released};

pub fn tell(_released: Released, _live: Live, leaving: Leaving) -> Draining {
    _released.leave(leaving)
}

fn main() {}
