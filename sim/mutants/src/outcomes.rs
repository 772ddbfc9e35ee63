//! What became of each mutant, kept between runs, so that the survivors alone can be tried again.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::{list::Mutant, record::blob, verdict::Verdict};

/// What is known.
pub(crate) struct Outcomes {
    known: BTreeMap<String, Verdict>,
    blobs: BTreeMap<String, String>,
    root: PathBuf,
    file: File,
}

impl Outcomes {
    /// What was found out earlier about files that are still the same, with or without survivals; nothing unless it is wanted.
    pub(crate) fn of(root: &Path, target: &Path, wanted: bool, survivals: bool) -> anyhow::Result<Self> {
        std::fs::create_dir_all(target).with_context(|| format!("{} cannot be made", target.display()))?;
        let path = target.join("mutants-outcomes.txt");
        let mut known = BTreeMap::new();
        if wanted {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines = text.lines().filter_map(|line| line.split_once('\t'));
            known.extend(lines.filter_map(|(verdict, key)| Some((key.to_owned(), Verdict::named(verdict)?))));
            known.retain(|_, verdict| survivals || *verdict != Verdict::Survived);
        }
        let file = OpenOptions::new().create(true).append(true).open(&path);
        Ok(Self {
            known,
            blobs: BTreeMap::new(),
            root: root.to_owned(),
            file: file.with_context(|| format!("{} cannot be written", path.display()))?,
        })
    }

    pub(crate) fn knows(&mut self, mutant: &Mutant) -> bool {
        let key = self.key(mutant);
        self.known.contains_key(&key)
    }

    pub(crate) fn verdict(&self, mutant: &Mutant) -> Option<Verdict> {
        let blob = self.blobs.get(&mutant.file)?;
        self.known.get(&format!("{blob} {}", mutant.name)).copied()
    }

    /// Remembers what became of it; survivors are told at once.
    pub(crate) fn add(&mut self, mutant: &Mutant, verdict: Verdict) -> anyhow::Result<()> {
        if verdict == Verdict::Survived {
            println!("survived: {}", mutant.name);
        }
        let key = self.key(mutant);
        writeln!(self.file, "{}\t{key}", verdict.name()).context("what became of a mutant cannot be written down")?;
        self.known.insert(key, verdict);
        Ok(())
    }

    /// A mutant of a file as it is now: a change to the file makes it another one.
    fn key(&mut self, mutant: &Mutant) -> String {
        let root = &self.root;
        let name = || blob(root, &mutant.file).unwrap_or_default();
        let blob = self.blobs.entry(mutant.file.clone()).or_insert_with(name);
        format!("{blob} {}", mutant.name)
    }
}
