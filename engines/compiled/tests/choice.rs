//! What serves a shape, held against an oracle that tries everything.
#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use greenroom_compiled::{
    Choice, Component, Digest, Eager, Engine, Length, Load, Origin, PUBLIC_WIDTH, Precision, Profile, Range, Room,
    Shapes, Target, choose, standard_profile,
};
use proptest::prelude::*;

fn engine(name: &str, component: Component, profile: Profile, bytes: [u64; 2]) -> Engine {
    Engine {
        name: name.into(),
        component,
        profile,
        precision: Precision::Fp16,
        weights_bytes: bytes[0],
        workspace_bytes: bytes[1],
        origin: Origin::File {
            path: format!("{name}.engine").into(),
            sha256: Digest::try_from("0".repeat(64)).unwrap(),
            bytes: 1,
        },
    }
}

fn standard(component: Component, length: Length, bytes: u64) -> Engine {
    let name = format!("{}_{length}s", component.name());
    engine(&name, component, standard_profile(component, length), [bytes, 0])
}

fn room(budget_bytes: u64, used_bytes: u64) -> Room {
    Room {
        budget_bytes,
        used_bytes,
    }
}

/// So many seconds of sound.
fn sound(seconds: u64) -> Shapes {
    Shapes::vae_encode(48_000 * seconds)
}

/// Engines of 60, 120 and 240 s that take 4, 6 and 10 bytes, the last first.
fn encoders() -> Vec<Engine> {
    [(Length::S240, 10), (Length::S120, 6), (Length::S60, 4)]
        .map(|(length, bytes)| standard(Component::VaeEncode, length, bytes))
        .into()
}

fn chosen(choice: Choice<'_>) -> (String, Load) {
    match choice {
        Choice::Engine { engine, load } => (engine.name.clone(), load),
        other => panic!("an engine was expected, not {other:?}"),
    }
}

#[test]
fn the_smallest_covering_profile_serves_whatever_is_resident() {
    let built = encoders();
    let [s240, s120, s60] = [0, 1, 2].map(|place: usize| &built[place]);
    let ample = room(100, 10);
    for (seconds, resident, name, load) in [
        (30, None, "vae_encode_60s", Load::Beside),
        (60, Some(s60), "vae_encode_60s", Load::Held),
        // A 120 s upload beside a 60 s live session.
        (120, Some(s60), "vae_encode_120s", Load::Beside),
        // An engine of the wrong duration shadows nothing.
        (60, Some(s240), "vae_encode_60s", Load::Beside),
        (61, Some(s120), "vae_encode_120s", Load::Held),
        (240, Some(s120), "vae_encode_240s", Load::Beside),
    ] {
        let choice = choose(
            Component::VaeEncode,
            &sound(seconds),
            &built,
            resident,
            ample,
            Eager::There,
        );
        assert_eq!(chosen(choice), (name.to_owned(), load), "{seconds} s");
    }
}

#[test]
fn a_larger_resident_engine_serves_only_where_no_smaller_one_finds_room() {
    let mut built = encoders();
    // The small one asks for more than slot and room give together.
    built[2].workspace_bytes = 50;
    let resident = built[0].clone();
    let choice = choose(
        Component::VaeEncode,
        &sound(30),
        &built,
        Some(&resident),
        room(20, 18),
        Eager::There,
    );
    assert_eq!(chosen(choice), ("vae_encode_120s".to_owned(), Load::Instead));
    built.remove(1);
    let choice = choose(
        Component::VaeEncode,
        &sound(30),
        &built,
        Some(&resident),
        room(20, 18),
        Eager::There,
    );
    assert_eq!(chosen(choice), ("vae_encode_240s".to_owned(), Load::Held));
}

#[test]
fn old_and_new_are_admitted_together_before_the_old_one_has_to_go() {
    let built = encoders();
    let serve = |used| {
        let old = &built[2];
        let room = room(20, used);
        chosen(choose(
            Component::VaeEncode,
            &sound(120),
            &built,
            Some(old),
            room,
            Eager::There,
        ))
        .1
    };
    assert_eq!(serve(14), Load::Beside);
    assert_eq!(serve(15), Load::Instead);
    assert_eq!(serve(18), Load::Instead);
}

#[test]
fn outside_every_profile_the_eager_module_serves() {
    let built = encoders();
    let ample = room(100, 0);
    for seconds in [1, 4, 241, 600] {
        let choice = choose(
            Component::VaeEncode,
            &sound(seconds),
            &built,
            Some(&built[0]),
            ample,
            Eager::There,
        );
        assert_eq!(choice, Choice::Eager, "{seconds} s");
    }
    let choice = choose(Component::VaeEncode, &sound(60), &built, None, room(3, 0), Eager::There);
    assert_eq!(choice, Choice::Eager, "no engine finds room");
}

#[test]
fn where_there_is_neither_the_exact_build_command_is_told() {
    let command = |component, shapes: &Shapes, built: &[Engine]| match choose(
        component,
        shapes,
        built,
        None,
        room(100, 0),
        Eager::Absent,
    ) {
        Choice::NotBuilt { command } => command.map(|command| command.to_string()),
        other => panic!("nothing is built, and {other:?} was chosen"),
    };
    let short = vec![standard(Component::VaeEncode, Length::S60, 1)];
    for (component, shapes, built, words) in [
        (
            Component::VaeEncode,
            sound(90),
            &*short,
            Some("vae-encode --duration 120"),
        ),
        (Component::VaeEncode, sound(60), &[], Some("vae-encode --duration 60")),
        (
            Component::VaeDecode,
            Shapes::vae_decode(6000),
            &short,
            Some("vae-decode --duration 240"),
        ),
        (
            Component::Decoder,
            Shapes::decoder(8, 1501, 512),
            &short,
            Some("decoder --duration 120"),
        ),
        (
            Component::VaeDecode,
            Shapes::vae_decode(26),
            &short,
            Some("vae-decode --duration window"),
        ),
        // No profile that is built covers these.
        (Component::VaeDecode, Shapes::vae_decode(27), &short, None),
        (Component::Decoder, Shapes::decoder(9, 1500, 200), &short, None),
        (Component::VaeEncode, sound(241), &short, None),
    ] {
        let expected = words.map(|words| format!("greenroom engines build --component {words}"));
        assert_eq!(command(component, &shapes, built), expected, "{shapes}");
    }
}

#[test]
fn what_a_build_command_builds_serves_what_was_asked_for() {
    for (component, shapes) in [
        (Component::VaeDecode, Shapes::vae_decode(25)),
        (Component::VaeDecode, Shapes::vae_decode(26)),
        (Component::VaeDecode, Shapes::vae_decode(125)),
        (Component::VaeEncode, sound(95)),
        (Component::Decoder, Shapes::decoder(4, 3000, 200)),
    ] {
        let all: Vec<Engine> = Target::ALL
            .into_iter()
            .filter_map(|target| {
                let profile = target.profile(component, PUBLIC_WIDTH)?;
                Some(engine(&target.to_string(), component, profile, [1, 0]))
            })
            .collect();
        let choose = |built| choose(component, &shapes, built, None, room(100, 0), Eager::Absent);
        let Choice::NotBuilt { command: Some(command) } = choose(&[]) else {
            panic!("nothing builds {shapes}")
        };
        assert_eq!(chosen(choose(&all)).0, command.target.to_string(), "{shapes}");
    }
}

#[test]
fn an_engine_that_is_built_and_finds_no_room_is_not_called_missing() {
    let built = encoders();
    let choice = choose(
        Component::VaeEncode,
        &sound(60),
        &built,
        None,
        room(3, 1),
        Eager::Absent,
    );
    let smallest = &built[2];
    assert_eq!(
        choice,
        Choice::NoRoom {
            engine: smallest,
            available_bytes: 2
        }
    );
}

#[test]
fn a_captured_graph_serves_its_exact_shape_without_a_load_and_only_beside_eager_modules() {
    let shapes = Shapes::decoder(2, 1500, 200);
    let mut graph = standard(Component::Decoder, Length::S60, 90);
    graph.profile = Profile::exact(&shapes).unwrap();
    graph.origin = Origin::Captured;
    graph.name = "graph".into();
    let built = vec![standard(Component::Decoder, Length::S60, 5), graph];
    let serve = |shapes: &Shapes, eager| chosen(choose(Component::Decoder, shapes, &built, None, room(100, 90), eager));
    assert_eq!(serve(&shapes, Eager::There), ("graph".to_owned(), Load::Held));
    let file = ("decoder_60s".to_owned(), Load::Beside);
    assert_eq!(serve(&Shapes::decoder(2, 1498, 200), Eager::There), file);
    assert_eq!(
        serve(&shapes, Eager::Absent),
        file,
        "its weights are the eager modules'"
    );
}

#[test]
fn an_engine_that_was_built_anew_under_the_same_name_is_not_the_resident_one() {
    let built = encoders();
    let mut old = built[2].clone();
    old.origin = Origin::File {
        path: "vae_encode_60s.engine".into(),
        sha256: Digest::try_from("1".repeat(64)).unwrap(),
        bytes: 1,
    };
    let choice = choose(
        Component::VaeEncode,
        &sound(60),
        &built,
        Some(&old),
        room(10, 8),
        Eager::There,
    );
    assert_eq!(chosen(choice), ("vae_encode_60s".to_owned(), Load::Instead));
}

#[test]
fn what_lies_in_another_components_slot_gives_no_room() {
    let built = encoders();
    let other = standard(Component::VaeDecode, Length::S240, 50);
    let choice = choose(
        Component::VaeEncode,
        &sound(60),
        &built,
        Some(&other),
        room(50, 50),
        Eager::There,
    );
    assert_eq!(choice, Choice::Eager);
}

/// What is told of an engine in the property below, small enough that profiles nest, overlap and tie.
#[derive(Clone, Debug)]
struct Sketch {
    component: usize,
    low: u64,
    length: u64,
    bytes: [u64; 2],
    captured: bool,
}

fn sketches() -> impl Strategy<Value = Vec<Sketch>> {
    let sketch = (
        0..3_usize,
        1..6_u64,
        0..5_u64,
        [0..4_u64, 0..4_u64],
        prop::bool::weighted(0.2),
    );
    let sketch = sketch.prop_map(|(component, low, length, bytes, captured)| Sketch {
        component,
        low,
        length,
        bytes,
        captured,
    });
    prop::collection::vec(sketch, 0..7)
}

fn drawn(place: usize, sketch: &Sketch) -> Engine {
    let component = Component::ALL[sketch.component];
    let high = if sketch.captured {
        sketch.low
    } else {
        sketch.low + sketch.length
    };
    let profile = Profile::new(vec![Range {
        name: "x".into(),
        min: vec![sketch.low],
        opt: vec![sketch.low],
        max: vec![high],
    }]);
    let mut engine = engine(&format!("e{place}"), component, profile.unwrap(), sketch.bytes);
    if sketch.captured {
        engine.origin = Origin::Captured;
    }
    engine
}

/// Every engine against every other: nobody who covers and finds room is better than the one chosen.
fn oracle(
    (component, size): (Component, u64),
    built: &[Engine],
    resident: Option<&Engine>,
    room: Room,
    eager: Eager,
) -> String {
    let free = room.budget_bytes.saturating_sub(room.used_bytes);
    let own = resident
        .filter(|one| one.component == component)
        .map_or(0, |one| one.weights_bytes + one.workspace_bytes);
    let mut best: Option<(&Engine, &str)> = None;
    let mut covered = false;
    for one in built {
        let range = &one.profile.ranges()[0];
        let graph = one.origin == Origin::Captured;
        if one.component != component || size < range.min[0] || size > range.max[0] || (graph && eager == Eager::Absent)
        {
            continue;
        }
        covered = true;
        let needed = one.weights_bytes + one.workspace_bytes;
        let load = if graph || resident == Some(one) {
            "held"
        } else if needed <= free {
            "beside"
        } else if needed <= free + own {
            "instead"
        } else {
            continue;
        };
        let better = best.is_none_or(|(other, other_load)| {
            let other_needed = other.weights_bytes + other.workspace_bytes;
            let (reach, other_reach) = (range.max[0], other.profile.ranges()[0].max[0]);
            let (here, other_here) = (load == "held", other_load == "held");
            reach < other_reach
                || reach == other_reach
                    && (here && !other_here
                        || here == other_here
                            && (needed < other_needed || needed == other_needed && one.name < other.name))
        });
        if better {
            best = Some((one, load));
        }
    }
    match best {
        Some((engine, load)) => format!("{} {load}", engine.name),
        None if eager == Eager::There => "eager".into(),
        None if covered => "no room".into(),
        None => "not built".into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_choice_is_the_oracles_whatever_the_order(
        sketches in sketches(),
        asked in (0..3_usize, 1..12_u64),
        resident in prop::option::of(0..7_usize),
        (budget, used) in (0..14_u64, 0..14_u64),
        eager in prop::bool::ANY,
        turn in 0..7_usize,
    ) {
        let mut built: Vec<Engine> = sketches.iter().enumerate().map(|(place, sketch)| drawn(place, sketch)).collect();
        let resident = resident.and_then(|place| built.get(place)).filter(|one| !one.is_captured()).cloned();
        let eager = if eager { Eager::There } else { Eager::Absent };
        let component = Component::ALL[asked.0];
        let shapes = Shapes::new(&[("x", &[asked.1])]);
        let expected = oracle((component, asked.1), &built, resident.as_ref(), room(budget, used), eager);
        let turn = turn.min(built.len());
        built.rotate_left(turn);
        let choice = choose(component, &shapes, &built, resident.as_ref(), room(budget, used), eager);
        let found = match choice {
            Choice::Engine { engine, load: Load::Held } => format!("{} held", engine.name),
            Choice::Engine { engine, load: Load::Beside } => format!("{} beside", engine.name),
            Choice::Engine { engine, load: Load::Instead } => format!("{} instead", engine.name),
            Choice::Eager => "eager".into(),
            Choice::NoRoom { .. } => "no room".into(),
            Choice::NotBuilt { .. } => "not built".into(),
        };
        prop_assert_eq!(found, expected);
    }
}
