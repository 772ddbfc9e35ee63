//! Exhaustive checking: small worlds around the production director, every state of which is visited.
//!
//! stateright walks the states; what is a state, and when two are the same, the director's own canonical hash says. The graph is kept, and
//! liveness is read off it: stateright's `eventually` overlooks cycles.
//!
//! Time is abstract: nothing passes between two deadlines, and the one that is due next may pass whenever no job is awaited before it. What
//! depends on the distance of deadlines is left to the swarm.
#![forbid(unsafe_code)]

mod graph;
mod model;
mod onlooker;
mod owing;
mod worlds;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use greenroom_director::coverage::Walked;
use stateright::{Checker, Model};

pub use self::{
    model::{Action, Kind, PodModel, State},
    owing::Owing,
    worlds::{Setting, Size, settings},
};

/// Steps of a circle that are told.
const STEPS_SHOWN: usize = 20;

/// What came of one world.
#[derive(Clone, Debug)]
pub struct Report {
    /// The world's name.
    pub world: &'static str,
    /// Whether every state was visited.
    pub complete: bool,
    /// Different states.
    pub states: usize,
    /// Steps between them.
    pub steps: usize,
    /// The longest shortest way to a state.
    pub depth: usize,
    /// What is wrong, with the way there.
    pub violations: Vec<String>,
    /// Legal cells of the machines that were walked.
    pub cells: Walked,
    /// How long it took.
    pub took: Duration,
}

/// Visits every state of a world on so many threads. On more than one, how many states it has differs from walk to walk; that is good enough
/// where one wrong state is looked for. A world that is not done after `patience` is reported as incomplete.
#[must_use]
pub fn check(setting: &Setting, threads: usize, patience: Duration) -> Report {
    let started = Instant::now();
    let model = PodModel::new(setting.clone());
    let record = model.record();
    let checker = model.checker().threads(threads).timeout(patience).spawn_bfs().join();
    let in_time = started.elapsed() < patience;
    let mut violations: Vec<String> = checker
        .discoveries()
        .into_iter()
        .map(|(property, path)| told(property, path))
        .collect();
    // A walk that ends at a violation has not seen everything.
    let complete = in_time && violations.is_empty() && checker.is_done();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    drop(checker);
    let record = record.take();
    let steps = record.edges.len();
    if complete {
        violations.extend(complaints(setting, &graph::liveness(&record)));
    }
    Report {
        world: setting.name,
        complete,
        states,
        steps,
        depth,
        violations,
        cells: record.cells,
        took: started.elapsed(),
    }
}

/// Visits every state of all these worlds, so many worlds at a time and each on one thread: its numbers are then the same every time.
/// `told` hears of each as it ends; the reports are in the order of the worlds.
#[must_use]
pub fn check_all(
    settings: &[Setting],
    threads: usize,
    patience: Duration,
    told: &(dyn Fn(&Report) + Sync),
) -> Vec<Report> {
    let reports = Mutex::new(Vec::new());
    // Larger ones first, which stand last: nobody is left with one of them in the end.
    let left = AtomicUsize::new(settings.len());
    let take = || {
        let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        before.ok().map(|before| before - 1)
    };
    let work = || {
        while let Some(place) = take() {
            let report = check(&settings[place], 1, patience);
            told(&report);
            reports
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((place, report));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.max(1) {
            scope.spawn(work);
        }
        work();
    });
    let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    reports.sort_by_key(|(place, _)| *place);
    reports.into_iter().map(|(_, report)| report).collect()
}

/// The legal cells that none of these worlds walked. Illegal ones do not exist: a transition that is in no table does not compile.
#[must_use]
pub fn cells_missed(reports: &[Report]) -> Vec<String> {
    reports
        .iter()
        .fold(Walked::default(), |all, report| all.and(report.cells))
        .missed()
}

/// What is wrong with the graph, each with the way to one such state.
fn complaints(setting: &Setting, liveness: &graph::Liveness) -> Vec<String> {
    let mut complaints = Vec::new();
    for (states, what) in [
        (&liveness.lost, "from here the pod cannot come to rest"),
        (&liveness.stuck, "something is owed here and nothing can happen"),
        (
            &liveness.circle,
            "from here it goes round in a circle, and nothing comes nearer",
        ),
    ] {
        if let Some(state) = states.first() {
            let within = if std::ptr::eq(states, &liveness.circle) {
                states.as_slice()
            } else {
                &[]
            };
            complaints.push(format!(
                "{what} ({} states):\n{}",
                states.len(),
                way_to(setting, *state, within)
            ));
        }
    }
    complaints
}

/// The steps to a state, and then some that stay within the circle it is on.
fn way_to(setting: &Setting, state: u64, within: &[u64]) -> String {
    let checker = PodModel::looking_for(setting.clone(), state)
        .checker()
        .spawn_bfs()
        .join();
    let Some((_, path)) = checker.discoveries().into_iter().next() else {
        return "    (the way there was not found)\n".into();
    };
    let mut here = path.last_state().clone();
    let mut text = steps_of(path);
    let model = PodModel::new(setting.clone());
    for _ in 0..within.len().min(STEPS_SHOWN) {
        let stays = |(action, there): &(Action, State)| {
            action.kind == Kind::System && !there.is(here.hash()) && within.iter().any(|state| there.is(*state))
        };
        let Some((action, there)) = model.next_steps(&here).into_iter().find(stays) else {
            break;
        };
        text.push_str(&format!("  ↻ {action}\n"));
        here = there;
    }
    text
}

fn told(property: &str, path: stateright::Path<State, Action>) -> String {
    let last = path.last_state().broken.clone().unwrap_or_default();
    format!("{property}: {last}\n{}", steps_of(path))
}

fn steps_of(path: stateright::Path<State, Action>) -> String {
    path.into_actions()
        .iter()
        .map(|action| format!("    {action}\n"))
        .collect()
}

/// What a panic said.
#[must_use]
pub fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().cloned();
    let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
    words.unwrap_or_default()
}
