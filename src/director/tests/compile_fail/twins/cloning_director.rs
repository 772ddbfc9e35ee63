//! The whole director is copied only through its sealed fork.
use greenroom_director::{Director, typestate::Grounds};

pub fn two(_token: &Director, _grounds: &Grounds) {
    copy(_grounds);
}

fn copy<T: Clone>(thing: &T) -> [T; 2] {
    [thing.clone(), thing.clone()]
}

fn main() {}
