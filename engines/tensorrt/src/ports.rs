//! What an engine takes and gives, held against what its component does: memory is bound to names, so these must be the ones that are known.

use greenroom_compiled::Component;

/// A tensor that an engine takes or gives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "tensorrt"), allow(dead_code, reason = "only the library has engines"))]
pub(crate) struct Port {
    pub(crate) name: String,
    /// Dimensions that it has.
    pub(crate) rank: usize,
    pub(crate) is_input: bool,
    /// Whether it lies on the device as values of single precision, one after the other.
    pub(crate) is_plain: bool,
}

/// Whether an engine takes and gives what a component does: the same names and numbers of dimensions, all of them plain.
#[cfg_attr(not(feature = "tensorrt"), allow(dead_code, reason = "only the library has engines"))]
pub(crate) fn check(component: Component, ports: &[Port]) -> Result<(), String> {
    if let Some(port) = ports.iter().find(|port| !port.is_plain) {
        return Err(format!("its tensor {} is not in plain single precision", port.name));
    }
    let mut found: Vec<(bool, &str, usize)> = ports
        .iter()
        .map(|port| (port.is_input, port.name.as_str(), port.rank))
        .collect();
    let inputs = component.inputs().iter().map(|(name, rank)| (true, *name, *rank));
    let (name, rank) = component.output();
    let mut needed: Vec<(bool, &str, usize)> = inputs.chain([(false, name, rank)]).collect();
    found.sort_unstable();
    needed.sort_unstable();
    if found == needed {
        return Ok(());
    }
    let list = |ports: &[(bool, &str, usize)]| {
        let words = ports.iter().map(|(is_input, name, rank)| {
            let way = if *is_input { "in" } else { "out" };
            format!("{name} ({way}, {rank})")
        });
        words.collect::<Vec<_>>().join(", ")
    };
    Err(format!(
        "its tensors are {}; those of {component} are {}",
        list(&found),
        list(&needed)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, rank: usize, is_input: bool) -> Port {
        Port {
            name: name.into(),
            rank,
            is_input,
            is_plain: true,
        }
    }

    fn decoder() -> Vec<Port> {
        // As the exported graph has them.
        vec![
            port("hidden_states", 3, true),
            port("timestep", 1, true),
            port("encoder_hidden_states", 3, true),
            port("context_latents", 3, true),
            port("velocity", 3, false),
        ]
    }

    #[test]
    fn an_engine_has_the_tensors_of_its_component_in_any_order() {
        let mut ports = decoder();
        assert_eq!(check(Component::Decoder, &ports), Ok(()));
        ports.reverse();
        assert_eq!(check(Component::Decoder, &ports), Ok(()));
        let encode = [port("audio", 3, true), port("moments", 3, false)];
        let decode = [port("latents", 3, true), port("audio", 3, false)];
        assert_eq!(check(Component::VaeEncode, &encode), Ok(()));
        assert_eq!(check(Component::VaeDecode, &decode), Ok(()));
        let refused = check(Component::VaeEncode, &decode).unwrap_err();
        assert_eq!(
            refused,
            "its tensors are audio (out, 3), latents (in, 3); those of vae_encode are moments (out, 3), audio (in, 3)"
        );
    }

    #[test]
    fn one_tensor_more_or_less_or_of_another_rank_or_type_is_another_engine() {
        for at in 0..decoder().len() {
            let mut without = decoder();
            without.remove(at);
            assert!(check(Component::Decoder, &without).is_err());
            let mut flat = decoder();
            flat[at].rank += 1;
            assert!(check(Component::Decoder, &flat).is_err());
            let mut half = decoder();
            half[at].is_plain = false;
            let refused = check(Component::Decoder, &half).unwrap_err();
            assert!(refused.contains(&half[at].name), "{refused}");
        }
        let more = [decoder(), vec![port("mask", 2, true)]].concat();
        assert!(check(Component::Decoder, &more).is_err());
    }
}
