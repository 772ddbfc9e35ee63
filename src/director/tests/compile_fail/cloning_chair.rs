//! There is one chair.
use greenroom_director::typestate::{Chair, Grounds};

pub fn two(_token: &Chair, _grounds: &Grounds) {
    copy(_token);
}

fn copy<T: Clone>(thing: &T) -> [T; 2] {
    [thing.clone(), thing.clone()]
}

fn main() {}
