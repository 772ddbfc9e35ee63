//! What a stream makes, and when.

use super::*;
use crate::guidance::guided;

fn goldens() -> std::collections::HashMap<String, Tensor> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/steps.safetensors");
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

/// Knobs of each golden generation; all start from the source alone.
fn cases() -> Vec<(&'static str, Knobs)> {
    let base = [
        ("denoise", number(1.0)),
        ("initial_noise_curve", KnobValue::Curve(vec![0.0])),
    ];
    let wavelet = |mode: &str, wavelet: &str| vec![("dcw_mode", choice(mode)), ("dcw_wavelet", choice(wavelet))];
    let cases = vec![
        ("plain", vec![("dcw_enabled", KnobValue::Bool(false))]),
        ("corrected", vec![]),
        ("low", wavelet("low", "db4")),
        ("high", wavelet("high", "sym8")),
        ("double", wavelet("double", "db8")),
        ("pixel", wavelet("pix", "haar")),
        (
            "threshold",
            [wavelet("double", "db4"), vec![("dcw_soft_thresh", number(0.2))]].concat(),
        ),
        (
            "multiplied",
            [wavelet("low", "haar"), vec![("dcw_mult_blend", number(0.7))]].concat(),
        ),
        (
            "analytic",
            [wavelet("double", "haar"), vec![("dcw_mag_phase", number(1.0))]].concat(),
        ),
        (
            "faders",
            [
                wavelet("high", "sym8"),
                vec![
                    ("dcw_mult_blend", number(0.4)),
                    ("dcw_mag_phase", number(0.5)),
                    ("dcw_soft_thresh", number(0.05)),
                ],
            ]
            .concat(),
        ),
        (
            "initialize",
            vec![("rcfg_mode", choice("initialize")), ("guidance_scale", number(2.5))],
        ),
        (
            "full",
            vec![
                ("rcfg_mode", choice("full")),
                ("guidance_scale", number(2.5)),
                ("cfg_rescale", number(0.3)),
            ],
        ),
        (
            "short",
            vec![
                ("steps_override", number(3.0)),
                ("denoise", number(0.7)),
                ("hint_strength", number(0.4)),
            ],
        ),
        ("target", vec![("x0_target", number(0.6)), ("ch_g0", number(1.5))]),
    ];
    cases
        .into_iter()
        .map(|(name, turned)| (name, knobs(&[base.to_vec(), turned].concat())))
        .collect()
}

#[test]
fn generations_are_those_of_the_same_formulas_elsewhere() {
    let goldens = goldens();
    for (name, knobs) in cases() {
        let mut stream = stream(1);
        stream.set_knobs(&knobs);
        let latents = next(&mut stream, &mut Field::default());
        let off = error(&latents, &goldens[&format!("generation.{name}")]);
        assert!(off < 2e-6, "{name}: {off:.1e}");
    }
}

#[test]
fn a_generation_is_the_same_to_the_bit_whoever_is_beside_it() {
    for (name, knobs) in cases() {
        let alone = {
            let mut stream = stream(1);
            stream.set_knobs(&knobs);
            values(&next(&mut stream, &mut Field::default()))
        };
        for depth in [2, 4, 8] {
            let (mut stream, mut field) = (stream(depth), Field::default());
            stream.set_knobs(&knobs);
            for _ in 0..2 * depth {
                assert_eq!(values(&next(&mut stream, &mut field)), alone, "{name}, depth {depth}");
            }
        }
    }
}

#[test]
fn guidance_remembers_the_last_step() {
    let goldens = goldens();
    let mut momentum = None;
    for step in 0..3 {
        let given = |name: &str| given(&format!("{name}.{step}"), &[FRAMES, CHANNELS]);
        let rescale = 0.25 * f64::from(step);
        let actual = guided(&given("positive"), &given("negative"), &mut momentum, 4.0, rescale).unwrap();
        let off = error(&actual, &goldens[&format!("guided.{step}")]);
        assert!(off < 2e-6, "step {step}: {off:.1e}");
    }
}

#[test]
fn guidance_by_the_noise_itself_costs_no_forward() {
    let (mut stream, mut field) = (stream(1), Field::default());
    let with = |scale| {
        knobs(&[
            ("denoise", number(1.0)),
            ("rcfg_mode", choice("self")),
            ("guidance_scale", number(scale)),
        ])
    };
    stream.set_knobs(&with(1.0));
    let plain = next(&mut stream, &mut field);
    stream.set_knobs(&with(3.0));
    let guided = next(&mut stream, &mut field);
    assert!(error(&guided, &plain) > 1e-3);
    assert!(field.rows.iter().all(|rows| *rows == 1), "{:?}", field.rows);
}

#[test]
fn the_second_forward_of_guidance_is_in_the_same_batch() {
    let rows = |mode: &str| {
        let (mut stream, mut field) = (stream(1), Field::default());
        stream.set_knobs(&knobs(&[
            ("denoise", number(1.0)),
            ("rcfg_mode", choice(mode)),
            ("guidance_scale", number(2.5)),
        ]));
        next(&mut stream, &mut field);
        field.rows
    };
    assert_eq!(rows("initialize"), [2, 1, 1, 1, 1, 1, 1, 1]);
    assert_eq!(rows("full"), [2; 8]);
    assert_eq!(rows("off"), [1; 8]);
}

#[test]
fn a_full_ring_finishes_as_many_as_it_has_slots_in_as_many_ticks_as_there_are_steps() {
    for (depth, per_round) in [(1, 1), (4, 4), (8, 8)] {
        let (mut stream, mut field) = (stream(depth), Field::default());
        stream.set_knobs(&knobs(&[("denoise", number(1.0))]));
        let mut finished = |ticks: u32| -> u32 { (0..ticks).map(|_| stream.tick(&mut field, None).unwrap()).sum() };
        finished(16);
        assert_eq!(finished(8), per_round, "depth {depth}");
        assert_eq!(*field.rows.iter().max().unwrap(), depth as usize);
    }
}

#[test]
fn without_denoising_the_source_comes_out() {
    let mut stream = stream(4);
    let latents = next(&mut stream, &mut Field::default());
    assert_eq!(values(&latents), values(&source("", FRAMES).latents));
}

#[test]
fn a_knob_turned_is_never_heard_back_and_forth() {
    let (mut stream, mut field) = (stream(4), Field::default());
    stream.set_knobs(&knobs(&[("denoise", number(1.0))]));
    for _ in 0..6 {
        stream.tick(&mut field, None).unwrap();
    }
    // One step instead of eight: it overtakes those in flight.
    stream.set_knobs(&Knobs::new());
    let untouched = values(&source("", FRAMES).latents);
    let heard: Vec<bool> = (0..40)
        .map(|_| {
            stream.tick(&mut field, None).unwrap();
            stream
                .latest()
                .is_some_and(|finished| values(&finished.latents) == untouched)
        })
        .collect();
    let first = heard.iter().position(|heard| *heard).unwrap();
    assert!(first < 8, "{first}");
    assert!(heard[first..].iter().all(|heard| *heard), "{heard:?}");
}

#[test]
fn a_swapped_source_leaves_nothing_of_the_old_one() {
    let (mut stream, mut field) = (stream(4), Field::default());
    for _ in 0..20 {
        stream.tick(&mut field, None).unwrap();
    }
    let other = source("other", 2 * FRAMES);
    stream.swap_source(other.clone(), conditioning()).unwrap();
    assert!(stream.latest().is_none());
    let latents = next(&mut stream, &mut field);
    assert_eq!(values(&latents), values(&other.latents));
}

#[test]
fn feedback_brings_back_an_earlier_generation() {
    let (mut stream, mut field) = (stream(1), Field::default());
    stream.set_knobs(&knobs(&[("denoise", number(1.0)), ("seed", number(5.0))]));
    let first = next(&mut stream, &mut field);
    next(&mut stream, &mut field);
    stream.set_knobs(&knobs(&[("feedback", number(1.0)), ("feedback_depth", number(2.0))]));
    let fed_back = next(&mut stream, &mut field);
    assert_eq!(values(&fed_back), values(&first));
}

#[test]
fn a_part_of_a_source_is_generated_as_a_source_of_its_own() {
    let (mut stream, mut field) = (stream(2), Field::default());
    let mut of = |part: std::ops::Range<usize>| {
        for _ in 0..9 {
            stream.tick(&mut field, Some(part.clone())).unwrap();
        }
        let finished = stream.latest().unwrap().clone();
        assert_eq!(finished.part, part);
        values(&finished.latents)
    };
    let source = source("", FRAMES).latents;
    assert_eq!(of(0..10), values(&source.narrow(0, 0, 10).unwrap()));
    assert_eq!(of(11..21), values(&source.narrow(0, 11, 10).unwrap()));
}

#[test]
fn prompts_are_prepared_once_and_again_when_they_move() {
    let (mut stream, mut field) = (stream(4), Field::default());
    let mut ticks = |stream: &mut Stream<Tensor>| {
        let before = field.prompts.get();
        for _ in 0..12 {
            stream.tick(&mut field, None).unwrap();
        }
        field.prompts.get() - before
    };
    assert_eq!(ticks(&mut stream), 1);
    stream.set_prompt_blend(0.5);
    assert_eq!(ticks(&mut stream), 0, "there is nothing to blend with");
    stream.set_timbre_strength(0.5);
    assert_eq!(ticks(&mut stream), 1);
    stream.weights_changed();
    assert_eq!(ticks(&mut stream), 1);
}

#[test]
fn both_ends_of_a_blend_are_exact() {
    let with = |blend: f64, timbre: f64| {
        let (mut stream, mut field) = (stream(1), Field::default());
        let b = Sides {
            silence: given("b silence", &[9, WIDTH]),
            full: given("b full", &[9, WIDTH]),
        };
        stream.set_conditioning(Conditioning {
            b: Some(b),
            ..conditioning()
        });
        stream.set_knobs(&knobs(&[("denoise", number(1.0))]));
        stream.set_prompt_blend(blend);
        stream.set_timbre_strength(timbre);
        values(&next(&mut stream, &mut field))
    };
    assert_eq!(with(0.0, 1.0), with(0.0005, 0.9995));
    assert_ne!(with(0.0, 1.0), with(0.5, 1.0));
    assert_ne!(with(0.0, 1.0), with(0.0, 0.5));
    assert_ne!(with(0.5, 1.0), with(1.0, 1.0));
}

#[test]
fn another_tracks_structure_is_followed_until_it_is_taken_away() {
    let (mut stream, mut field) = (stream(1), Field::default());
    stream.set_knobs(&knobs(&[("denoise", number(1.0))]));
    let own = values(&next(&mut stream, &mut field));
    stream.set_structure(Some(given("structure", &[8, CHANNELS])));
    let other = values(&next(&mut stream, &mut field));
    assert_ne!(other, own);
    stream.set_structure(None);
    assert_eq!(values(&next(&mut stream, &mut field)), own);
}

#[test]
fn a_stochastic_session_is_the_source_without_amplitude_and_repeats_itself() {
    let run = |turned: &[(&str, KnobValue)]| {
        let uncorrected = ("dcw_enabled", KnobValue::Bool(false));
        let mut stream = Stream::new(
            source("", FRAMES),
            given("silence", &[FRAMES, CHANNELS]),
            conditioning(),
            &StreamSettings {
                sde: true,
                ..settings(2)
            },
            DEPTH_MAX,
        )
        .unwrap();
        stream.set_knobs(&knobs(&[&[uncorrected], turned].concat()));
        next(&mut stream, &mut Field::default())
    };
    let off = error(&run(&[]), &source("", FRAMES).latents);
    assert!(off < 1e-6, "{off:.1e}");
    let half = run(&[("sde_amp", number(0.5))]);
    assert_eq!(values(&half), values(&run(&[("sde_amp", number(0.5))])));
    assert!(error(&half, &source("", FRAMES).latents) > 1e-2);
    let curve = KnobValue::Curve(vec![0.0]);
    let still = run(&[("sde_amp", number(0.5)), ("sde_denoise_curve", curve)]);
    assert!(error(&still, &source("", FRAMES).latents) < 1e-6);
    assert!(error(&run(&[("sde_amp", number(0.5)), ("periodicity", number(3.0))]), &half) > 1e-3);
}
