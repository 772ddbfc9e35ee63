//! Only a saved track gives an acknowledgement.
use greenroom_director::{
    Ack, TrackId,
    typestate::{Saved, SavingSource},
};

pub fn answer(_saving: &mut SavingSource, _saved: &mut Saved, track: TrackId) -> Option<Ack> {
    _saved.ack(track, true)
}

fn main() {}
