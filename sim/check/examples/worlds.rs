//! scratch
#![allow(missing_docs, clippy::print_stdout)]
use std::time::Duration;
fn main() {
    let only = std::env::args().nth(1);
    let cap: u64 = std::env::args().nth(2).and_then(|s| s.parse().ok()).unwrap_or(60);
    let size = if std::env::args().nth(3).is_some() { greenroom_check::Size::Large } else { greenroom_check::Size::Usual };
    std::panic::set_hook(Box::new(|_| {}));
    for setting in greenroom_check::settings(size) {
        if only.as_ref().is_some_and(|only| only != "all" && !setting.name.contains(only)) { continue }
        let report = greenroom_check::check(&setting, 2, Duration::from_secs(cap));
        println!("{} complete {} states {} steps {} depth {} {:?} {:.1}s", report.world, report.complete, report.states, report.steps, report.depth, report.cells.missed().len(), report.took.as_secs_f64());
        for v in report.violations { println!("{v}") }
    }
}
