//! The LoRAs of a folder: which there are, what their files say of them, and why one is not used.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use greenroom_dit::{DitConfig, Lora, LoraSet};
use greenroom_generator::{GenerateError, LoadedLora, LoraAbout, LoraCatalogue, LoraInfo};

/// Ending of a LoRA in one file.
const ENDING: &str = "safetensors";
/// What PEFT writes into a folder.
const FOLDER_WEIGHTS: &str = "adapter_model.safetensors";
const FOLDER_CONFIG: &str = "adapter_config.json";
/// Longest id in bytes: as long as the knob of its strength takes.
const ID_BYTES_MAX: usize = 200;
const STRENGTH_MAX: f64 = 2.0;

/// Reads every LoRA of a folder once. What is no LoRA by its name is passed over.
pub(crate) fn find(folder: &Path, config: &DitConfig) -> io::Result<LoraCatalogue> {
    let mut paths = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    let (mut entries, mut ids) = (Vec::new(), BTreeSet::new());
    for path in paths.iter().filter_map(|path| Candidate::of(path)) {
        let entry = path.read(config, &mut ids);
        if let Some(problem) = &entry.problem {
            tracing::warn!(id = entry.id, problem, "a LoRA is listed and cannot be enabled");
        }
        entries.push(entry);
    }
    Ok(LoraCatalogue {
        folder: Some(folder.into()),
        entries,
    })
}

/// Reads the LoRA of that id again: its file may be another by now.
pub(crate) fn load(catalogue: &LoraCatalogue, id: &str, config: &DitConfig) -> Result<LoadedLora, GenerateError> {
    let Some(entry) = catalogue.find(id) else {
        return Err(GenerateError::Lora(format!(
            "there is none of the id {id:?}; /api/loras lists all"
        )));
    };
    if let Some(problem) = &entry.problem {
        return Err(GenerateError::Lora(problem.clone()));
    }
    let lora = Lora::open(&entry.path, config).map_err(|error| GenerateError::Lora(error.to_string()))?;
    Ok(LoadedLora {
        id: id.into(),
        bytes: lora.bytes(),
        matrices: Arc::new(lora),
    })
}

/// As the weights take them.
pub(crate) fn lora_set(loras: &[(LoadedLora, f64)]) -> Result<LoraSet, GenerateError> {
    let matrices = |lora: &LoadedLora| {
        Arc::clone(&lora.matrices)
            .downcast::<Lora>()
            .map_err(|_| GenerateError::Lora(format!("{:?} was read by another generator", lora.id)))
    };
    let set: Result<Vec<_>, GenerateError> = loras
        .iter()
        .map(|(lora, strength)| Ok((matrices(lora)?, *strength)))
        .collect();
    Ok(LoraSet::new(set?))
}

/// Something that is a LoRA by its name.
struct Candidate {
    id: String,
    weights: PathBuf,
    /// Beside the weights in a folder.
    config: Option<PathBuf>,
}

impl Candidate {
    fn of(path: &Path) -> Option<Self> {
        let name = |part: Option<&std::ffi::OsStr>| part.map(|name| name.to_string_lossy().into_owned());
        let weights = path.join(FOLDER_WEIGHTS);
        if weights.is_file() {
            return Some(Self {
                id: name(path.file_name())?,
                weights,
                config: Some(path.join(FOLDER_CONFIG)),
            });
        }
        let is_one = path.is_file() && path.extension().is_some_and(|ending| ending == ENDING);
        is_one.then_some(Self {
            id: name(path.file_stem())?,
            weights: path.into(),
            config: None,
        })
    }

    fn read(self, config: &DitConfig, ids: &mut BTreeSet<String>) -> LoraInfo {
        let read = self.named(ids).and_then(|()| {
            self.config.as_deref().map_or(Ok(()), check_config)?;
            let lora = Lora::open(&self.weights, config).map_err(|error| error.to_string())?;
            about(lora.metadata())
        });
        let (about, problem) = match read {
            Ok(about) => {
                ids.insert(self.id.clone());
                (about, None)
            }
            Err(problem) => (LoraAbout::default(), Some(problem)),
        };
        LoraInfo {
            id: self.id,
            path: self.weights,
            about,
            problem,
        }
    }

    /// Whether clients can call it by its name.
    fn named(&self, ids: &BTreeSet<String>) -> Result<(), String> {
        let path = self.weights.display();
        if self.id.is_empty() || self.id.len() > ID_BYTES_MAX || self.id.contains(char::REPLACEMENT_CHARACTER) {
            return Err(format!(
                "{path}: its name cannot be its id; rename it to 1 to {ID_BYTES_MAX} bytes of UTF-8"
            ));
        }
        if ids.contains(&self.id) {
            return Err(format!(
                "{path}: another one has the id {:?} already; rename one of the two",
                self.id
            ));
        }
        Ok(())
    }
}

/// Refuses what a PEFT folder says of itself where products of matrices are not all of it.
fn check_config(path: &Path) -> Result<(), String> {
    let because = |reason: String| format!("{}: {reason}", path.display());
    let bytes = fs::read(path).map_err(|error| because(format!("it cannot be read: {error}")))?;
    let config: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| because(format!("it is no JSON: {error}")))?;
    let kind = config.get("peft_type").and_then(|kind| kind.as_str());
    if kind != Some("LORA") {
        return Err(because(format!("its peft_type is {kind:?}, and has to be LORA")));
    }
    if config.get("use_dora").and_then(|is| is.as_bool()) == Some(true) {
        return Err(because(
            "it is a DoRA, whose magnitudes are not read; train it without use_dora".into(),
        ));
    }
    Ok(())
}

/// What the header of a file says, under the names that the wire has for it; whatever else is there is passed over.
fn about(metadata: &BTreeMap<String, String>) -> Result<LoraAbout, String> {
    let text = |name: &str| metadata.get(name).cloned().unwrap_or_default();
    // A list is JSON, or words between commas.
    let list = |name: &str| {
        let text = text(name);
        serde_json::from_str::<Vec<String>>(&text).unwrap_or_else(|_| {
            let words = text.split(',').map(|word| word.trim().to_owned());
            words.filter(|word| !word.is_empty()).collect()
        })
    };
    let number = |name: &str, range: std::ops::RangeInclusive<f64>| -> Result<Option<f64>, String> {
        let Some(text) = metadata.get(name).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let number = text.parse::<f64>().ok().filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| {
            format!(
                "its metadata say that {name} is {text:?}; it has to be a number from {} to {}",
                range.start(),
                range.end()
            )
        })
    };
    Ok(LoraAbout {
        name: text("name"),
        description: text("description"),
        primary_trigger_word: text("primary_trigger_word"),
        trigger_words: list("trigger_words"),
        recommended_strength: number("recommended_strength", 0.0..=STRENGTH_MAX)?,
        recommended_steps: number("recommended_steps", 1.0..=1_000.0)?.map(|steps| steps as u32),
        recommended_shift: number("recommended_shift", 0.0..=100.0)?,
        recommended_guidance: number("recommended_guidance", 0.0..=100.0)?,
        primary_genre: text("primary_genre"),
        secondary_genres: list("secondary_genres"),
        tags: list("tags"),
        moods: list("moods"),
        base_model: text("base_model"),
        base_model_scale: metadata
            .get("base_model_scale")
            .filter(|scale| !scale.is_empty())
            .cloned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn lists_are_json_or_words_between_commas_and_numbers_are_numbers() {
        let read = about(&metadata(&[
            ("name", "Dub"),
            ("format", "pt"),
            ("trigger_words", r#"["dub, deep", "space"]"#),
            ("moods", "dark, , warm"),
            ("recommended_strength", "0.75"),
            ("recommended_steps", "8"),
        ]))
        .unwrap();
        let expected = LoraAbout {
            name: "Dub".into(),
            trigger_words: vec!["dub, deep".into(), "space".into()],
            moods: vec!["dark".into(), "warm".into()],
            recommended_strength: Some(0.75),
            recommended_steps: Some(8),
            ..LoraAbout::default()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused_by_name() {
        for (name, value) in [
            ("recommended_strength", "2.5"),
            ("recommended_strength", "NaN"),
            ("recommended_steps", "0"),
            ("recommended_shift", "much"),
        ] {
            let problem = about(&metadata(&[(name, value)])).unwrap_err();
            assert!(problem.contains(name) && problem.contains(value), "{problem}");
        }
    }
}
