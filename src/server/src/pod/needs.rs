//! Which weight groups each kind of work needs, as the director wants to be told.

use greenroom_director::{Group, Groups, Need};
use greenroom_generator::{Generator, Work};
use greenroom_separator::Separator;

/// What each kind of the director's work needs, in the order of `greenroom_director::Work::ALL`.
///
/// Opening a stream or swapping its source may have to prepare the source (a sidecar may be missing) and always encodes the prompt, one
/// after the other.
///
/// # Panics
/// If the generator names a group that no pod has: a bug of the engine.
#[must_use]
pub fn needs(generator: &dyn Generator, separator: Option<&dyn Separator>) -> [Need; 5] {
    let need = |work: Work| Need {
        groups: generator.groups(work).iter().fold(Groups::NONE, |set, name| {
            set.with(Group::named(name).expect("an engine names groups that the house has"))
        }),
        workspace_bytes: generator.workspace_bytes(work),
    };
    let either = |one: Need, other: Need| Need {
        groups: one.groups.union(other.groups),
        workspace_bytes: one.workspace_bytes.max(other.workspace_bytes),
    };
    let (source, prompt) = (need(Work::EncodeSource), need(Work::EncodePrompt));
    let rip = separator.map_or(Need::default(), |separator| Need {
        groups: Groups::of(&[Group::Separator]),
        workspace_bytes: separator.workspace_bytes(),
    });
    [
        source,
        prompt,
        either(source, prompt),
        either(need(Work::Tick), need(Work::Decode)),
        rip,
    ]
}
