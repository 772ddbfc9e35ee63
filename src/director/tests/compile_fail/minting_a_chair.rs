//! Nobody outside makes a chair.
use greenroom_director::typestate::Chair;

pub fn chair(_given: Chair) -> Chair {
    Chair::mint()
}

fn main() {}
