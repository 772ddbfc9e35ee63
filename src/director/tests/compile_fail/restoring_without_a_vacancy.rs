//! An eager group comes back only against the vacancy.
use greenroom_director::{
    JobId,
    typestate::{Parked, Restoring, Vacancy},
};

pub fn bring_back(group: Parked, _vacancy: &mut Vacancy, job: JobId) -> Restoring {
    group.restore((), job)
}

fn main() {}
