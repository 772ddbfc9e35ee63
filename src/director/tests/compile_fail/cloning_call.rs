//! A call that is out is counted once.
use greenroom_director::typestate::{Call, Grounds};

pub fn two(_token: &Call, _grounds: &Grounds) {
    copy(_token);
}

fn copy<T: Clone>(thing: &T) -> [T; 2] {
    [thing.clone(), thing.clone()]
}

fn main() {}
