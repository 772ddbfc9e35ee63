//! Releasing consumes the session.
use greenroom_director::typestate::Draining;

pub fn force(leaver: Draining, _other: Draining) -> Draining {
    let (_released, _chair) = leaver.release();
    _other.force()
}

fn main() {}
