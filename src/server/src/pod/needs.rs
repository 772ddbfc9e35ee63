//! Which weight groups each kind of work needs, as the director wants to be told.

use greenroom_director::{Group, Groups, Need};
use greenroom_generator::{Generator, Work};

/// What each kind of the director's work needs, in the order of `greenroom_director::Work::ALL`, without workspaces.
///
/// Opening a stream or swapping its source may have to prepare the source (a sidecar may be missing) and always encodes the prompt.
///
/// # Panics
/// If the generator names a group that no pod has: a bug of the engine.
#[must_use]
pub fn needs(generator: &dyn Generator, has_separator: bool) -> [Need; 5] {
    let groups = |work: Work| {
        let groups = generator.groups(work).iter();
        groups.fold(Groups::NONE, |set, name| {
            set.with(Group::named(name).expect("an engine names groups that the house has"))
        })
    };
    let encode_source = groups(Work::EncodeSource);
    let encode_prompt = groups(Work::EncodePrompt);
    let play = groups(Work::Tick).union(groups(Work::Decode));
    let rip = if has_separator {
        Groups::of(&[Group::Separator])
    } else {
        Groups::NONE
    };
    [
        encode_source,
        encode_prompt,
        encode_source.union(encode_prompt),
        play,
        rip,
    ]
    .map(|groups| Need {
        groups,
        workspace_bytes: 0,
    })
}
