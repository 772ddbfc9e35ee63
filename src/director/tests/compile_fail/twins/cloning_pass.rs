//! A pass is one group's.
use greenroom_director::typestate::{Grounds, Pass};

pub fn two(_token: &Pass, _grounds: &Grounds) {
    copy(_grounds);
}

fn copy<T: Clone>(thing: &T) -> [T; 2] {
    [thing.clone(), thing.clone()]
}

fn main() {}
