//! What holds whatever is turned, swapped and asked for, in whatever order.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Deed {
    Tick(u8),
    Turn(Vec<(&'static str, f64)>),
    Guide(&'static str, f64),
    Depth(u32),
    Swap(u8),
    Part(u8),
    Blend(f64),
    Structure(bool),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let knob = prop_oneof![
        (Just("denoise"), 0.0..=1.0),
        (Just("seed"), (0_u32..5).prop_map(f64::from)),
        (Just("feedback"), 0.0..=1.0),
        (Just("feedback_depth"), (1_u32..=8).prop_map(f64::from)),
        (Just("shift"), 1.0..=6.0),
        (Just("hint_strength"), 0.0..=1.0),
        (Just("steps_override"), (1_u32..=16).prop_map(f64::from)),
        (Just("x0_target"), 0.0..=1.0),
        (Just("ch_g0"), 0.0..=3.0),
        (Just("dcw_scaler"), 0.0..=0.5),
        (Just("dcw_mult_blend"), 0.0..=1.0),
        (Just("dcw_mag_phase"), 0.0..=1.0),
        (Just("dcw_soft_thresh"), 0.0..=0.3),
    ];
    let deed = prop_oneof![
        6 => (1_u8..20).prop_map(Deed::Tick),
        4 => prop::collection::vec(knob, 0..5).prop_map(Deed::Turn),
        2 => (prop_oneof![Just("off"), Just("initialize"), Just("self"), Just("full")], 0.0..=15.0)
            .prop_map(|(mode, scale)| Deed::Guide(mode, scale)),
        2 => (0_u32..12).prop_map(Deed::Depth),
        1 => (0_u8..3).prop_map(Deed::Swap),
        2 => (0_u8..3).prop_map(Deed::Part),
        1 => (0.0..=1.0).prop_map(Deed::Blend),
        1 => any::<bool>().prop_map(Deed::Structure),
    ];
    prop::collection::vec(deed, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn latents_stay_finite_and_nothing_of_another_source_or_part_is_published(deeds in deeds()) {
        let (mut stream, mut field) = (stream(4), Field::default());
        let (mut knobs, mut frames, mut part, mut depth) = (Knobs::new(), FRAMES, None, 4);
        for deed in deeds {
            match deed {
                Deed::Tick(ticks) => for _ in 0..ticks {
                    let published = stream.tick(&mut field, part.clone()).unwrap();
                    prop_assert!(published <= depth);
                    // Never more rows than slots, and as many again for their negative prompts.
                    prop_assert!(*field.rows.last().unwrap() <= 2 * depth as usize);
                    let Some(finished) = stream.latest() else { continue };
                    prop_assert_eq!(&finished.part, &part.clone().unwrap_or(0..frames));
                    prop_assert_eq!(finished.latents.dims(), [finished.part.len(), CHANNELS]);
                    prop_assert!(values(&finished.latents).iter().all(|value| value.is_finite()));
                },
                Deed::Turn(turned) => {
                    knobs.extend(turned.into_iter().map(|(name, value)| (name.to_owned(), number(value))));
                    stream.set_knobs(&knobs);
                }
                Deed::Guide(mode, scale) => {
                    knobs.insert("rcfg_mode".into(), choice(mode));
                    knobs.insert("guidance_scale".into(), number(scale));
                    stream.set_knobs(&knobs);
                }
                Deed::Depth(wanted) => {
                    depth = stream.set_depth(wanted);
                    prop_assert_eq!(depth, wanted.clamp(1, DEPTH_MAX));
                }
                Deed::Swap(which) => {
                    frames = FRAMES + 5 * usize::from(which);
                    part = None;
                    stream.swap_source(source(&format!("source {which}"), frames), conditioning()).unwrap();
                    prop_assert!(stream.latest().is_none());
                }
                Deed::Part(which) => part = Some(usize::from(which)..usize::from(which) + 11),
                Deed::Blend(blend) => {
                    stream.set_timbre_strength(blend);
                    stream.set_prompt_blend(1.0 - blend);
                }
                Deed::Structure(other) => stream.set_structure(other.then(|| given("structure", &[8, CHANNELS]))),
            }
        }
    }
}
