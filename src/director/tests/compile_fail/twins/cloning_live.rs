//! A state is consumed by leaving it.
use greenroom_director::typestate::{Grounds, Live};

pub fn two(_token: &Live, _grounds: &Grounds) {
    copy(_grounds);
}

fn copy<T: Clone>(thing: &T) -> [T; 2] {
    [thing.clone(), thing.clone()]
}

fn main() {}
