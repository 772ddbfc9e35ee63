//! Whoever is gone has no session to send to.
use greenroom_director::typestate::{Live, Released, Session};

pub fn address<'a>(_released: &'a Released, _live: &'a Live) -> &'a Session {
    _live.session()
}

fn main() {}
