//! Nobody outside makes a state out of nothing.
use greenroom_director::typestate::Released;

pub fn released(_given: Released) -> Released {
    Released {}
}

fn main() {}
