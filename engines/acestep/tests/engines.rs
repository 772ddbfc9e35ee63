//! Compiled engines in place of the modules: the modules themselves, bound to profiles. What they make is the same to the bit.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use candle_core::{DType, Tensor};
use greenroom_acestep::{
    Acestep, AcestepOptions, Decoder, EngineLibrary, Module, Outcome, Size, WeightFiles, write_module_engine,
    write_random, write_random_lora,
};
use greenroom_audio::Pcm;
use greenroom_compiled::{Component, Engine, Library, Profile, Range, Shapes};
use greenroom_diffusion::Batch;
use greenroom_dit::{LoraSet, Memory};
use greenroom_generator::{
    CompiledEngines, Extent, GenerateError, Generator, KnobValue, Knobs, Lent, LiveStream, LoadError, PreparedSource,
    Prompt, SLICE_FRAMES, Standing, StreamSettings,
};
use greenroom_stage::{CpuStage, Stage};
use greenroom_sync::CancelFlag;
use greenroom_weights::{KeepingLane, uniform};
use tempfile::TempDir;

const SECOND: u64 = 48_000;
/// Of the tiny network.
const WIDTH: u64 = 64;

/// Everything between two shapes.
fn between(least: &Shapes, most: &Shapes) -> Profile {
    let ranges = least.iter().zip(most.iter()).map(|((name, min), (_, max))| Range {
        name: name.into(),
        min: min.into(),
        opt: min.into(),
        max: max.into(),
    });
    Profile::new(ranges.collect()).unwrap()
}

fn encoder(seconds: u64) -> Profile {
    between(&Shapes::vae_encode(SECOND), &Shapes::vae_encode(seconds * SECOND))
}

fn transformer(seconds: u64) -> Profile {
    between(
        &Shapes::decoder_of_width(1, 2, 1, WIDTH),
        &Shapes::decoder_of_width(8, 25 * seconds, 512, WIDTH),
    )
}

fn windows() -> Profile {
    between(&Shapes::vae_decode(25), &Shapes::vae_decode(26))
}

struct World {
    folder: TempDir,
    acestep: Acestep,
    stage: CpuStage,
}

impl World {
    /// A tiny checkpoint with these engines: name, component, profile, and what becomes of its first loads.
    fn with(engines: &[(&str, Component, Profile, &[Outcome])]) -> Self {
        Self::with_library(engines, |modules| modules)
    }

    /// The same, loaded by another library over that of the modules.
    fn with_library(
        engines: &[(&str, Component, Profile, &[Outcome])],
        library: impl FnOnce(Arc<dyn EngineLibrary>) -> Arc<dyn EngineLibrary>,
    ) -> Self {
        let folder = TempDir::new().unwrap();
        write_random(folder.path(), Size::Tiny, 1, |_| {}).unwrap();
        let weights = WeightFiles::of(folder.path());
        let built = folder.path().join("engines");
        fs::create_dir(&built).unwrap();
        for (name, component, profile, loads) in engines {
            let file = weights.of_component(*component);
            write_module_engine(&built, name, *component, profile.clone(), file, loads).unwrap();
        }
        let acestep = opened(folder.path()).with_live_lane(Arc::new(KeepingLane::default()));
        let library = library(acestep.module_library());
        let acestep = acestep.with_engines(&built, &[library], None, &weights).unwrap();
        let stage = CpuStage::new(1 << 30);
        for tenant in acestep.tenants() {
            stage.register(tenant).unwrap();
        }
        for group in ["dit", "conditioner", "text_encoder", "vae"] {
            stage.restore(group).unwrap();
        }
        Self { folder, acestep, stage }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("engines")
    }

    /// Names of engines and what became of them.
    fn standings(&self) -> Vec<(String, Standing)> {
        let states = self.engines().states().into_iter();
        states.map(|state| (state.name, state.standing)).collect()
    }

    fn engines(&self) -> &dyn CompiledEngines {
        self.acestep.engines().unwrap()
    }

    /// What serves so many seconds, whole.
    fn serving(&self, seconds: u64) -> [Option<u32>; 3] {
        let frames = seconds * SECOND;
        let extent = Extent {
            frames,
            part_frames: frames,
        };
        self.engines().serving(extent).map(|engine| engine.map(|info| info.id))
    }

    fn lent(&self, seconds: u64) -> Lent {
        let lent = Lent(self.serving(seconds));
        for id in lent.0.into_iter().flatten() {
            self.engines().load(id).unwrap();
        }
        lent
    }

    fn prepared(&self, seconds: u64, lent: Lent) -> PreparedSource {
        let samples = uniform("sound", 3, (2 * seconds * SECOND) as usize);
        let sound = samples.into_iter().map(|sample| 0.3 * sample).collect();
        let audio = Arc::new(Pcm::new(48_000, 2, sound));
        self.acestep.prepare_source_by(audio, lent, &CancelFlag::new()).unwrap()
    }

    fn stream(&self, source: &PreparedSource) -> Box<dyn LiveStream> {
        let prompt = Prompt {
            tags: "dub".into(),
            bpm: 120,
            ..Prompt::default()
        };
        let cancel = CancelFlag::new();
        let conditioning = self.acestep.encode_prompt(&prompt, source, None, &cancel).unwrap();
        let settings = StreamSettings {
            depth: 2,
            steps: 4,
            sde: false,
            walk: None,
        };
        let mut stream = self.acestep.open(source.clone(), conditioning, &settings).unwrap();
        stream.set_knobs(&Knobs::from([("denoise".into(), KnobValue::Number(0.8))]));
        stream
    }
}

fn opened(folder: &Path) -> Acestep {
    let options = AcestepOptions {
        dtype: DType::F32,
        lanes: None,
    };
    let acestep = Acestep::open(folder, &folder.join("packed"), options).unwrap();
    let loras = folder.join("loras");
    fs::create_dir_all(&loras).unwrap();
    write_random_lora(&loras.join("warm.safetensors"), Size::Tiny, 1).unwrap();
    acestep.with_loras(&loras).unwrap()
}

fn generation(stream: &mut dyn LiveStream) -> Vec<f32> {
    let cancel = CancelFlag::new();
    for _ in 0..100 {
        if stream.tick(0, &cancel).unwrap().finished > 0 {
            return stream.decode(0, SLICE_FRAMES, &cancel).unwrap();
        }
    }
    panic!("nothing is ever finished")
}

/// What was encoded, as a sidecar keeps it: without its header, whose fields have no order.
fn tensors(source: &PreparedSource) -> Vec<u8> {
    let values = 2 * source.audio.frames() / 1920 * 64;
    source.sidecar[source.sidecar.len() - 4 * values..].to_vec()
}

const ALWAYS: &[Outcome] = &[];

#[test]
fn the_smallest_that_covers_serves_and_none_that_does_not() {
    let world = World::with(&[
        ("encode-8", Component::VaeEncode, encoder(8), ALWAYS),
        ("encode-4", Component::VaeEncode, encoder(4), ALWAYS),
        ("transformer-4", Component::Decoder, transformer(4), ALWAYS),
    ]);
    let name = |id: u32| world.engines().file(id).unwrap().file_stem().unwrap().to_owned();
    let names = |seconds| world.serving(seconds).map(|id| id.map(name));
    assert_eq!(names(3), [Some("transformer-4".into()), Some("encode-4".into()), None]);
    assert_eq!(names(4), names(3));
    assert_eq!(names(5), [None, Some("encode-8".into()), None]);
    assert_eq!(names(9), [None, None, None]);
    drop(world.folder);
}

#[test]
fn sources_encoded_by_an_engine_are_those_of_the_modules() {
    let world = World::with(&[("encode-4", Component::VaeEncode, encoder(4), ALWAYS)]);
    let lent = world.lent(3);
    let by_modules = tensors(&world.prepared(3, Lent::NONE));
    assert_eq!(world.engines().runs(), [0, 0, 0]);
    assert!(tensors(&world.prepared(3, lent)) == by_modules);
    assert_eq!(world.engines().runs(), [0, 1, 0]);
    // Longer than it takes: the modules, whatever was lent.
    let longer = tensors(&world.prepared(5, lent));
    assert_eq!(world.engines().runs(), [0, 1, 0]);
    assert!(longer == tensors(&world.prepared(5, Lent::NONE)));
}

#[test]
fn a_stream_goes_over_to_engines_and_back_and_nothing_is_heard_of_it() {
    let world = World::with(&[
        ("transformer-4", Component::Decoder, transformer(4), ALWAYS),
        ("windows", Component::VaeDecode, windows(), ALWAYS),
    ]);
    // Another pod: streams that take turns in one forget what they made of their prompts.
    let plain = World::with(&[]);
    let lent = world.lent(3);
    let mut modules = plain.stream(&plain.prepared(3, Lent::NONE));
    let mut engines = world.stream(&world.prepared(3, Lent::NONE));
    // With and without a LoRA, which belongs to the stream and not to what runs it.
    for strength in [None, Some(0.8)] {
        let warm = |world: &World| strength.map(|strength| (world.acestep.load_lora("warm").unwrap(), strength));
        modules.set_loras(warm(&plain).as_slice()).unwrap();
        engines.set_loras(warm(&world).as_slice()).unwrap();
        for to in [lent, Lent::NONE, lent] {
            engines.lend(to);
            let before = world.engines().runs();
            let same = generation(&mut *engines) == generation(&mut *modules);
            assert!(same, "LoRA at {strength:?}, lent {to:?}");
            assert_eq!(world.engines().runs() != before, to != Lent::NONE);
        }
    }
    let [ticks, encodings, decodes] = world.engines().runs();
    assert!(
        ticks > decodes && decodes == 4 && encodings == 0,
        "{ticks}, {encodings}, {decodes}"
    );
}

/// Loads transformers that take no LoRAs.
struct Unfitting(Arc<dyn EngineLibrary>);

struct Plain(Box<dyn Decoder>);

impl EngineLibrary for Unfitting {
    fn library(&self) -> Library {
        self.0.library()
    }

    fn load(&self, engine: &Engine) -> Result<Module, LoadError> {
        Ok(match self.0.load(engine)? {
            Module::Decoder(decoder) => Module::Decoder(Box::new(Plain(decoder))),
            other => other,
        })
    }
}

impl Decoder for Plain {
    fn velocity(&self, batch: &Batch<'_, Memory>) -> candle_core::Result<Tensor> {
        self.0.velocity(batch)
    }

    fn wear(&self, loras: &LoraSet) -> Result<(), String> {
        if loras.is_empty() {
            Ok(())
        } else {
            Err("it was built without".into())
        }
    }
}

#[test]
fn where_an_engine_takes_no_loras_the_modules_tick_with_them() {
    let engines = [("transformer-4", Component::Decoder, transformer(4), ALWAYS)];
    let world = World::with_library(&engines, |modules| Arc::new(Unfitting(modules)));
    let plain = World::with(&[]);
    let lent = world.lent(3);
    let mut modules = plain.stream(&plain.prepared(3, Lent::NONE));
    let mut engines = world.stream(&world.prepared(3, Lent::NONE));
    engines.lend(lent);
    for strength in [None, Some(0.8), None] {
        let warm = |world: &World| strength.map(|strength| (world.acestep.load_lora("warm").unwrap(), strength));
        modules.set_loras(warm(&plain).as_slice()).unwrap();
        engines.set_loras(warm(&world).as_slice()).unwrap();
        let before = world.engines().runs();
        let same = generation(&mut *engines) == generation(&mut *modules);
        assert!(same, "LoRA at {strength:?}");
        assert_eq!(world.engines().runs() != before, strength.is_none());
    }
}

#[test]
fn a_failed_load_is_named_and_never_remembered() {
    let loads = [Outcome::NullContext, Outcome::OutOfMemory, Outcome::Loaded];
    let world = World::with(&[("encode-4", Component::VaeEncode, encoder(4), &loads)]);
    let [_, Some(id), _] = world.serving(3) else {
        panic!("nothing serves")
    };
    let engines = world.engines();
    assert_eq!(engines.load(id), Err(LoadError::NullContext("encode-4".into())));
    assert_eq!(engines.load(id), Err(LoadError::OutOfMemory("encode-4".into())));
    // What failed is not lent.
    let lent = Lent([None, Some(id), None]);
    world.prepared(2, lent);
    assert_eq!(engines.runs(), [0; 3]);
    engines.load(id).unwrap();
    world.prepared(2, lent);
    assert_eq!(engines.runs(), [0, 1, 0]);
    engines.unload(id);
    world.prepared(2, lent);
    assert_eq!(engines.runs(), [0, 1, 0]);
    assert_eq!(engines.load(99), Err(LoadError::NotThere(99)));
}

#[test]
fn an_engine_needs_no_less_than_the_modules_groups() {
    let world = World::with(&[("encode-4", Component::VaeEncode, encoder(4), ALWAYS)]);
    let lent = world.lent(3);
    world.stage.park("vae").unwrap();
    let audio = Arc::new(Pcm::new(48_000, 2, vec![0.0; 2 * SECOND as usize]));
    let refused = world.acestep.prepare_source_by(audio, lent, &CancelFlag::new());
    assert!(matches!(refused, Err(GenerateError::NotResident("vae"))));
}

#[test]
fn engines_of_other_weights_are_not_known() {
    let folder = TempDir::new().unwrap();
    write_random(folder.path(), Size::Tiny, 1, |_| {}).unwrap();
    let (built, others) = (folder.path().join("engines"), folder.path().join("others"));
    fs::create_dir(&built).unwrap();
    fs::write(&others, "other weights").unwrap();
    write_module_engine(&built, "encode", Component::VaeEncode, encoder(4), &others, ALWAYS).unwrap();
    let acestep = opened(folder.path());
    let library = acestep.module_library();
    let weights = WeightFiles::of(folder.path());
    let acestep = acestep.with_engines(&built, &[library], None, &weights).unwrap();
    let extent = Extent {
        frames: 3 * SECOND,
        part_frames: 3 * SECOND,
    };
    assert_eq!(acestep.engines().unwrap().serving(extent), [None; 3]);
    let nowhere = folder.path().join("nowhere");
    let refused = opened(folder.path()).with_engines(&nowhere, &[], None, &weights);
    assert!(refused.is_err_and(|error| error.to_string().contains("nowhere")));
}

#[test]
fn graphs_are_known_as_long_as_their_stream_and_never_offered() {
    let world = World::with(&[]);
    assert_eq!(world.standings(), []);
    let mut stream = world.stream(&world.prepared(3, Lent::NONE));
    for _ in 0..4 {
        generation(&mut *stream);
    }
    let states = world.engines().states();
    assert!(
        states
            .iter()
            .all(|state| state.standing == Standing::Graph && state.bytes > 0)
    );
    let component = |component| states.iter().filter(move |state| state.component == Some(component));
    let windows: Vec<_> = component(Component::VaeDecode as usize)
        .map(|state| &*state.name)
        .collect();
    assert_eq!(windows, ["graph/vae_decode/latents [1, 64, 25]"]);
    let forwards: Vec<_> = component(Component::Decoder as usize)
        .map(|state| &*state.name)
        .collect();
    assert!(
        forwards.iter().any(|name| name.contains("hidden_states [2, 76, 64]")),
        "two slots of 75 frames, padded: {forwards:?}"
    );
    assert_eq!(world.serving(3), [None; 3], "they run inside the modules");
    assert_eq!(world.engines().info(0), None);
    // A look at the folder is nothing to them.
    world.engines().rescan().unwrap();
    assert_eq!(world.engines().states(), states);
    drop(stream);
    assert_eq!(world.standings(), []);
}

/// What a look at the folder makes of it.
fn rescanned(world: &World) -> Vec<(String, Standing)> {
    world.engines().rescan().unwrap();
    world.standings()
}

fn write(world: &World, name: &str, seconds: u64, loads: &[Outcome]) {
    let weights = WeightFiles::of(world.folder.path());
    let file = weights.of_component(Component::VaeEncode);
    write_module_engine(&world.path(), name, Component::VaeEncode, encoder(seconds), file, loads).unwrap();
}

#[test]
fn a_look_on_demand_offers_what_was_built_since_under_a_number_of_its_own() {
    let world = World::with(&[("long", Component::VaeEncode, encoder(8), ALWAYS)]);
    let serving = |seconds| world.serving(seconds)[Component::VaeEncode as usize];
    let long = serving(3).unwrap();
    write(&world, "short", 4, ALWAYS);
    assert_eq!(serving(3), Some(long), "nobody looked yet");
    rescanned(&world);
    let short = serving(3).unwrap();
    assert_ne!(short, long);
    assert_eq!(
        (serving(5), world.engines().file(short)),
        (Some(long), Some(world.path().join("short.engine")))
    );

    // Built anew: another engine, while the old one stays on the device.
    world.engines().load(short).unwrap();
    write(&world, "short", 4, &[Outcome::Loaded]);
    rescanned(&world);
    let anew = serving(3).unwrap();
    assert!(![short, long].contains(&anew));
    assert_eq!(
        world.engines().load(short),
        Err(LoadError::NotThere(short)),
        "its file is another's now"
    );
    let loaded = |standings: &[(String, Standing)]| {
        standings
            .iter()
            .filter(|(_, standing)| *standing == Standing::Loaded)
            .count()
    };
    assert_eq!(loaded(&world.standings()), 1);
    world.engines().unload(short);
    assert_eq!(loaded(&world.standings()), 0);
    // And what is as it was keeps its number.
    rescanned(&world);
    assert_eq!((serving(3), serving(5)), (Some(anew), Some(long)));
}

#[test]
fn an_engine_whose_file_has_gone_serves_while_it_is_loaded_and_not_again() {
    let world = World::with(&[("encode-4", Component::VaeEncode, encoder(4), ALWAYS)]);
    let serving = || world.serving(3)[Component::VaeEncode as usize];
    let id = serving().unwrap();
    let lent = world.lent(3);
    for ending in ["engine", "engine.json"] {
        fs::remove_file(world.path().join(format!("encode-4.{ending}"))).unwrap();
    }
    assert_eq!(rescanned(&world), [("encode-4".into(), Standing::Loaded)]);
    assert_eq!((serving(), world.engines().file(id)), (Some(id), None));
    world.prepared(3, lent);
    assert_eq!(world.engines().runs(), [0, 1, 0]);
    world.engines().unload(id);
    assert_eq!((serving(), world.standings()), (None, Vec::new()));
    assert_eq!(world.engines().load(id), Err(LoadError::NotThere(id)));
    // It comes back as what it was.
    write(&world, "encode-4", 4, ALWAYS);
    rescanned(&world);
    assert_eq!(serving(), Some(id));
    // A folder that cannot be read changes nothing.
    fs::rename(world.path(), world.folder.path().join("away")).unwrap();
    assert!(world.engines().rescan().unwrap_err().contains("engines"));
    assert_eq!(serving(), Some(id));
}

#[test]
fn a_folder_may_come_after_the_pod() {
    let folder = TempDir::new().unwrap();
    write_random(folder.path(), Size::Tiny, 1, |_| {}).unwrap();
    let (weights, built) = (WeightFiles::of(folder.path()), folder.path().join("engines"));
    let acestep = opened(folder.path());
    let library = acestep.module_library();
    let acestep = acestep.with_engines_to_come(&built, &[library], None, &weights);
    let engines = acestep.engines().unwrap();
    assert!(engines.rescan().is_err());
    fs::create_dir(&built).unwrap();
    write_module_engine(
        &built,
        "encode",
        Component::VaeEncode,
        encoder(4),
        &weights.autoencoder,
        ALWAYS,
    )
    .unwrap();
    engines.rescan().unwrap();
    assert_eq!(engines.states()[0].standing, Standing::Offered);
}
