//! A pass lets one group in.
use greenroom_director::{
    JobId,
    typestate::{Parked, Pass, Restoring},
};

pub fn bring_back(one: Parked, other: Parked, pass: Pass, _another: Pass, job: JobId) -> [Restoring; 2] {
    let first = one.restore(pass, job);
    [first, other.restore(pass, job)]
}

fn main() {}
