//! Compiled engines for the tiny checkpoint: its own modules, each bound to the lengths that its file declares.

use std::{io, path::Path};

use greenroom_acestep::{Outcome, WeightFiles, write_module_engine};
use greenroom_compiled::{Component, Profile, Range, Shapes};

const SECOND: u64 = 48_000;
/// Of the tiny network.
const WIDTH: u64 = 64;

/// Writes the engine `COMPONENT-SECONDS`, which takes so much music; `loads` is what becomes of its first loads. One that decodes takes windows.
///
/// # Errors
/// If a file cannot be read or written.
pub fn module_engine(
    engines: &Path,
    checkpoint: &Path,
    component: Component,
    seconds: u64,
    loads: &[Outcome],
) -> io::Result<()> {
    let name = format!("{component}-{seconds}");
    let (least, most) = match component {
        Component::Decoder => (
            Shapes::decoder_of_width(1, 2, 1, WIDTH),
            Shapes::decoder_of_width(8, 25 * seconds, 512, WIDTH),
        ),
        Component::VaeEncode => (Shapes::vae_encode(SECOND), Shapes::vae_encode(seconds * SECOND)),
        Component::VaeDecode => (Shapes::vae_decode(25), Shapes::vae_decode(26)),
    };
    let profile = between(&least, &most).map_err(io::Error::other)?;
    let weights = WeightFiles::of(checkpoint);
    write_module_engine(
        engines,
        &name,
        component,
        profile,
        weights.of_component(component),
        loads,
    )
}

/// Everything between two shapes.
fn between(least: &Shapes, most: &Shapes) -> Result<Profile, greenroom_compiled::ProfileError> {
    let ranges = least.iter().zip(most.iter()).map(|((name, min), (_, max))| Range {
        name: name.into(),
        min: min.into(),
        opt: min.into(),
        max: max.into(),
    });
    Profile::new(ranges.collect())
}
