//! An upload is answered once.
use greenroom_director::typestate::{Asker, Grounds};

pub fn two(_token: &Asker, _grounds: &Grounds) {
    copy(_token);
}

fn copy<T: Clone>(thing: &T) -> [T; 2] {
    [thing.clone(), thing.clone()]
}

fn main() {}
