//! A track that is still being encoded gives no acknowledgement.
use greenroom_director::{
    Ack, TrackId,
    typestate::{Encoding, Saved},
};

pub fn answer(_encoding: &mut Encoding, _saved: &mut Saved, track: TrackId) -> Option<Ack> {
    _encoding.ack(track, true)
}

fn main() {}
