//! Shapes, and the ranges of them that an engine takes.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// How wide the states of a condition are in the public checkpoint.
pub const PUBLIC_WIDTH: u64 = 2048;

/// Dimensions of each input of one call, by the input's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shapes(BTreeMap<String, Vec<u64>>);

impl Shapes {
    /// These inputs; of two with one name the later is taken.
    #[must_use]
    pub fn new(inputs: &[(&str, &[u64])]) -> Self {
        let owned = |(name, dimensions): &(&str, &[u64])| ((*name).to_owned(), dimensions.to_vec());
        Self(inputs.iter().map(owned).collect())
    }

    /// Sound to latents: so many samples a channel, at 48 kHz.
    #[must_use]
    pub fn vae_encode(samples: u64) -> Self {
        Self::new(&[("audio", &[1, 2, samples])])
    }

    /// Latents to sound: so many frames, 25 a second.
    #[must_use]
    pub fn vae_decode(frames: u64) -> Self {
        Self::new(&[("latents", &[1, 64, frames])])
    }

    /// A step of the diffusion: slots, latent frames (padded to an even number here), and tokens of the longest condition.
    #[must_use]
    pub fn decoder(batch: u64, frames: u64, tokens: u64) -> Self {
        Self::decoder_of_width(batch, frames, tokens, PUBLIC_WIDTH)
    }

    /// The same where the states of a condition are so wide.
    #[must_use]
    pub fn decoder_of_width(batch: u64, frames: u64, tokens: u64, width: u64) -> Self {
        let frames = frames.next_multiple_of(2);
        Self::new(&[
            ("hidden_states", &[batch, frames, 64]),
            ("timestep", &[batch]),
            ("encoder_hidden_states", &[batch, tokens, width]),
            ("context_latents", &[batch, frames, 128]),
        ])
    }

    /// The inputs by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u64])> {
        self.0.iter().map(|(name, dimensions)| (&**name, &**dimensions))
    }
}

impl fmt::Display for Shapes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, dimensions)) in self.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(formatter, "{comma}{name} {dimensions:?}")?;
        }
        Ok(())
    }
}

/// What one input may measure: every dimension from `min` to `max`, best at `opt`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The input's name.
    pub name: String,
    /// Least dimensions.
    pub min: Vec<u64>,
    /// Those that the engine was tuned for.
    pub opt: Vec<u64>,
    /// Greatest dimensions.
    pub max: Vec<u64>,
}

impl Range {
    fn covers(&self, dimensions: &[u64]) -> bool {
        let within = |((min, max), size): ((&u64, &u64), &u64)| min <= size && size <= max;
        dimensions.len() == self.min.len() && self.min.iter().zip(&self.max).zip(dimensions).all(within)
    }

    fn check(&self) -> Result<(), ProfileError> {
        let ranks_agree = self.min.len() == self.opt.len() && self.opt.len() == self.max.len();
        let ordered = |(low, high): (&u64, &u64)| low <= high;
        let rises = self.min.iter().zip(&self.opt).all(ordered) && self.opt.iter().zip(&self.max).all(ordered);
        if !ranks_agree || self.min.is_empty() || self.min.contains(&0) || !rises {
            return Err(ProfileError::Range(self.name.clone()));
        }
        Ok(())
    }
}

/// Why ranges are no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// There is no input.
    #[error("a profile without inputs")]
    Empty,
    /// Two inputs have one name.
    #[error("the input {0} is there twice")]
    Twice(String),
    /// Ranks differ, a dimension is zero, or a bound is out of order.
    #[error("the input {0}: min, opt and max must be equally long, at least 1, and rise in this order")]
    Range(String),
}

/// The shapes that an engine takes: a range for each of its inputs, in order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Range>", into = "Vec<Range>")]
pub struct Profile(Vec<Range>);

impl Profile {
    /// These ranges.
    ///
    /// # Errors
    /// See [`ProfileError`].
    pub fn new(mut ranges: Vec<Range>) -> Result<Self, ProfileError> {
        ranges.sort_by(|one, other| one.name.cmp(&other.name));
        if ranges.is_empty() {
            return Err(ProfileError::Empty);
        }
        if let Some(pair) = ranges.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(ProfileError::Twice(pair[0].name.clone()));
        }
        ranges.iter().try_for_each(Range::check)?;
        Ok(Self(ranges))
    }

    /// These shapes and no other: what a captured graph takes.
    ///
    /// # Errors
    /// As [`Profile::new`]: without inputs, or with a dimension of zero.
    pub fn exact(shapes: &Shapes) -> Result<Self, ProfileError> {
        let range = |(name, dimensions): (&str, &[u64])| Range {
            name: name.to_owned(),
            min: dimensions.to_vec(),
            opt: dimensions.to_vec(),
            max: dimensions.to_vec(),
        };
        Self::new(shapes.iter().map(range).collect())
    }

    /// Whether an engine with this profile takes these shapes: every input of it and no other, each within its range.
    #[must_use]
    pub fn covers(&self, shapes: &Shapes) -> bool {
        let fits =
            |(range, (name, dimensions)): (&Range, (&str, &[u64]))| range.name == name && range.covers(dimensions);
        self.0.len() == shapes.0.len() && self.0.iter().zip(shapes.iter()).all(fits)
    }

    /// How large the profile is: values of all inputs at their greatest. Of two that cover a shape the one that reaches less far is the
    /// smaller.
    #[must_use]
    pub fn reach(&self) -> u128 {
        let values = |range: &Range| {
            let multiply = |product: u128, size: &u64| product.saturating_mul(u128::from(*size));
            range.max.iter().fold(1, multiply)
        };
        self.0.iter().map(values).fold(0, u128::saturating_add)
    }

    /// The ranges, in order of the inputs' names.
    #[must_use]
    pub fn ranges(&self) -> &[Range] {
        &self.0
    }
}

impl TryFrom<Vec<Range>> for Profile {
    type Error = ProfileError;

    fn try_from(ranges: Vec<Range>) -> Result<Self, ProfileError> {
        Self::new(ranges)
    }
}

impl From<Profile> for Vec<Range> {
    fn from(profile: Profile) -> Self {
        profile.0
    }
}

impl fmt::Display for Profile {
    /// The dimensions that vary, as `audio [1, 2, 240000..2880000]`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, range) in self.0.iter().enumerate() {
            let span = |(min, max): (&u64, &u64)| {
                if min == max {
                    min.to_string()
                } else {
                    format!("{min}..{max}")
                }
            };
            let dimensions: Vec<String> = range.min.iter().zip(&range.max).map(span).collect();
            let comma = if place == 0 { "" } else { ", " };
            write!(formatter, "{comma}{} [{}]", range.name, dimensions.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(name: &str, min: &[u64], opt: &[u64], max: &[u64]) -> Range {
        Range {
            name: name.into(),
            min: min.into(),
            opt: opt.into(),
            max: max.into(),
        }
    }

    #[test]
    fn a_profile_covers_its_bounds_and_nothing_beyond() {
        let profile = Profile::new(vec![range("audio", &[1, 2, 100], &[1, 2, 200], &[1, 2, 300])]).unwrap();
        for (samples, covered) in [(99, false), (100, true), (300, true), (301, false)] {
            assert_eq!(profile.covers(&Shapes::vae_encode(samples)), covered, "{samples}");
        }
        assert!(
            !profile.covers(&Shapes::new(&[("audio", &[1, 1, 200])])),
            "another number of channels"
        );
        assert!(!profile.covers(&Shapes::new(&[("audio", &[2, 200])])), "another rank");
        assert!(
            !profile.covers(&Shapes::new(&[("sound", &[1, 2, 200])])),
            "another name"
        );
        assert!(
            !profile.covers(&Shapes::new(&[("audio", &[1, 2, 200]), ("more", &[1])])),
            "one input more"
        );
        assert!(!profile.covers(&Shapes::new(&[])), "one input fewer");
    }

    #[test]
    fn an_exact_profile_covers_its_shapes_alone() {
        let profile = Profile::exact(&Shapes::decoder(2, 1499, 200)).unwrap();
        assert!(
            profile.covers(&Shapes::decoder(2, 1500, 200)),
            "an odd number of frames is padded"
        );
        for other in [
            Shapes::decoder(1, 1500, 200),
            Shapes::decoder(2, 1502, 200),
            Shapes::decoder(2, 1500, 201),
        ] {
            assert!(!profile.covers(&other), "{other}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        let refused = |range: Range| Profile::new(vec![range]).unwrap_err();
        for broken in [
            range("x", &[2], &[1], &[3]),
            range("x", &[1], &[3], &[2]),
            range("x", &[0], &[1], &[2]),
            range("x", &[1, 1], &[1], &[1]),
            range("x", &[1], &[1], &[1, 1]),
            range("x", &[], &[], &[]),
        ] {
            assert_eq!(refused(broken), ProfileError::Range("x".into()));
        }
        assert_eq!(Profile::new(vec![]), Err(ProfileError::Empty));
        let one = range("x", &[1], &[1], &[1]);
        assert_eq!(
            Profile::new(vec![one.clone(), one]),
            Err(ProfileError::Twice("x".into()))
        );
    }

    #[test]
    fn reach_counts_the_values_of_all_inputs_and_never_overflows() {
        let two = Profile::new(vec![
            range("x", &[1, 1], &[1, 1], &[2, 3]),
            range("y", &[1], &[1], &[4]),
        ])
        .unwrap();
        assert_eq!(two.reach(), 10);
        let huge = Profile::new(vec![range("x", &[1, 1, 1], &[1, 1, 1], &[u64::MAX; 3])]).unwrap();
        assert_eq!(huge.reach(), u128::MAX);
    }

    #[test]
    fn a_person_sees_what_varies() {
        let profile = Profile::new(vec![range("audio", &[1, 2, 5], &[1, 2, 6], &[1, 2, 9])]).unwrap();
        assert_eq!(profile.to_string(), "audio [1, 2, 5..9]");
        assert_eq!(Shapes::vae_decode(25).to_string(), "latents [1, 64, 25]");
    }
}
