//! Nobody outside puts a vacancy together.
use greenroom_director::typestate::Vacancy;

pub fn vacancy(_given: Vacancy) -> Vacancy {
    Vacancy { eager_out: 0 }
}

fn main() {}
