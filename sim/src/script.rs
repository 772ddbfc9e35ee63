//! What is left out of a seed's history: how a failure is made smaller, and how the smaller one is replayed.

use std::{fmt, str::FromStr};

use crate::faults::Fault;

/// One thing that happens of itself in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deed {
    /// The client, or [`Deed::WEATHER`].
    pub actor: u8,
    /// The how-manieth of its deeds.
    pub number: u32,
}

impl Deed {
    /// The actor of what nobody asked for.
    pub const WEATHER: u8 = u8::MAX;
}

/// What is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Fault classes that are off.
    pub without: Vec<Fault>,
    /// Clients that never come.
    pub absent: Vec<u8>,
    /// The only deeds that are done, in order; all of them where there is none.
    pub only: Option<Vec<Deed>>,
}

impl Script {
    /// Whether the deed is done.
    pub(crate) fn does(&self, deed: Deed) -> bool {
        let done = self.only.as_ref().is_none_or(|only| only.binary_search(&deed).is_ok());
        done && !self.absent.contains(&deed.actor)
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }
}

/// As the arguments of `greenroom-sim replay`.
impl fmt::Display for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |words: Vec<String>| words.join(",");
        if !self.without.is_empty() {
            let names = self.without.iter().map(|fault| fault.name().to_owned());
            write!(formatter, " --without {}", list(names.collect()))?;
        }
        if !self.absent.is_empty() {
            write!(
                formatter,
                " --absent {}",
                list(self.absent.iter().map(u8::to_string).collect())
            )?;
        }
        if let Some(only) = &self.only {
            let deeds: Vec<String> = only.iter().map(ToString::to_string).collect();
            let deeds = if deeds.is_empty() {
                "none".to_owned()
            } else {
                list(deeds)
            };
            write!(formatter, " --only {deeds}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.actor == Self::WEATHER {
            write!(formatter, "w:{}", self.number)
        } else {
            write!(formatter, "{}:{}", self.actor, self.number)
        }
    }
}

impl FromStr for Deed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no deed: write CLIENT:NUMBER or w:NUMBER");
        let (actor, number) = text.split_once(':').ok_or_else(wrong)?;
        let actor = if actor == "w" {
            Ok(Self::WEATHER)
        } else {
            actor.parse().map_err(|_| wrong())
        };
        Ok(Self {
            actor: actor?,
            number: number.parse().map_err(|_| wrong())?,
        })
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|fault| fault.name() == text);
        found.copied().ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|fault| fault.name()).collect();
            format!("no fault class is called `{text}`; there are {}", names.join(", "))
        })
    }
}
