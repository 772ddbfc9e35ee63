//! `greenroom-sim canary`: every seeded bug against every layer that must notice it.

use std::process::ExitCode;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only bugs whose name contains this
    #[cfg_attr(not(feature = "canary"), allow(dead_code, reason = "only the canary build has bugs"))]
    #[arg(long)]
    bug: Option<String>,
    /// End with one line of JSON
    #[cfg_attr(not(feature = "canary"), allow(dead_code, reason = "only the canary build has bugs"))]
    #[arg(long)]
    json: bool,
}

/// Says how to get the build that has them.
#[cfg(not(feature = "canary"))]
pub(crate) fn run(_: &Arguments) -> ExitCode {
    println!("This build has no seeded bugs. Run:\n  cargo run --package greenroom-sim --features canary -- canary");
    ExitCode::from(2)
}

/// Switches one bug on after another, and looks whether the layers notice.
#[cfg(feature = "canary")]
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    use std::time::Instant;

    use greenroom_director::Bug;
    use greenroom_sim::canary::{Layer, layers_of};

    super::hush_panics();
    let wanted = |bug: &&Bug| {
        arguments
            .bug
            .as_ref()
            .is_none_or(|part| format!("{bug:?}").contains(part))
    };
    let (mut seeded, mut caught) = (0, 0);
    for bug in Bug::ALL.iter().filter(wanted) {
        Bug::activate(Some(*bug));
        seeded += 1;
        let mut by_all = true;
        for layer in layers_of(*bug) {
            let started = Instant::now();
            let noticed = layer.notices();
            by_all &= noticed.is_some();
            let words = noticed.unwrap_or_else(|| "NOT NOTICED".into());
            let words = words.lines().next().unwrap_or_default().to_owned();
            println!(
                "{:<24} {:<8} {:>5.1} s  {words}",
                format!("{bug:?}"),
                layer.name(),
                started.elapsed().as_secs_f64()
            );
        }
        caught += usize::from(by_all);
    }
    Bug::activate(None);
    if arguments.json {
        println!(
            "{}",
            serde_json::json!({ "seeded": seeded, "caught": caught, "layers": Layer::ALL.map(Layer::name) })
        );
    }
    if caught == seeded && seeded > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(super::BLIND)
    }
}
