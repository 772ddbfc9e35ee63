//! The chair bears one session.
use greenroom_director::typestate::{Candidate, Chair, Creating};

pub fn admit(one: Candidate, other: Candidate, chair: Chair, _second: Chair) -> [Creating; 2] {
    let first = one.admit(chair);
    [first, other.admit(_second)]
}

fn main() {}
