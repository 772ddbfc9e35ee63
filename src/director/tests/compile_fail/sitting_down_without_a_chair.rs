//! A candidate is admitted only onto the chair.
use greenroom_director::typestate::{Candidate, Chair, Creating};

pub fn admit(candidate: Candidate, _chair: Chair) -> Creating {
    candidate.admit(())
}

fn main() {}
