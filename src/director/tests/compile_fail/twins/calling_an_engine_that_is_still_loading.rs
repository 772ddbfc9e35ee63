//! Only an engine that is loaded is called.
use greenroom_director::{
    Component,
    typestate::{Call, Loaded, Loading},
};

pub fn call(loading: &mut Loading, _loaded: &mut Loaded) -> Call {
    _loaded.call(Component::Decoder)
}

fn main() {}
