//! Nobody outside makes a vacancy.
use greenroom_director::typestate::Vacancy;

pub fn vacancy(_given: Vacancy) -> Vacancy {
    _given
}

fn main() {}
