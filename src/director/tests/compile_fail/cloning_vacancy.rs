//! There is one vacancy.
use greenroom_director::typestate::{Grounds, Vacancy};

pub fn two(_token: &Vacancy, _grounds: &Grounds) {
    copy(_token);
}

fn copy<T: Clone>(thing: &T) -> [T; 2] {
    [thing.clone(), thing.clone()]
}

fn main() {}
