//! Whether anybody notices.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{switch::Number, tree::Programs};

/// Unit tests of the director, and every one of its test files but the scripts.
const TESTS: &str = "tests";
const SWARM: &str = "swarm";
const SCRIPTS: &str = "scripts";
const CHECK: &str = "small world";

/// Seeds of the swarm that a mutant must get past.
const SEEDS: &str = "300";
/// Whoever takes so many times as long as without a mutant goes round in circles, and that is noticed too.
const PATIENCE: u32 = 6;

/// What came of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// By this program.
    Caught(&'static str),
    /// It never ended.
    TimedOut(&'static str),
    /// Nobody noticed.
    Survived,
    /// There is no such program.
    DoesNotCompile,
}

impl Verdict {
    const ALL: [Self; 10] = [
        Self::Caught(TESTS),
        Self::Caught(SWARM),
        Self::Caught(SCRIPTS),
        Self::Caught(CHECK),
        Self::TimedOut(TESTS),
        Self::TimedOut(SWARM),
        Self::TimedOut(SCRIPTS),
        Self::TimedOut(CHECK),
        Self::Survived,
        Self::DoesNotCompile,
    ];

    /// In a word or two.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Caught(by) => format!("caught by {by}"),
            Self::TimedOut(in_) => format!("timed out in {in_}"),
            Self::Survived => "survived".into(),
            Self::DoesNotCompile => "does not compile".into(),
        }
    }

    /// The one of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.name() == name)
    }
}

struct Step {
    name: &'static str,
    command: Run,
    patience: Duration,
}

/// How a program is run.
type Run = Box<dyn Fn(&Programs) -> Command>;

/// The programs, and how long each takes where nothing is wrong.
pub(crate) struct Bench<'a> {
    programs: &'a Programs,
    folder: &'a Path,
    steps: Vec<Step>,
}

fn smallest_world(programs: &Programs) -> Command {
    Command::new(&programs.smallest_world)
}

fn swarm(programs: &Programs) -> Command {
    let mut command = Command::new(&programs.swarm);
    command.args(["swarm", "--seeds", SEEDS, "--threads", "1"]);
    command
}

fn few_scripts(programs: &Programs) -> Command {
    let mut command = scripts(programs);
    command.env("PROPTEST_CASES", "150");
    command
}

fn scripts(programs: &Programs) -> Command {
    let mut command = Command::new(&programs.scripts);
    // The same scripts for every mutant.
    command.args(["--test-threads", "1"]).env("PROPTEST_RNG_SEED", "1");
    command
}

impl<'a> Bench<'a> {
    /// Runs everything without a mutant: all must be well.
    pub(crate) fn new(programs: &'a Programs, folder: &'a Path, is_quick: bool) -> anyhow::Result<Self> {
        let tests = (0..programs.tests.len())
            .map(|place| -> (_, Run) { (TESTS, Box::new(move |programs| Command::new(&programs.tests[place]))) });
        let quick: [(_, Run); 2] = [(SWARM, Box::new(swarm)), (SCRIPTS, Box::new(few_scripts))];
        let long: [(_, Run); 2] = [(SCRIPTS, Box::new(scripts)), (CHECK, Box::new(smallest_world))];
        let steps = tests.chain(quick).chain(long.into_iter().filter(|_| !is_quick));
        let mut bench = Self {
            programs,
            folder,
            steps: Vec::new(),
        };
        for (name, command) in steps {
            let step = Step {
                name,
                command,
                patience: Duration::from_secs(600),
            };
            let started = Instant::now();
            let fine = bench.passes(&step, 0)?;
            ensure!(
                fine == Some(true),
                "{name} fail without any mutant: `cargo test --package greenroom-director` and `greenroom-sim swarm` say more"
            );
            let patience = started.elapsed() * PATIENCE + Duration::from_secs(5);
            bench.steps.push(Step { patience, ..step });
        }
        Ok(bench)
    }

    /// How long all of it took without a mutant, about.
    pub(crate) fn patience(&self) -> Duration {
        self.steps.iter().map(|step| step.patience / PATIENCE).sum()
    }

    /// Switches a mutant on and lets everybody look, until one notices; 0 is none.
    pub(crate) fn try_mutant(&self, number: Number) -> anyhow::Result<Verdict> {
        for step in &self.steps {
            match self.passes(step, number)? {
                Some(true) => {}
                Some(false) => return Ok(Verdict::Caught(step.name)),
                None => return Ok(Verdict::TimedOut(step.name)),
            }
        }
        Ok(Verdict::Survived)
    }

    fn passes(&self, step: &Step, number: Number) -> anyhow::Result<Option<bool>> {
        let mut command = (step.command)(self.programs);
        command
            .env("GREENROOM_MUTANT", number.to_string())
            .env("INSTA_UPDATE", "no")
            .env("CI", "1")
            .current_dir(self.folder);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        ended(
            child.with_context(|| format!("{} cannot be started", step.name))?,
            step.patience,
        )
    }
}

/// Whether it ended well; nothing if it had to be killed.
fn ended(mut child: Child, patience: Duration) -> anyhow::Result<Option<bool>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if started.elapsed() > patience {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        sleep(Duration::from_millis(2));
    }
}
