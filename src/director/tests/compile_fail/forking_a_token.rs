//! The sealed copy is for those who are given a renaming; nobody outside makes one.
use greenroom_director::{Fork, Rename, typestate::Vacancy};

pub fn twice(vacancy: &Vacancy, _given: &Rename) -> Vacancy {
    vacancy.fork(&Rename::default())
}

fn main() {}
