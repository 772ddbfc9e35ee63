//! What the director is told once, at the start: the pod's groups, budget, policy, limits and times.

use crate::{engine::Components, moment::Span};

/// A weight group: what moves between the GPU and system RAM as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// The diffusion transformer.
    Dit,
    /// Condition encoder, semantic tokenizer and detokenizer.
    Conditioner,
    /// The prompt's text encoder.
    TextEncoder,
    /// The audio autoencoder.
    Vae,
    /// The stem separator.
    Separator,
}

impl Group {
    /// All groups, eager ones first.
    pub const ALL: [Self; 5] = [
        Self::Dit,
        Self::Conditioner,
        Self::TextEncoder,
        Self::Vae,
        Self::Separator,
    ];
    /// The groups that must never share the GPU with the separator.
    pub const EAGER: [Self; 4] = [Self::Dit, Self::Conditioner, Self::TextEncoder, Self::Vae];

    /// The name that telemetry, the stage and the wire use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dit => "dit",
            Self::Conditioner => "conditioner",
            Self::TextEncoder => "text_encoder",
            Self::Vae => "vae",
            Self::Separator => "separator",
        }
    }

    /// The group of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }
}

/// A set of weight groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Groups(u8);

impl Groups {
    /// No group.
    pub const NONE: Self = Self(0);

    /// The set of these.
    #[must_use]
    pub fn of(groups: &[Group]) -> Self {
        groups.iter().fold(Self::NONE, |set, group| set.with(*group))
    }

    /// This set and one more.
    #[must_use]
    pub const fn with(self, group: Group) -> Self {
        Self(self.0 | 1 << group as u8)
    }

    /// The groups in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `group` is in it.
    #[must_use]
    pub const fn has(self, group: Group) -> bool {
        self.0 & 1 << group as u8 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The groups in it, eager ones first.
    pub fn iter(self) -> impl Iterator<Item = Group> {
        Group::ALL.into_iter().filter(move |group| self.has(*group))
    }
}

/// When the generator's eager groups make room for the separator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Always: separator weights and eager weights are never on the GPU at the same time.
    Always,
    /// Only when claimable device memory is under the reserve.
    Auto {
        /// Bytes that must stay claimable with the separator attached.
        reserve_bytes: u64,
    },
    /// Never.
    Never,
}

/// A kind of work, which names its groups and its workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// Phase 1 of a source: `vae`, `conditioner`.
    EncodeSource,
    /// A prompt: `text_encoder`, `conditioner`.
    EncodePrompt,
    /// Opening a session's stream or swapping its source: everything that either needs.
    OpenStream,
    /// Ticks and window decodes under the standing lease: `dit`, `vae`.
    Play,
    /// Separation: `separator`.
    Rip,
}

impl Work {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::EncodeSource,
        Self::EncodePrompt,
        Self::OpenStream,
        Self::Play,
        Self::Rip,
    ];
}

/// The groups a kind of work needs resident, and the device memory it takes beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Need {
    /// The groups, all of them at once or none.
    pub groups: Groups,
    /// Peak bytes of activations and buffers.
    pub workspace_bytes: u64,
}

/// Whether a session's end removes its uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Uploads {
    /// Another session's start, or 30 s without the client, removes them.
    Wipe,
    /// They stay, for whoever comes.
    Keep,
}

/// Upper bounds; each hit is a clear refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Connections between their acceptance and the end of their handshake.
    pub handshakes: usize,
    /// Sum of the declared sizes of what handshakes and uploads in phase 1 hold.
    pub handshake_bytes: u64,
    /// Uploads in phase 1 at once.
    pub uploads: usize,
    /// Tracks that are uploads.
    pub tracks: usize,
    /// Jobs of people who wait that may overtake a rip that wants the device: then it has a turn of at least one batch.
    pub overtakes: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: 8,
            handshake_bytes: 256 << 20,
            uploads: 4,
            tracks: 64,
            overtakes: 4,
        }
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Times {
    /// First frame of a connection, from its acceptance.
    pub first_frame: Span,
    /// Rest of a handshake (its audio), from the first frame.
    pub body: Span,
    /// The answer of a session's client that is being closed, before its socket is forced.
    pub close_grace: Span,
    /// The same for every other connection: nobody waits for its seat.
    pub farewell: Span,
    /// How long an evicted client whose close was forced is answered 4001.
    pub eviction_hold: Span,
    /// How long a client's tracks outlive its socket.
    pub lineage_linger: Span,
    /// How long a track waits for a first session to own it.
    pub unclaimed: Span,
    /// How long a client may acknowledge nothing.
    pub stall: Span,
    /// How long ticks may stay away while a rip has the stage.
    pub rip_turn: Span,
    /// How long ticks then have it; no longer than `rip_turn`, so that the rip keeps at least half.
    pub live_turn: Span,
    /// A job that moves weights.
    pub job_move: Span,
    /// A job that computes for somebody who waits.
    pub job_compute: Span,
    /// A turn of a rip.
    pub job_rip: Span,
    /// A job on the disk.
    pub job_disk: Span,
    /// How long a cancelled job that is past its deadline may go on before the device counts as lost.
    pub job_hang: Span,
    /// Between two tries to wipe what the disk would not give up.
    pub wipe_retry: Span,
    /// The whole of a shutdown.
    pub shutdown: Span,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            first_frame: Span::seconds(10),
            body: Span::seconds(120),
            close_grace: Span::milliseconds(750),
            farewell: Span::seconds(5),
            eviction_hold: Span::seconds(30),
            lineage_linger: Span::seconds(30),
            unclaimed: Span::seconds(600),
            stall: Span::seconds(20),
            rip_turn: Span::milliseconds(600),
            live_turn: Span::milliseconds(500),
            job_move: Span::seconds(60),
            job_compute: Span::seconds(60),
            job_rip: Span::seconds(600),
            job_disk: Span::seconds(60),
            job_hang: Span::seconds(10),
            wipe_retry: Span::seconds(5),
            shutdown: Span::seconds(10),
        }
    }
}

/// Everything the director is told at the start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Weights in bytes of each group that this pod has, in the order of [`Group::ALL`]; a pod without a separator never rips.
    pub weights_bytes: [Option<u64>; 5],
    /// What each kind of work needs, in the order of [`Work::ALL`]; only groups that the pod has.
    pub needs: [Need; 5],
    /// Components that have no eager module in this pod: work that calls them begins only when the engine for its source is loaded. Anywhere
    /// else an engine is a help, which comes where there is room and goes when somebody needs it.
    pub engines_only: Components,
    /// Device memory that residents and workspaces may fill together.
    pub budget_bytes: u64,
    /// Whether the generator keeps something of each stem, so that a later swap to one encodes nothing: made under a lease on the groups of
    /// [`Work::EncodeSource`] once a rip is done.
    pub keeps_stems: bool,
    /// When eager groups make room.
    pub policy: Policy,
    /// Whether uploads are wiped.
    pub uploads: Uploads,
    /// Upper bounds.
    pub limits: Limits,
    /// Deadlines.
    pub times: Times,
}

impl Plan {
    /// What `work` needs.
    #[must_use]
    pub fn need(&self, work: Work) -> Need {
        self.needs[work as usize]
    }

    /// The weights of `group`; zero where the pod has no such group.
    #[must_use]
    pub fn weights(&self, group: Group) -> u64 {
        self.weights_bytes[group as usize].unwrap_or(0)
    }

    /// Whether the pod has `group`.
    #[must_use]
    pub fn has(&self, group: Group) -> bool {
        self.weights_bytes[group as usize].is_some()
    }
}
