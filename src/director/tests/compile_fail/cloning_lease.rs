//! A lease that is out is counted once.
use greenroom_director::typestate::{Grounds, Lease};

pub fn two(_token: &Lease, _grounds: &Grounds) {
    copy(_token);
}

fn copy<T: Clone>(thing: &T) -> [T; 2] {
    [thing.clone(), thing.clone()]
}

fn main() {}
