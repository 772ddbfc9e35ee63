//! An upload is acknowledged once.
use greenroom_director::{Ack, typestate::Grounds};

pub fn two(_token: &Ack, _grounds: &Grounds) {
    copy(_token);
}

fn copy<T: Clone>(thing: &T) -> [T; 2] {
    [thing.clone(), thing.clone()]
}

fn main() {}
