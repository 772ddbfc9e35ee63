//! LoRAs as every generator shows them: what there is, and one that was read and can be put in force.

use std::{any::Any, path::PathBuf, sync::Arc};

/// The LoRAs that a generator found when it was opened.
#[derive(Clone, Debug, Default)]
pub struct LoraCatalogue {
    /// The folder they are read from; none where none was given.
    pub folder: Option<PathBuf>,
    /// One each, by id. Of several with the same id at most one is usable.
    pub entries: Vec<LoraInfo>,
}

/// Of a generator that knows no LoRAs.
pub(crate) static NO_LORAS: LoraCatalogue = LoraCatalogue {
    folder: None,
    entries: Vec::new(),
};

impl LoraCatalogue {
    /// The entry of that id; a usable one before one that is not.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&LoraInfo> {
        let mut named = self.entries.iter().filter(|entry| entry.id == id);
        named
            .clone()
            .find(|entry| entry.problem.is_none())
            .or_else(|| named.next())
    }
}

/// One LoRA of the catalogue.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraInfo {
    /// What clients call it: the name of its file without its ending, or of its folder.
    pub id: String,
    /// Its file.
    pub path: PathBuf,
    /// What its file says of it.
    pub about: LoraAbout,
    /// Why it is not used, for a person; none where it can be.
    pub problem: Option<String>,
}

impl LoraInfo {
    /// The strength of one that is enabled without any being named.
    #[must_use]
    pub fn default_strength(&self) -> f64 {
        self.about.recommended_strength.unwrap_or(1.0)
    }
}

/// What a LoRA's file says of it; empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoraAbout {
    /// Its name, for a person.
    pub name: String,
    /// More words for a person.
    pub description: String,
    /// The word in a prompt that calls it up.
    pub primary_trigger_word: String,
    /// All such words.
    pub trigger_words: Vec<String>,
    /// How strong it is meant to be, 0..2.
    pub recommended_strength: Option<f64>,
    /// Steps it is meant for.
    pub recommended_steps: Option<u32>,
    /// Shift it is meant for.
    pub recommended_shift: Option<f64>,
    /// Guidance it is meant for.
    pub recommended_guidance: Option<f64>,
    /// Its genre.
    pub primary_genre: String,
    /// Other genres.
    pub secondary_genres: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Moods.
    pub moods: Vec<String>,
    /// The model it was made for.
    pub base_model: String,
    /// That model's size: `2B`, `5B`.
    pub base_model_scale: Option<String>,
}

/// A LoRA in system RAM.
#[derive(Clone)]
pub struct LoadedLora {
    /// Its id in the catalogue.
    pub id: String,
    /// Bytes of its matrices.
    pub bytes: u64,
    /// Those, in the generator's own type.
    pub matrices: Arc<dyn Any + Send + Sync>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_with_one_id_the_usable_one_is_found() {
        let entry = |path: &str, problem: Option<&str>| LoraInfo {
            id: "dub".into(),
            path: path.into(),
            about: LoraAbout::default(),
            problem: problem.map(str::to_owned),
        };
        let catalogue = LoraCatalogue {
            folder: None,
            entries: vec![entry("broken", Some("it is")), entry("whole", None)],
        };
        assert_eq!(catalogue.find("dub"), Some(&catalogue.entries[1]));
        assert_eq!(catalogue.find("du"), None);
        assert_eq!(NO_LORAS.find("dub"), None);
    }
}
