//! docs/mutants.md: what was tried when, and why each survivor may live.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use anyhow::{Context, ensure};

use crate::{list::Mutant, tree::read};

/// The page, from the root of the workspace.
pub(crate) const PAGE: &str = "docs/mutants.md";
const BEGIN: &str = "<!-- tried: written by `cargo xtask mutants` -->";
const END: &str = "<!-- tried -->";
/// A survivor's row whose second cell is this is for every mutant of the function or file that the third names.
const ANY: &str = "any";

/// A row of the table of survivors.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Survivor {
    pub(crate) file: String,
    pub(crate) words: String,
    /// The line of code it changes.
    pub(crate) line: String,
}

/// What a file came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tried {
    pub(crate) mutants: usize,
    pub(crate) caught: usize,
    pub(crate) not_compiled: usize,
    pub(crate) survived: usize,
    /// The file as it was, as git names it.
    pub(crate) blob: String,
}

/// The page.
pub(crate) struct Record {
    text: String,
}

impl Survivor {
    /// A mutant as the page names it; `earlier` of the same words are on the same line before it.
    pub(crate) fn of(mutant: &Mutant, text: &str, earlier: usize) -> Self {
        let line = text.lines().nth(mutant.span.start.line - 1).unwrap_or_default().trim();
        let which = if earlier > 0 {
            format!(" ({})", earlier + 1)
        } else {
            String::new()
        };
        Self {
            file: short(&mutant.file).to_owned(),
            words: format!("{}{which}", mutant.words()),
            line: line.to_owned(),
        }
    }

    /// Its row, without the reason.
    pub(crate) fn row(&self) -> String {
        let cell = |text: &str| text.replace('|', "\\|");
        format!("| {} | {} | `{}` | |", self.file, cell(&self.words), cell(&self.line))
    }
}

/// A file of the director as the page names it.
pub(crate) fn short(file: &str) -> &str {
    file.strip_prefix("src/director/src/").unwrap_or(file)
}

impl Record {
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let text = read(&root.join(PAGE))?;
        ensure!(
            text.contains(BEGIN) && text.contains(END),
            "{PAGE} has no table of what was tried"
        );
        Ok(Self { text })
    }

    /// What each file came to when its mutants were last tried.
    pub(crate) fn tried(&self) -> BTreeMap<String, Tried> {
        let table = self
            .text
            .split(BEGIN)
            .nth(1)
            .and_then(|rest| rest.split(END).next())
            .unwrap_or_default();
        let rows = table
            .lines()
            .map(cells)
            .filter(|cells| cells.len() == 6 && cells[0].ends_with(".rs"));
        let number = |cell: &str| cell.parse().unwrap_or(0);
        rows.map(|cells| {
            let tried = Tried {
                mutants: number(&cells[1]),
                caught: number(&cells[2]),
                not_compiled: number(&cells[3]),
                survived: number(&cells[4]),
                blob: cells[5].trim_matches('`').to_owned(),
            };
            (cells[0].clone(), tried)
        })
        .collect()
    }

    /// Whether a reason is given why it may live.
    pub(crate) fn justifies(&self, survivor: &Survivor) -> bool {
        self.rows().any(|row| row.matches(survivor))
    }

    /// Rows that no survivor needs.
    pub(crate) fn idle(&self, survivors: &BTreeSet<Survivor>) -> Vec<String> {
        let needed = |row: &Row| survivors.iter().any(|survivor| row.matches(survivor));
        self.rows()
            .filter(|row| !needed(row))
            .map(|row| format!("{} {} {}", row.file, row.words, row.line))
            .collect()
    }

    fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let rest = self.text.split(END).nth(1).unwrap_or_default();
        let rows = rest
            .lines()
            .map(cells)
            .filter(|cells| cells.len() == 4 && cells[0].ends_with(".rs") && !cells[3].is_empty());
        rows.map(|cells| Row {
            file: cells[0].clone(),
            words: cells[1].clone(),
            line: cells[2].trim_matches('`').to_owned(),
        })
    }

    /// The page with this as its table of what was tried.
    pub(crate) fn with(&self, tried: &BTreeMap<String, Tried>) -> String {
        let mut sum = Tried::default();
        let mut rows = String::new();
        for (file, tried) in tried {
            rows.push_str(&tried.row(file, &format!("`{}`", tried.blob)));
            sum.mutants += tried.mutants;
            sum.caught += tried.caught;
            sum.not_compiled += tried.not_compiled;
            sum.survived += tried.survived;
        }
        let head =
            "| file | mutants | caught | do not compile | justified below | as of |\n|---|---|---|---|---|---|\n";
        let (before, rest) = self.text.split_once(BEGIN).unwrap_or((&self.text, ""));
        let (_, after) = rest.split_once(END).unwrap_or(("", ""));
        format!("{before}{BEGIN}\n\n{head}{rows}{}\n{END}{after}", sum.row("all", ""))
    }
}

impl Tried {
    fn row(&self, file: &str, blob: &str) -> String {
        let Self {
            mutants,
            caught,
            not_compiled,
            survived,
            ..
        } = self;
        format!("| {file} | {mutants} | {caught} | {not_compiled} | {survived} | {blob} |\n")
    }
}

struct Row {
    file: String,
    words: String,
    line: String,
}

impl Row {
    fn matches(&self, survivor: &Survivor) -> bool {
        let exact = self.words == survivor.words && self.line == survivor.line;
        self.file == survivor.file && (exact || (self.words == ANY && survivor.words.contains(&self.line)))
    }
}

/// The cells of a row of a table; `\|` is no border.
fn cells(line: &str) -> Vec<String> {
    let Some(inside) = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
        return Vec::new();
    };
    let cells = inside.replace("\\|", "\0");
    cells.split('|').map(|cell| cell.trim().replace('\0', "|")).collect()
}

/// Git's name of a file's content.
pub(crate) fn blob(root: &Path, file: &str) -> anyhow::Result<String> {
    let name = git(root, &["hash-object", file])?.context("git cannot name a file's content")?;
    Ok(name.trim().chars().take(12).collect())
}

/// The lines of a file that are not as they were; nothing where the history does not have it as it was: then any line may be new.
pub(crate) fn lines_changed(
    root: &Path,
    target: &Path,
    file: &str,
    blob: &str,
) -> anyhow::Result<Option<BTreeSet<usize>>> {
    let Some(old) = git(root, &["cat-file", "blob", blob])? else {
        return Ok(None);
    };
    let new = read(&root.join(file))?;
    std::fs::create_dir_all(target).with_context(|| format!("{} cannot be made", target.display()))?;
    let Some(path) = target.join("mutants-old.rs").to_str().map(str::to_owned) else {
        return Ok(None);
    };
    std::fs::write(&path, old).with_context(|| format!("{path} cannot be written"))?;
    let diff = git(root, &["diff", "--no-index", "--unified=0", &path, file])?.unwrap_or_default();
    Ok(Some(lines_of(&diff, new.lines().count())))
}

/// The new lines that a diff without context names; where lines only went, those on both sides.
fn lines_of(diff: &str, last: usize) -> BTreeSet<usize> {
    let mut lines = BTreeSet::new();
    for hunk in diff.lines().filter(|line| line.starts_with("@@")) {
        let Some(new) = hunk.split_whitespace().nth(2).and_then(|new| new.strip_prefix('+')) else {
            continue;
        };
        let (start, count) = new.split_once(',').unwrap_or((new, "1"));
        let (start, count): (usize, usize) = (start.parse().unwrap_or(1), count.parse().unwrap_or(1));
        match count {
            0 => lines.extend(start.max(1)..=(start + 1).min(last)),
            _ => lines.extend(start..start + count),
        }
    }
    lines
}

/// What git prints; nothing if it finds what was asked for missing.
fn git(root: &Path, arguments: &[&str]) -> anyhow::Result<Option<String>> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(root)
        .output()
        .context("git cannot be started: is it installed?")?;
    // `diff --no-index` ends with 1 where files differ.
    let fine = output.status.success() || (arguments[0] == "diff" && output.status.code() == Some(1));
    Ok(fine.then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "before\n<!-- tried: written by `cargo xtask mutants` -->\n\n| file | mutants | caught | do not compile | justified \
                        below | as of |\n|---|---|---|---|---|---|\n| floor.rs | 2 | 1 | 0 | 1 | `abc` |\n| all | 2 | 1 | 0 | 1 |  |\n\n\
                        <!-- tried -->\nafter\n| file | mutant | line | why |\n|---|---|---|---|\n\
                        | floor.rs | replace \\|\\| with && in f | `a \\|\\| b` | the same |\n| checking.rs | any | h | not ours |\n";

    fn survivor(file: &str, words: &str, line: &str) -> Survivor {
        Survivor {
            file: file.into(),
            words: words.into(),
            line: line.into(),
        }
    }

    #[test]
    fn a_survivor_needs_a_row_of_its_own_or_its_function_one() {
        let record = Record { text: TEXT.into() };
        let own = survivor("floor.rs", "replace || with && in f", "a || b");
        assert!(record.justifies(&own) && own.row().contains("`a \\|\\| b`"));
        assert!(!record.justifies(&survivor("floor.rs", "replace || with && in f", "a || c")));
        assert!(record.justifies(&survivor("checking.rs", "delete ! in h", "x")));
        assert_eq!(record.idle(&BTreeSet::from([own])), ["checking.rs any h"]);
    }

    #[test]
    fn the_table_is_read_as_it_is_written() {
        let record = Record { text: TEXT.into() };
        let tried = Tried {
            mutants: 2,
            caught: 1,
            survived: 1,
            blob: "abc".into(),
            ..Tried::default()
        };
        let tried = BTreeMap::from([("floor.rs".to_owned(), tried)]);
        assert_eq!(record.tried(), tried);
        assert_eq!(record.with(&tried), TEXT);
    }

    #[test]
    fn lines_are_those_that_a_diff_adds_and_those_around_what_it_takes_away() {
        let diff = "--- a\n+++ b\n@@ -3 +3,2 @@ fn f\n-x\n+y\n+z\n@@ -9,2 +9,0 @@\n-x\n-y\n";
        assert_eq!(lines_of(diff, 20), BTreeSet::from([3, 4, 9, 10]));
    }
}
