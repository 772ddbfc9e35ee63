//! Once the separator has taken the vacancy, no eager group comes back against it.
use greenroom_director::{
    JobId,
    typestate::{Grounds, Parked, Restoring, Vacancy},
};

#[allow(unused_mut, reason = "the twin leaves it as it is")]
pub fn bring_back(
    eager: Parked,
    separator: Parked,
    mut vacancy: Vacancy,
    _other: &mut Vacancy,
    job: JobId,
) -> Option<Restoring> {
    let pass = vacancy.attach(Grounds::AllParked).ok()?;
    let _attached = separator.restore(pass, job);
    Some(eager.restore(_other.pass(), job))
}

fn main() {}
