//! Who comes in a storm, and how each behaves: drawn from the seed, so that a storm can be told again.

use rand_pcg::{
    Pcg64Mcg,
    rand_core::{Rng, SeedableRng},
};

/// Tabs that are opened again and again, doubled ones among them.
const TABS: u64 = 8;
/// Clients that stop reading, and come back.
const WEDGED: u64 = 4;
/// One wave in so many consists of garbage alone: nothing of it may touch the session that plays.
const GARBAGE_EVERY: u64 = 5;

/// Seeded choices.
#[derive(Clone, Debug)]
pub(super) struct Dice(Pcg64Mcg);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed))
    }

    /// A number under `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0.next_u64() % limit.max(1)
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn bytes(&mut self, count: u64) -> Vec<u8> {
        let mut bytes = vec![0; count as usize];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

/// What one client of a storm does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// A whole session; it tries again where the pod is busy, and stays as long as it may.
    Stay {
        /// Milliseconds between what it reads: slow is not dead.
        pace_ms: u64,
        /// It sends nonsense while it is live.
        chatter: bool,
    },
    /// A whole handshake, and gone after so many milliseconds.
    Leave { after_ms: u64 },
    /// A whole handshake, and from there on nothing is read.
    Wedge,
    /// The config, and the audio up to this percentage.
    Cut { percent: u64 },
    /// The config, and audio that is none.
    BadBody,
    /// A socket that says nothing for so many milliseconds.
    Silent { for_ms: u64 },
    /// A first frame of neither kind.
    WrongFirst,
    /// Bytes that are no frames, before the config or after it.
    BadFrames { after_config: bool },
    /// The request for a socket, up to this percentage.
    HalfUpgrade { percent: u64 },
    /// Something else than HTTP, or HTTP that asks for nonsense.
    BadHttp,
    /// An upload over a socket; cut at this percentage, or whole at 100.
    Upload { percent: u64 },
    /// An upload by POST, likewise.
    Post { percent: u64 },
}

/// One client of a storm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guest {
    pub(super) behaviour: Behaviour,
    pub(super) client_id: String,
    /// Milliseconds from the opening of its connection to its first byte.
    pub(super) delay_ms: u64,
    /// Of its own choices.
    pub(super) seed: u64,
}

/// The clients of one wave, in the order in which they connect.
pub(super) fn wave(seed: u64, number: u64, clients: usize) -> Vec<Guest> {
    let mut dice = Dice::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(number));
    let only_garbage = number % GARBAGE_EVERY == GARBAGE_EVERY - 1;
    (0..clients)
        .map(|place| {
            let behaviour = behaviour(&mut dice, only_garbage);
            let client_id = match behaviour {
                Behaviour::Wedge => format!("wedged-{}", dice.below(WEDGED)),
                _ if dice.chance(5) => format!("wedged-{}", dice.below(WEDGED)),
                _ if dice.chance(50) => format!("tab-{}", dice.below(TABS)),
                _ => format!("guest-{number}-{place}"),
            };
            Guest {
                behaviour,
                client_id,
                delay_ms: dice.below(6),
                seed: dice.below(u64::MAX),
            }
        })
        .collect()
}

fn behaviour(dice: &mut Dice, only_garbage: bool) -> Behaviour {
    let whole = 34;
    let choice = if only_garbage {
        whole + dice.below(100 - whole)
    } else {
        dice.below(100)
    };
    match choice {
        0..22 => Behaviour::Stay {
            pace_ms: if dice.chance(20) { 10 } else { 0 },
            chatter: dice.chance(30),
        },
        22..32 => Behaviour::Leave {
            after_ms: dice.below(500),
        },
        32..34 => Behaviour::Wedge,
        34..46 => Behaviour::Cut {
            percent: dice.below(100),
        },
        46..53 => Behaviour::BadBody,
        53..60 => Behaviour::Silent {
            for_ms: dice.below(400),
        },
        60..68 => Behaviour::WrongFirst,
        68..77 => Behaviour::BadFrames {
            after_config: dice.chance(50),
        },
        77..84 => Behaviour::HalfUpgrade {
            percent: dice.below(100),
        },
        84..91 => Behaviour::BadHttp,
        91..96 => Behaviour::Upload { percent: percent(dice) },
        _ => Behaviour::Post { percent: percent(dice) },
    }
}

/// Half of the uploads come whole.
fn percent(dice: &mut Dice) -> u64 {
    if dice.chance(50) { 100 } else { dice.below(100) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_tells_the_same_storm_again_and_another_tells_another() {
        assert_eq!(wave(7, 3, 50), wave(7, 3, 50));
        assert_ne!(wave(7, 3, 50), wave(8, 3, 50));
        assert_ne!(wave(7, 3, 50), wave(7, 4, 50));
    }

    #[test]
    fn every_behaviour_comes_up_and_waves_of_garbage_hold_no_whole_handshake() {
        let waves: Vec<(u64, Vec<Guest>)> = (0..40).map(|number| (number, wave(1, number, 50))).collect();
        let seen: std::collections::BTreeSet<String> = waves
            .iter()
            .flat_map(|(_, guests)| guests)
            .map(|guest| {
                let name = format!("{:?}", guest.behaviour);
                name.split([' ', '{']).next().unwrap_or_default().to_owned()
            })
            .collect();
        assert_eq!(seen.len(), 12, "{seen:?}");
        for (number, guests) in waves {
            let whole = guests.iter().any(|guest| {
                matches!(
                    guest.behaviour,
                    Behaviour::Stay { .. } | Behaviour::Leave { .. } | Behaviour::Wedge
                )
            });
            assert_eq!(whole, number % GARBAGE_EVERY != GARBAGE_EVERY - 1, "wave {number}");
        }
    }
}
