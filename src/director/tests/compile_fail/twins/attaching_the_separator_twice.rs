//! The vacancy is taken once.
use greenroom_director::typestate::{Grounds, Pass, Vacancy};

pub fn attach(vacancy: Vacancy, _other: Vacancy) -> Option<Pass> {
    let _first = vacancy.attach(Grounds::ToldNotToCare);
    _other.attach(Grounds::ToldNotToCare).ok()
}

fn main() {}
