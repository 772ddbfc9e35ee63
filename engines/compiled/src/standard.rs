//! The profiles that engines are built with.

use std::fmt;

use crate::{
    component::Component,
    profile::{PUBLIC_WIDTH, Profile, Range},
};

/// Latent frames a second.
const FRAME_RATE: u64 = 25;
/// Samples a second.
const SAMPLE_RATE: u64 = 48_000;
/// Frames of a window as it is decoded while it plays: the sound's and those around it, with one more where it does not begin with a frame.
const WINDOW_FRAMES: [u64; 2] = [25, 26];
/// The length that every engine is tuned for, whatever the longest that it takes.
const TUNED_SECONDS: u64 = 60;

/// How much music an engine is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Length {
    /// A minute.
    S60,
    /// Two.
    S120,
    /// Four: the longest source.
    S240,
}

impl Length {
    /// All, the shortest first.
    pub const ALL: [Self; 3] = [Self::S60, Self::S120, Self::S240];

    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        match self {
            Self::S60 => 60,
            Self::S120 => 120,
            Self::S240 => 240,
        }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.seconds())
    }
}

/// What an engine is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// What is decoded at a time while it plays.
    Window,
    /// Music of up to that length.
    Music(Length),
}

impl Target {
    /// All, the smallest first.
    pub const ALL: [Self; 4] = [
        Self::Window,
        Self::Music(Length::S60),
        Self::Music(Length::S120),
        Self::Music(Length::S240),
    ];

    /// The profile of a component's engine for it, where the states of a condition are so wide; none where there is no such engine: windows
    /// are only decoded.
    #[must_use]
    pub fn profile(self, component: Component, width: u64) -> Option<Profile> {
        match (self, component) {
            (Self::Music(length), _) => Some(standard_profile_of_width(component, length, width)),
            (Self::Window, Component::VaeDecode) => Some(window_profile()),
            (Self::Window, _) => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Window => formatter.write_str("window"),
            Self::Music(length) => length.fmt(formatter),
        }
    }
}

fn window_profile() -> Profile {
    let [least, most] = WINDOW_FRAMES.map(|frames| vec![1, 64, frames]);
    let range = Range {
        name: "latents".into(),
        min: least,
        opt: most.clone(),
        max: most,
    };
    Profile::new(vec![range]).unwrap_or_else(|error| unreachable!("it is a profile: {error}"))
}

/// The profile of a component's engine for so much music, as the reference builds them:
/// batch 1 to 8, frames from 126, tokens 32 to 512; sound and latents from 5 s.
#[must_use]
pub fn standard_profile(component: Component, length: Length) -> Profile {
    standard_profile_of_width(component, length, PUBLIC_WIDTH)
}

/// The same where the states of a condition are so wide: in the public checkpoint [`PUBLIC_WIDTH`].
#[must_use]
pub fn standard_profile_of_width(component: Component, length: Length, width: u64) -> Profile {
    let frames = FRAME_RATE * length.seconds();
    let tuned = FRAME_RATE * TUNED_SECONDS;
    let range = |name: &str, [min, opt, max]: [&[u64]; 3]| Range {
        name: name.to_owned(),
        min: min.to_vec(),
        opt: opt.to_vec(),
        max: max.to_vec(),
    };
    let ranges = match component {
        Component::Decoder => vec![
            range("hidden_states", [&[1, 126, 64], &[1, tuned, 64], &[8, frames, 64]]),
            range("timestep", [&[1], &[1], &[8]]),
            range(
                "encoder_hidden_states",
                [&[1, 32, width], &[1, 200, width], &[8, 512, width]],
            ),
            range("context_latents", [&[1, 126, 128], &[1, tuned, 128], &[8, frames, 128]]),
        ],
        Component::VaeEncode => {
            let samples = |seconds| [1, 2, SAMPLE_RATE * seconds];
            let bounds = [samples(5), samples(TUNED_SECONDS), samples(length.seconds())];
            vec![range("audio", [&bounds[0], &bounds[1], &bounds[2]])]
        }
        Component::VaeDecode => vec![range("latents", [&[1, 64, 125], &[1, 64, tuned], &[1, 64, frames]])],
    };
    Profile::new(ranges).unwrap_or_else(|error| unreachable!("the table holds profiles: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shapes;

    #[test]
    fn every_component_has_a_profile_of_every_length_with_its_inputs() {
        for component in Component::ALL {
            let mut reach = 0;
            for length in Length::ALL {
                let profile = standard_profile(component, length);
                let names: Vec<_> = profile
                    .ranges()
                    .iter()
                    .map(|range| (&*range.name, range.min.len()))
                    .collect();
                assert_eq!(names, component.inputs());
                assert!(profile.reach() > reach, "a longer one reaches farther");
                reach = profile.reach();
            }
        }
    }

    #[test]
    fn windows_are_decoded_and_nothing_else() {
        let of = |component| Target::Window.profile(component, PUBLIC_WIDTH);
        let profile = of(Component::VaeDecode).unwrap();
        let covered = [24, 25, 26, 27].map(|frames| profile.covers(&Shapes::vae_decode(frames)));
        assert_eq!(covered, [false, true, true, false]);
        assert_eq!([of(Component::Decoder), of(Component::VaeEncode)], [None, None]);
        let reaches = Target::ALL.map(|target| target.profile(Component::VaeDecode, 1).map(|profile| profile.reach()));
        assert!(reaches.is_sorted(), "the smallest first");
    }

    #[test]
    fn profiles_end_where_their_length_ends() {
        let covers = |component, length, shapes: Shapes| standard_profile(component, length).covers(&shapes);
        assert!(covers(Component::VaeEncode, Length::S60, Shapes::vae_encode(2_880_000)));
        assert!(!covers(
            Component::VaeEncode,
            Length::S60,
            Shapes::vae_encode(2_880_001)
        ));
        assert!(covers(Component::VaeEncode, Length::S240, Shapes::vae_encode(240_000)));
        assert!(!covers(Component::VaeEncode, Length::S240, Shapes::vae_encode(239_999)));
        assert!(covers(Component::VaeDecode, Length::S120, Shapes::vae_decode(3000)));
        assert!(!covers(Component::VaeDecode, Length::S120, Shapes::vae_decode(3001)));
        assert!(covers(Component::Decoder, Length::S120, Shapes::decoder(8, 3000, 512)));
        assert!(!covers(Component::Decoder, Length::S120, Shapes::decoder(9, 3000, 512)));
        assert!(!covers(Component::Decoder, Length::S120, Shapes::decoder(8, 3000, 513)));
        assert!(!covers(Component::Decoder, Length::S60, Shapes::decoder(1, 1501, 200)));
    }

    #[test]
    fn an_engine_of_a_narrow_checkpoint_takes_its_shapes_alone() {
        let narrow = standard_profile_of_width(Component::Decoder, Length::S60, 64);
        assert!(narrow.covers(&Shapes::decoder_of_width(4, 1500, 200, 64)));
        assert!(!narrow.covers(&Shapes::decoder(4, 1500, 200)));
    }
}
