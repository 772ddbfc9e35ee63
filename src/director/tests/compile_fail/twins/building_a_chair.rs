//! Nobody outside puts a chair together.
use greenroom_director::typestate::Chair;

pub fn chair(_given: Chair) -> Chair {
    _given
}

fn main() {}
