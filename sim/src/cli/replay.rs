//! `greenroom-sim replay`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use greenroom_sim::{Deed, Fault, Outcome, Record, Script, Tamper, World, timeline, words_of};

use super::{code, hush_panics, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which seed
    #[arg(long)]
    seed: u64,
    /// Print every event and effect (without --timeline this is the default)
    #[arg(long)]
    trace: bool,
    /// Draw the history into this SVG file
    #[arg(long)]
    timeline: Option<PathBuf>,
    /// Fault classes to leave out
    #[arg(long, value_delimiter = ',', value_name = "CLASS")]
    without: Vec<Fault>,
    /// Clients that never come
    #[arg(long, value_delimiter = ',', value_name = "CLIENT")]
    absent: Vec<u8>,
    /// The only deeds to be done: CLIENT:NUMBER, or w:NUMBER of what nobody asked for; `none` for none at all
    #[arg(long, value_delimiter = ',', value_name = "DEED")]
    only: Option<Vec<String>>,
    /// Break the world on purpose, to see that it is noticed
    #[arg(long)]
    tamper: Option<Tamper>,
}

fn script(arguments: &Arguments) -> Result<Script, String> {
    let deeds = |words: &Vec<String>| {
        let words = words.iter().filter(|word| *word != "none");
        let mut deeds = words.map(|word| word.parse()).collect::<Result<Vec<Deed>, String>>()?;
        deeds.sort_unstable();
        Ok::<_, String>(deeds)
    };
    Ok(Script {
        without: arguments.without.clone(),
        absent: arguments.absent.clone(),
        only: arguments.only.as_ref().map(deeds).transpose()?,
    })
}

/// Lives the seed through once and tells all about it.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    hush_panics();
    let script = match script(arguments) {
        Ok(script) => script,
        Err(wrong) => {
            println!("{wrong}");
            return ExitCode::from(2);
        }
    };
    let mut world = World::of(arguments.seed, &script).recorded(Record::of_everything());
    if let Some(tamper) = arguments.tamper {
        world = world.tampered(tamper);
    }
    let classes: Vec<&str> = world.faults().map(Fault::name).collect();
    let lived = catch_unwind(AssertUnwindSafe(|| world.run()));
    let record = world.take_record();
    if arguments.trace || arguments.timeline.is_none() {
        println!("seed {}, {}", arguments.seed, world.describe());
        println!("faults: {}", classes.join(", "));
        record.words.iter().for_each(|line| println!("{line}"));
    }
    let outcome = match lived {
        Ok(history) => {
            println!(
                "{} events, {} restarts, trace {:016x}",
                history.events, history.restarts, history.trace
            );
            history.violation.map_or(Outcome::Fine, Outcome::Broken)
        }
        Err(panic) => Outcome::Crashed(words_of(&*panic)),
    };
    println!("{}", words(&outcome));
    if let Some(path) = &arguments.timeline {
        let title = format!("seed {}{script}: {}", arguments.seed, words(&outcome));
        if let Err(error) = std::fs::write(path, timeline(&title, &record)) {
            println!("the timeline could not be written to {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        println!("drawn into {}", path.display());
    }
    ExitCode::from(code(&outcome))
}
