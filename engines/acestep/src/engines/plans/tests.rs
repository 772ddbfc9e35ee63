//! Plans that compute by the modules, but see only what a plan does: tensors under the exported graph's names, in its layouts, and matrices
//! that are written over its own. So names, layouts, runs of a batch and LoRAs are held against the modules; that a library runs its plans is not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use candle_core::{DType, Device, Tensor};
use greenroom_compiled::{Component, Engine, Library, LibraryName, Origin, Precision, Profile, Shapes};
use greenroom_diffusion::{Batch, Denoiser};
use greenroom_dit::{AdaptedWeights, Dit, Lora, LoraSet, Matrix, Memory, Runner};
use greenroom_generator::{GenerateError, LoadError};
use greenroom_oobleck::{Oobleck, Window};
use greenroom_sync::CancelFlag;
use greenroom_weights::{HostWeights, PackedImage, WeightSource, WeightsError, uniform};

use super::{Plan, PlanLibrary, Plans, RefitError};
use crate::{
    Acestep, AcestepOptions, Size,
    checkpoint::Configs,
    engines::{Decoder, EngineLibrary, Module, runs},
    write_random_lora,
};

/// What becomes of refits, one after the other, and what plans were asked.
#[derive(Default)]
struct Script {
    refits: VecDeque<RefitError>,
    /// Names of the matrices of each refit.
    asked: Vec<Vec<String>>,
    /// Shapes of each run's inputs.
    runs: Vec<Vec<Vec<usize>>>,
}

struct FakePlans {
    configs: Configs,
    dit: Arc<PackedImage>,
    vae: Arc<PackedImage>,
    script: Arc<Mutex<Script>>,
}

struct FakePlan {
    component: Component,
    configs: Configs,
    dit: Arc<PackedImage>,
    vae: Arc<PackedImage>,
    /// Matrices that were written, by name.
    matrices: HashMap<String, Tensor>,
    script: Arc<Mutex<Script>>,
}

impl Plans for FakePlans {
    fn library(&self) -> Library {
        Library {
            name: LibraryName::Modules,
            version: "1".into(),
        }
    }

    fn load(&self, engine: &Engine) -> Result<Box<dyn Plan>, LoadError> {
        Ok(Box::new(FakePlan {
            component: engine.component,
            configs: self.configs.clone(),
            dit: Arc::clone(&self.dit),
            vae: Arc::clone(&self.vae),
            matrices: HashMap::new(),
            script: Arc::clone(&self.script),
        }))
    }
}

impl Plan for FakePlan {
    fn device(&self) -> &Device {
        &Device::Cpu
    }

    fn run(
        &mut self,
        inputs: &[(&'static str, &Tensor)],
        output: &'static str,
        shape: &[usize],
    ) -> candle_core::Result<Tensor> {
        let mut names: Vec<_> = inputs.iter().map(|(name, tensor)| (*name, tensor.rank())).collect();
        names.sort_unstable();
        assert_eq!(names, self.component.inputs());
        assert_eq!(output, self.component.output().0);
        for (name, tensor) in inputs {
            assert!(tensor.is_contiguous() && tensor.dtype() == DType::F32, "{name}");
        }
        let shapes = inputs.iter().map(|(_, tensor)| tensor.dims().to_vec()).collect();
        self.script.lock().unwrap().runs.push(shapes);
        let input = |name: &str| inputs.iter().find(|(known, _)| *known == name).unwrap().1;
        let given = match self.component {
            Component::Decoder => self.velocity(&input)?,
            Component::VaeEncode => self.moments(input("audio"))?,
            Component::VaeDecode => self
                .autoencoder()
                .decode(&input("latents").get(0)?.t()?)?
                .t()?
                .unsqueeze(0)?,
        };
        assert_eq!(given.dims(), shape);
        given.contiguous()
    }

    fn refit(&mut self, matrices: &[Matrix]) -> Result<(), RefitError> {
        let mut script = self.script.lock().unwrap();
        script
            .asked
            .push(matrices.iter().map(|matrix| matrix.name.clone()).collect());
        match script.refits.pop_front() {
            Some(error) => Err(error),
            None => {
                let written = matrices
                    .iter()
                    .map(|matrix| (matrix.name.clone(), matrix.values.clone()));
                self.matrices.extend(written);
                Ok(())
            }
        }
    }
}

impl FakePlan {
    fn autoencoder(&self) -> Oobleck {
        Oobleck::new(&self.configs.vae, &HostWeights::new(&self.vae)).unwrap()
    }

    /// Means, and scales that nobody shall hear.
    fn moments(&self, audio: &Tensor) -> candle_core::Result<Tensor> {
        let sound: Vec<f32> = audio.get(0)?.t()?.flatten_all()?.to_vec1()?;
        let means = self
            .autoencoder()
            .encode(&sound, &mut || Ok::<_, candle_core::Error>(()))?
            .t()?;
        Tensor::cat(&[&means, &means.affine(0.0, 1e6)?], 0)?.unsqueeze(0)
    }

    fn velocity<'a>(&self, input: &dyn Fn(&str) -> &'a Tensor) -> candle_core::Result<Tensor> {
        let weights = Written(HostWeights::new(&self.dit), &self.matrices);
        let network = Arc::new(Dit::new(&self.configs.dit, &weights, 64).unwrap());
        let states = input("encoder_hidden_states");
        velocities(
            &network,
            input("hidden_states"),
            &input("timestep").to_vec1::<f32>()?,
            input("context_latents"),
            &(0..states.dim(0)?)
                .map(|slot| states.get(slot))
                .collect::<Result<Vec<_>, _>>()?,
        )
    }
}

/// The packed weights with matrices written over them: each packed tensor is these of the checkpoint's, one below the other.
struct Written<'a>(HostWeights<'a>, &'a HashMap<String, Tensor>);

const PACKED: [(&str, &[&str]); 7] = [
    ("self.in", &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
    ("self.out", &["self_attn.o_proj"]),
    ("cross.in", &["cross_attn.q_proj"]),
    ("cross.memory", &["cross_attn.k_proj", "cross_attn.v_proj"]),
    ("cross.out", &["cross_attn.o_proj"]),
    ("mlp.in", &["mlp.gate_proj", "mlp.up_proj"]),
    ("mlp.out", &["mlp.down_proj"]),
];

fn exported(packed: &str) -> Vec<String> {
    if let Some(time) = packed.strip_prefix("time.") {
        return vec![format!("decoder.time_embed.{time}")];
    }
    if packed == "condition.weight" {
        return vec!["decoder.condition_embedder.weight".into()];
    }
    let of_layer = packed.strip_prefix("layers.").and_then(|rest| rest.split_once('.'));
    let parts = of_layer.and_then(|(layer, rest)| {
        let (_, parts) = PACKED.iter().find(|(packed, _)| *packed == rest)?;
        Some(
            parts
                .iter()
                .map(move |part| format!("decoder.layers.{layer}.{part}.weight")),
        )
    });
    parts.map_or_else(Vec::new, Iterator::collect)
}

impl WeightSource for Written<'_> {
    fn device(&self) -> &Device {
        &Device::Cpu
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, WeightsError> {
        let written: Vec<Tensor> = exported(name)
            .iter()
            .filter_map(|name| Some(self.1.get(name)?.t().unwrap().contiguous().unwrap()))
            .collect();
        if written.is_empty() {
            return self.0.tensor(name, shape);
        }
        let whole = Tensor::cat(&written, 0).unwrap();
        assert_eq!(whole.dims(), shape, "all that is merged in {name} is written");
        Ok(whole)
    }
}

fn velocities(
    network: &Arc<Dit>,
    latents: &Tensor,
    times: &[f32],
    context: &Tensor,
    states: &[Tensor],
) -> candle_core::Result<Tensor> {
    let mut runner = Runner::default();
    let mut running = runner.on(network);
    let prompts = states.iter().map(|states| running.prompt(states));
    let prompts = prompts.collect::<Result<Vec<_>, _>>()?;
    running.velocity(&Batch {
        latents,
        times,
        context,
        prompts: &prompts,
    })
}

struct World {
    acestep: Acestep,
    script: Arc<Mutex<Script>>,
    library: PlanLibrary,
}

impl World {
    fn new() -> Self {
        let options = AcestepOptions {
            dtype: DType::F32,
            lanes: None,
        };
        let acestep = Acestep::random(Size::Tiny, 1, options).unwrap();
        let script: Arc<Mutex<Script>> = Arc::default();
        let (dit, vae) = (acestep.groups().dit.packed(), acestep.groups().vae.packed());
        let plans = FakePlans {
            configs: acestep.configs().clone(),
            dit: Arc::clone(dit),
            vae: Arc::clone(vae),
            script: Arc::clone(&script),
        };
        let library = PlanLibrary::new(Arc::new(plans), &acestep.configs().dit, dit);
        Self {
            acestep,
            script,
            library,
        }
    }

    fn load(&self, component: Component, precision: Precision) -> Module {
        let shapes = Shapes::vae_encode(1920);
        let engine = Engine {
            name: "engine".into(),
            component,
            profile: Profile::exact(&shapes).unwrap(),
            precision,
            weights_bytes: 0,
            workspace_bytes: 0,
            origin: Origin::Captured,
        };
        self.library.load(&engine).unwrap()
    }

    fn transformer(&self, precision: Precision) -> Box<dyn Decoder> {
        match self.load(Component::Decoder, precision) {
            Module::Decoder(decoder) => decoder,
            _ => panic!("a decoder is a transformer"),
        }
    }

    fn autoencoder(&self) -> Oobleck {
        let weights = HostWeights::new(self.acestep.groups().vae.packed());
        Oobleck::new(&self.acestep.configs().vae, &weights).unwrap()
    }

    fn network(&self, loras: &LoraSet) -> Arc<Dit> {
        let weights = HostWeights::new(self.acestep.groups().dit.packed());
        Arc::new(Dit::new(&self.acestep.configs().dit, &AdaptedWeights::new(&weights, loras), 64).unwrap())
    }

    fn loras(&self, seed: u64, strength: f64) -> LoraSet {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lora.safetensors");
        write_random_lora(&path, Size::Tiny, seed).unwrap();
        let lora = Lora::open(&path, &self.acestep.configs().dit).unwrap();
        LoraSet::new([(Arc::new(lora), strength)])
    }
}

fn random(name: &str, shape: &[usize]) -> Tensor {
    let values = uniform(name, 5, shape.iter().product());
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Slots of which some prompts are equally long, and an odd number of frames.
struct Slots {
    latents: Tensor,
    context: Tensor,
    times: Vec<f32>,
    states: Vec<Tensor>,
}

const TOKENS: [usize; 4] = [7, 3, 7, 1];
const FRAMES: usize = 21;

impl Slots {
    fn new(world: &World) -> Self {
        let width = world.acestep.configs().dit.hidden_size;
        let states = TOKENS.iter().enumerate();
        Self {
            latents: random("latents", &[TOKENS.len(), FRAMES, 64]),
            context: random("context", &[TOKENS.len(), FRAMES, 128]),
            times: vec![1.0, 0.7, 0.4, 0.1],
            states: states
                .map(|(slot, tokens)| random(&format!("states.{slot}"), &[*tokens, width]))
                .collect(),
        }
    }

    fn prompts(&self, network: &Arc<Dit>) -> Vec<Arc<Memory>> {
        let mut runner = Runner::default();
        let running = runner.on(network);
        self.states
            .iter()
            .map(|states| running.prompt(states).unwrap())
            .collect()
    }

    /// As the modules have it.
    fn expected(&self, network: &Arc<Dit>) -> Tensor {
        velocities(network, &self.latents, &self.times, &self.context, &self.states).unwrap()
    }

    fn by(&self, decoder: &dyn Decoder, prompts: &[Arc<Memory>]) -> candle_core::Result<Tensor> {
        decoder.velocity(&self.batch(prompts))
    }

    fn batch<'a>(&'a self, prompts: &'a [Arc<Memory>]) -> Batch<'a, Memory> {
        Batch {
            latents: &self.latents,
            times: &self.times,
            context: &self.context,
            prompts,
        }
    }
}

/// The largest difference against the largest value.
fn error(actual: &Tensor, expected: &Tensor) -> f32 {
    assert_eq!(actual.dims(), expected.dims());
    let largest = |tensor: Tensor| tensor.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    largest((actual - expected).unwrap()) / largest(expected.clone())
}

#[test]
fn sound_goes_in_by_channels_and_comes_out_as_means() {
    let world = World::new();
    let Module::VaeEncode(encoder) = world.load(Component::VaeEncode, Precision::Mixed) else {
        panic!("an encoder")
    };
    let sound = uniform("sound", 3, 2 * 5 * 1920);
    let mut go_on = || Ok::<_, candle_core::Error>(());
    let expected = world.autoencoder().encode(&sound, &mut go_on).unwrap();
    let cancel = CancelFlag::new();
    let latents = encoder.encode(&sound, &cancel).unwrap();
    assert!(latents.is_contiguous() && error(&latents, &expected) == 0.0);
    assert_eq!(world.script.lock().unwrap().runs, [[[1, 2, 5 * 1920]]]);
    cancel.raise();
    assert!(matches!(encoder.encode(&sound, &cancel), Err(GenerateError::Cancelled)));
    assert_eq!(
        world.script.lock().unwrap().runs.len(),
        1,
        "what is given up does not begin"
    );
}

#[test]
fn a_window_is_decoded_whole_and_what_is_kept_of_it_is_heard() {
    let world = World::new();
    let Module::VaeDecode(decoder) = world.load(Component::VaeDecode, Precision::Mixed) else {
        panic!("a decoder")
    };
    let window = Window {
        latents: random("window", &[25, 64]),
        kept: 8..17,
    };
    let sound = |values: Vec<f32>| Tensor::from_vec(values, 2 * 9 * 1920, &Device::Cpu).unwrap();
    let expected = sound(world.autoencoder().decode_this(&window).unwrap());
    let off = error(&sound(decoder.decode(&window).unwrap()), &expected);
    assert!(off <= 1e-5, "{off:.1e}");
    assert_eq!(world.script.lock().unwrap().runs, [[[1, 64, 25]]]);
}

#[test]
fn no_slot_looks_beyond_its_prompt_and_frames_are_even() {
    let world = World::new();
    let (slots, network) = (Slots::new(&world), world.network(&LoraSet::default()));
    let prompts = slots.prompts(&network);
    let velocity = slots.by(&*world.transformer(Precision::Fp32), &prompts).unwrap();
    let off = error(&velocity, &slots.expected(&network));
    assert!(off <= 1e-5, "{off:.1e}");
    // hidden_states, timestep, encoder_hidden_states, context_latents of each run.
    let run = |slots: usize, tokens: usize| {
        let even = FRAMES + 1;
        vec![
            vec![slots, even, 64],
            vec![slots],
            vec![slots, tokens, 64],
            vec![slots, even, 128],
        ]
    };
    assert_eq!(world.script.lock().unwrap().runs, [run(1, 1), run(1, 3), run(2, 7)]);
    let asked = runs::shapes(&slots.batch(&prompts)).unwrap();
    let shapes = |slots, tokens| Shapes::decoder_of_width(slots, FRAMES as u64, tokens, 64);
    assert_eq!(
        asked,
        [shapes(1, 1), shapes(1, 3), shapes(2, 7)],
        "a profile is asked for what is run"
    );
}

#[test]
fn loras_in_a_plan_are_heard_as_in_the_modules() {
    let world = World::new();
    let slots = Slots::new(&world);
    let decoder = world.transformer(Precision::Fp32);
    let base = world.network(&LoraSet::default());
    let prompts = slots.prompts(&base);
    let before = slots.by(&*decoder, &prompts).unwrap();
    let sets = [world.loras(1, 0.8), world.loras(1, 0.3), world.loras(2, 1.0)];
    for set in &sets {
        decoder.wear(set).unwrap();
        decoder.wear(set).unwrap();
        let heard = slots.by(&*decoder, &prompts).unwrap();
        let off = error(&heard, &slots.expected(&world.network(set)));
        assert!(off <= 1e-5, "{off:.1e}");
        assert!(error(&heard, &before) > 1e-3, "it is not heard");
    }
    assert_eq!(
        world.script.lock().unwrap().asked.len(),
        sets.len(),
        "what is worn is not written again"
    );
    decoder.wear(&LoraSet::default()).unwrap();
    assert_eq!(error(&slots.by(&*decoder, &prompts).unwrap(), &before), 0.0);
}

#[test]
fn a_plan_that_refuses_loras_keeps_its_weights_and_is_not_asked_again() {
    let world = World::new();
    let slots = Slots::new(&world);
    let prompts = slots.prompts(&world.network(&LoraSet::default()));
    let decoder = world.transformer(Precision::Fp32);
    let before = slots.by(&*decoder, &prompts).unwrap();
    let (warm, deep) = (world.loras(1, 0.8), world.loras(2, 1.0));
    let refusal = RefitError::Refused("built without".into());
    world.script.lock().unwrap().refits.push_back(refusal.clone());
    assert_eq!(decoder.wear(&warm), Err(refusal.to_string()));
    assert!(decoder.wear(&warm).is_err());
    assert_eq!(world.script.lock().unwrap().asked.len(), 1);
    decoder.wear(&LoraSet::default()).unwrap();
    assert_eq!(error(&slots.by(&*decoder, &prompts).unwrap(), &before), 0.0);
    decoder.wear(&deep).unwrap();
    decoder.wear(&warm).unwrap();
}

#[test]
fn a_plan_of_unknown_weights_is_not_run_until_it_is_loaded_anew() {
    let world = World::new();
    let slots = Slots::new(&world);
    let prompts = slots.prompts(&world.network(&LoraSet::default()));
    let decoder = world.transformer(Precision::Fp32);
    let warm = world.loras(1, 0.8);
    let failure = RefitError::Failed("the device failed".into());
    world.script.lock().unwrap().refits.push_back(failure.clone());
    assert_eq!(decoder.wear(&warm), Err(failure.to_string()));
    for set in [&warm, &LoraSet::default(), &world.loras(2, 1.0)] {
        assert!(decoder.wear(set).unwrap_err().contains("loaded anew"));
    }
    assert!(slots.by(&*decoder, &prompts).is_err());
    assert_eq!(world.script.lock().unwrap().asked.len(), 1);
    let decoder = world.transformer(Precision::Fp32);
    decoder.wear(&warm).unwrap();
    slots.by(&*decoder, &prompts).unwrap();
}

#[test]
fn loras_are_not_added_in_a_precision_that_the_base_is_not_kept_in() {
    let world = World::new();
    for precision in [Precision::Mixed, Precision::Fp16, Precision::Fp8] {
        let decoder = world.transformer(precision);
        assert!(decoder.wear(&world.loras(1, 0.8)).is_err());
        decoder.wear(&LoraSet::default()).unwrap();
    }
    assert!(world.script.lock().unwrap().asked.is_empty());
}
