//! The LoRAs of a live session: which are wanted, how strongly, and what has become of each.
//!
//! A file is read on the disk's pool, one at a time, and put in force between two ticks; the weights are rewritten with the next tick, which
//! has the lease.

use std::{collections::BTreeMap, sync::Arc};

use greenroom_generator::{GenerateError, Generator, KnobValue, LoadedLora, LoraCatalogue, LoraInfo};
use greenroom_sync::{CancelFlag, Latest};
use greenroom_wire::{
    http::{LoraEntry, LoraMetadata},
    knobs,
};

use super::{
    job::{JobError, guarded},
    shared::Shared,
};

/// Before the id, in the name of the knob of a strength.
const STRENGTH: &str = "lora_str_";

/// What a reading gave: of which LoRA, and what or in words why not.
type Read = (String, Result<LoadedLora, String>);

/// The LoRAs of one session, by id.
#[derive(Default)]
pub(super) struct Loras {
    wanted: BTreeMap<String, Wanted>,
    /// The one that is being read.
    reading: Option<String>,
    /// Where its reading ends.
    read: Latest<Read>,
}

struct Wanted {
    strength: f64,
    state: State,
}

enum State {
    /// It is to be read, or is being read.
    Waiting,
    InForce(LoadedLora),
    Failed(String),
}

impl Loras {
    /// Those that a session opens with, read at once. One that cannot be used does not keep the session from opening: the catalogue says why.
    ///
    /// # Errors
    /// `Cancelled`.
    pub(super) fn opened(
        generator: &dyn Generator,
        asked: &[(String, Option<f64>)],
        cancel: &CancelFlag,
    ) -> Result<Self, JobError> {
        let mut loras = Self::default();
        for (id, strength) in asked {
            loras.enable(generator.loras(), id, *strength);
        }
        while let Some(id) = loras.next_to_read() {
            if cancel.is_raised() {
                return Err(JobError::Cancelled);
            }
            let read = generator.load_lora(&id).map_err(|error| error.to_string());
            loras.take(id, read);
        }
        Ok(loras)
    }

    /// Wants one, at that strength or at the one it is meant for; one that is wanted already keeps its own. Gives whether what is in force
    /// changed. What is not in the catalogue is not kept.
    pub(super) fn enable(&mut self, catalogue: &LoraCatalogue, id: &str, strength: Option<f64>) -> bool {
        let Some(info) = catalogue.find(id).filter(|info| info.problem.is_none()) else {
            tracing::warn!(id, "a LoRA is asked for that is not there or cannot be used");
            return false;
        };
        let wanted = self.wanted.entry(id.to_owned()).or_insert_with(|| Wanted {
            strength: strength.unwrap_or_else(|| info.default_strength()),
            state: State::Waiting,
        });
        if matches!(wanted.state, State::Failed(_)) {
            wanted.state = State::Waiting;
        }
        let before = wanted.strength;
        wanted.strength = strength.unwrap_or(before);
        matches!(wanted.state, State::InForce(_)) && wanted.strength != before
    }

    /// Wants it no more. Gives whether what is in force changed.
    pub(super) fn disable(&mut self, id: &str) -> bool {
        let gone = self.wanted.remove(id);
        gone.is_some_and(|gone| matches!(gone.state, State::InForce(_)))
    }

    /// Takes the strengths out of knobs: those of LoRAs that are not wanted turn nothing, and neither does a move that is none. Gives whether
    /// what is in force changed.
    pub(super) fn turn(&mut self, turned: &mut BTreeMap<String, KnobValue>) -> bool {
        let mut changed = false;
        turned.retain(|name, value| {
            let Some(id) = name.strip_prefix(STRENGTH) else {
                return true;
            };
            if let (Some(wanted), KnobValue::Number(strength)) = (self.wanted.get_mut(id), value)
                && !knobs::is_no_move(name, wanted.strength, *strength)
            {
                wanted.strength = *strength;
                changed |= matches!(wanted.state, State::InForce(_));
            }
            false
        });
        changed
    }

    /// Has the next one read on the disk's pool, unless one is being read.
    pub(super) fn read_next(&mut self, shared: &Arc<Shared>) {
        let Some(id) = self.next_to_read() else { return };
        let (there, read) = (Arc::clone(shared), self.read.clone());
        shared.disk.spawn_fifo(move || {
            let loaded = match guarded(|| Ok(there.generator.load_lora(&id))) {
                Ok(loaded) => loaded.map_err(|error| error.to_string()),
                Err(_) => Err("it broke the pod's reading of it; the log says more".into()),
            };
            read.put((id, loaded));
            there.live.wake();
        });
    }

    /// Takes what was read. Gives whether there was anything.
    pub(super) fn take_read(&mut self) -> bool {
        let read = self.read.take();
        let is_there = read.is_some();
        if let Some((id, read)) = read {
            self.take(id, read);
        }
        is_there
    }

    /// Those in force, with their strengths.
    pub(super) fn in_force(&self) -> Vec<(LoadedLora, f64)> {
        let in_force = |wanted: &Wanted| match &wanted.state {
            State::InForce(lora) => Some((lora.clone(), wanted.strength)),
            State::Waiting | State::Failed(_) => None,
        };
        self.wanted.values().filter_map(in_force).collect()
    }

    /// None of them can be put in force.
    pub(super) fn refused(&mut self, error: &GenerateError) {
        tracing::error!(%error, "LoRAs are not put in force");
        for wanted in self.wanted.values_mut() {
            wanted.state = State::Failed(error.to_string());
        }
    }

    /// The strengths in force, as knobs.
    pub(super) fn knobs(&self) -> impl Iterator<Item = (String, KnobValue)> {
        self.in_force()
            .into_iter()
            .map(|(lora, strength)| (format!("{STRENGTH}{}", lora.id), KnobValue::Number(strength)))
    }

    /// The catalogue with what this session has of it.
    pub(super) fn entries(&self, catalogue: &LoraCatalogue) -> Vec<LoraEntry> {
        let entry = |info: &LoraInfo| {
            let mut entry = entry(info);
            let wanted = self.wanted.get(&info.id).filter(|_| info.problem.is_none());
            if let Some(wanted) = wanted {
                entry.strength = wanted.strength;
                match &wanted.state {
                    State::Waiting => entry.state = "loading".into(),
                    State::InForce(lora) => {
                        entry.state = "enabled".into();
                        entry.materialized_bytes = lora.bytes;
                    }
                    State::Failed(problem) => fail(&mut entry, problem),
                }
            }
            entry
        };
        catalogue.entries.iter().map(entry).collect()
    }

    fn next_to_read(&mut self) -> Option<String> {
        if self.reading.is_some() {
            return None;
        }
        let waits = |wanted: &Wanted| matches!(wanted.state, State::Waiting);
        self.reading = self
            .wanted
            .iter()
            .find(|(_, wanted)| waits(wanted))
            .map(|(id, _)| id.clone());
        self.reading.clone()
    }

    /// What was read of one that is wanted no more is let go.
    fn take(&mut self, id: String, read: Result<LoadedLora, String>) {
        self.reading = None;
        if let Err(problem) = &read {
            tracing::warn!(id, problem, "a LoRA could not be read");
        }
        if let Some(wanted) = self.wanted.get_mut(&id) {
            wanted.state = read.map_or_else(State::Failed, State::InForce);
        }
    }
}

/// A LoRA as nobody has it enabled.
pub(super) fn entry(info: &LoraInfo) -> LoraEntry {
    let about = info.about.clone();
    let name = if about.name.is_empty() {
        info.id.clone()
    } else {
        about.name.clone()
    };
    let has_metadata = about != greenroom_generator::LoraAbout::default();
    let mut entry = LoraEntry {
        id: info.id.clone(),
        name: name.clone(),
        path: info.path.display().to_string(),
        state: "registered".into(),
        strength: info.default_strength(),
        materialized_bytes: 0,
        error: None,
        metadata: LoraMetadata {
            id: info.id.clone(),
            name,
            description: about.description,
            primary_trigger_word: about.primary_trigger_word,
            trigger_words: about.trigger_words,
            recommended_strength: about.recommended_strength,
            recommended_steps: about.recommended_steps,
            recommended_shift: about.recommended_shift,
            recommended_guidance: about.recommended_guidance,
            primary_genre: about.primary_genre,
            secondary_genres: about.secondary_genres,
            tags: about.tags,
            moods: about.moods,
            base_model: about.base_model,
            base_model_scale: about.base_model_scale,
            has_metadata,
        },
    };
    if let Some(problem) = &info.problem {
        fail(&mut entry, problem);
    }
    entry
}

fn fail(entry: &mut LoraEntry, problem: &str) {
    entry.state = "failed".into();
    entry.error = Some(problem.to_owned());
}

#[cfg(test)]
mod tests {
    use greenroom_generator::LoraAbout;

    use super::*;

    fn catalogue() -> LoraCatalogue {
        let info = |id: &str, strength, problem: Option<&str>| LoraInfo {
            id: id.into(),
            path: format!("loras/{id}.safetensors").into(),
            about: LoraAbout {
                recommended_strength: strength,
                ..LoraAbout::default()
            },
            problem: problem.map(str::to_owned),
        };
        LoraCatalogue {
            folder: Some("loras".into()),
            entries: vec![
                info("dub", Some(0.75), None),
                info("half", None, Some("half a file")),
                info("tape", None, None),
            ],
        }
    }

    fn loaded(id: &str) -> LoadedLora {
        LoadedLora {
            id: id.into(),
            bytes: 7,
            matrices: Arc::new(()),
        }
    }

    /// Reads the next one, which has to be this one.
    fn read(loras: &mut Loras, id: &str) {
        assert_eq!(loras.next_to_read().as_deref(), Some(id));
        loras.take(id.into(), Ok(loaded(id)));
    }

    fn in_force(loras: &Loras) -> Vec<(String, f64)> {
        loras
            .in_force()
            .into_iter()
            .map(|(lora, strength)| (lora.id, strength))
            .collect()
    }

    fn turn(loras: &mut Loras, name: &str, strength: f64) -> bool {
        loras.turn(&mut BTreeMap::from([(name.to_owned(), KnobValue::Number(strength))]))
    }

    fn states(loras: &Loras) -> Vec<(String, f64, u64)> {
        let entries = loras.entries(&catalogue()).into_iter();
        entries
            .map(|entry| (entry.state, entry.strength, entry.materialized_bytes))
            .collect()
    }

    fn state(word: &str, strength: f64, bytes: u64) -> (String, f64, u64) {
        (word.to_owned(), strength, bytes)
    }

    #[test]
    fn one_is_in_force_once_it_is_read_and_until_it_is_disabled() {
        let mut loras = Loras::default();
        assert!(!loras.enable(&catalogue(), "dub", None));
        assert!(!loras.enable(&catalogue(), "tape", Some(0.5)));
        assert!(!loras.enable(&catalogue(), "half", None));
        assert!(!loras.enable(&catalogue(), "nobody", None));
        assert_eq!(in_force(&loras), []);
        assert_eq!(
            states(&loras),
            [
                state("loading", 0.75, 0),
                state("failed", 1.0, 0),
                state("loading", 0.5, 0)
            ]
        );
        read(&mut loras, "dub");
        read(&mut loras, "tape");
        assert_eq!(loras.next_to_read(), None, "what cannot be used is never read");
        assert_eq!(in_force(&loras), [("dub".to_owned(), 0.75), ("tape".to_owned(), 0.5)]);
        assert!(!loras.enable(&catalogue(), "tape", None), "it keeps its strength");
        assert!(loras.enable(&catalogue(), "tape", Some(1.5)));
        assert!(loras.disable("dub") && !loras.disable("dub"));
        assert_eq!(
            states(&loras),
            [
                state("registered", 0.75, 0),
                state("failed", 1.0, 0),
                state("enabled", 1.5, 7)
            ]
        );
        let knobs: Vec<_> = loras.knobs().collect();
        assert_eq!(knobs, [("lora_str_tape".to_owned(), KnobValue::Number(1.5))]);
    }

    #[test]
    fn a_strength_is_turned_by_a_move_and_only_of_one_that_is_wanted() {
        let mut loras = Loras::default();
        loras.enable(&catalogue(), "dub", Some(0.5));
        assert!(!turn(&mut loras, "lora_str_dub", 0.6), "nothing is in force yet");
        read(&mut loras, "dub");
        assert_eq!(in_force(&loras), [("dub".to_owned(), 0.6)]);
        assert!(!turn(&mut loras, "lora_str_dub", 0.615));
        assert!(!turn(&mut loras, "lora_str_tape", 2.0));
        assert_eq!(in_force(&loras), [("dub".to_owned(), 0.6)]);
        assert!(turn(&mut loras, "lora_str_dub", 0.62));
        assert_eq!(in_force(&loras), [("dub".to_owned(), 0.62)]);
        let mut knobs = BTreeMap::from([
            ("lora_str_dub".to_owned(), KnobValue::Bool(true)),
            ("lora_str_tape".to_owned(), KnobValue::Number(1.0)),
            ("denoise".to_owned(), KnobValue::Number(1.0)),
        ]);
        assert!(!loras.turn(&mut knobs));
        assert_eq!(
            knobs.into_keys().collect::<Vec<_>>(),
            ["denoise"],
            "no generator is told of the others"
        );
    }

    #[test]
    fn one_is_read_at_a_time_and_what_nobody_wants_any_more_is_let_go() {
        let mut loras = Loras::default();
        loras.enable(&catalogue(), "tape", None);
        assert_eq!(loras.next_to_read().as_deref(), Some("tape"));
        loras.enable(&catalogue(), "dub", None);
        loras.disable("tape");
        assert_eq!(loras.next_to_read(), None, "one is being read");
        loras.take("tape".into(), Ok(loaded("tape")));
        assert_eq!(in_force(&loras), []);
        assert_eq!(loras.next_to_read().as_deref(), Some("dub"));
        loras.take("dub".into(), Err("gone".into()));
        assert_eq!(states(&loras)[0], state("failed", 0.75, 0));
        assert_eq!(loras.next_to_read(), None, "it is not read again by itself");
        loras.enable(&catalogue(), "dub", None);
        read(&mut loras, "dub");
        assert_eq!(in_force(&loras), [("dub".to_owned(), 0.75)]);
    }
}
