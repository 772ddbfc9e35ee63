//! Compiled engines as the director knows them: numbers and bytes. Which one serves a source, the driver's registry has chosen.

use crate::{fork::fork_plain, plan::Work};

/// A part of the generator that a compiled engine can stand in for; each has a slot of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The diffusion transformer.
    Decoder,
    /// The autoencoder's way in.
    VaeEncode,
    /// The autoencoder's way out.
    VaeDecode,
}

impl Component {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Decoder, Self::VaeEncode, Self::VaeDecode];

    /// The name that telemetry and the driver use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decoder => "decoder",
            Self::VaeEncode => "vae_encode",
            Self::VaeDecode => "vae_decode",
        }
    }
}

/// A set of components.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Components(u8);

impl Components {
    /// No component.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self::of(&Component::ALL);

    /// The set of these.
    #[must_use]
    pub const fn of(components: &[Component]) -> Self {
        let (mut set, mut index) = (0, 0);
        while index < components.len() {
            set |= 1 << components[index] as u8;
            index += 1;
        }
        Self(set)
    }

    /// Whether `component` is in it.
    #[must_use]
    pub const fn has(self, component: Component) -> bool {
        self.0 & 1 << component as u8 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The components in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The components in it.
    pub fn iter(self) -> impl Iterator<Item = Component> {
        Component::ALL.into_iter().filter(move |component| self.has(*component))
    }
}

impl Work {
    /// The components that this work calls.
    #[must_use]
    pub const fn components(self) -> Components {
        match self {
            Self::EncodeSource => Components::of(&[Component::VaeEncode]),
            // It may have to prepare the source, and what it opens is played at once.
            Self::OpenStream => Components::ALL,
            Self::Play => Components::of(&[Component::Decoder, Component::VaeDecode]),
            Self::EncodePrompt | Self::Rip => Components::NONE,
        }
    }
}

/// The driver's number of an engine; a file that was built anew is another engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineId(pub u32);

/// A compiled engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Engine {
    /// Which.
    pub id: EngineId,
    /// Its weights, which are its own and never parked.
    pub weights_bytes: u64,
    /// Its execution context, there as long as it is.
    pub workspace_bytes: u64,
}

impl Engine {
    /// All that it takes on the device.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.weights_bytes.saturating_add(self.workspace_bytes)
    }
}

/// The engine that serves each component for one source, in the order of [`Component::ALL`]; none where none that is built covers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Engines(pub [Option<Engine>; 3]);

impl Engines {
    /// No engine for anything.
    pub const NONE: Self = Self([None; 3]);

    /// The engine for `component`.
    #[must_use]
    pub const fn of(&self, component: Component) -> Option<Engine> {
        self.0[component as usize]
    }
}

/// Who may call engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// The job that starts next, until it ends.
    Job(crate::JobId),
    /// The ticks of the gate that opens next, until it has drained.
    Ticks(crate::ConnectionId),
}

fork_plain!(Component, EngineId, Engine, Engines);
