//! Liveness, read off the graph of a world that was walked to its end.

use super::model::{Kind, Record};

/// What the graph says about progress: states that should not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Liveness {
    /// From here no place to rest can be reached without further faults.
    pub(super) lost: Vec<u64>,
    /// Here the pod cannot rest and nothing of its own doing can happen.
    pub(super) stuck: Vec<u64>,
    /// One after another and round again, by the pod's own doing, while nothing that is owed comes nearer.
    pub(super) circle: Vec<u64>,
}

/// Steps of the graph by the state they leave: `targets[starts[n]..starts[n + 1]]`.
struct Steps {
    starts: Vec<u32>,
    targets: Vec<u32>,
}

impl Steps {
    fn of(states: usize, edges: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut starts = vec![0_u32; states + 1];
        for (from, _) in edges.clone() {
            starts[from as usize + 1] += 1;
        }
        for state in 0..states {
            starts[state + 1] += starts[state];
        }
        let mut next = starts.clone();
        let mut targets = vec![0; starts[states] as usize];
        for (from, to) in edges {
            targets[next[from as usize] as usize] = to;
            next[from as usize] += 1;
        }
        Self { starts, targets }
    }

    fn from(&self, state: u32) -> &[u32] {
        &self.targets[self.starts[state as usize] as usize..self.starts[state as usize + 1] as usize]
    }
}

/// Numbers the states and looks at all three properties.
pub(super) fn liveness(record: &Record) -> Liveness {
    let mut states: Vec<u64> = record.edges.iter().flat_map(|edge| [edge.from, edge.to]).collect();
    states.push(record.start);
    states.sort_unstable();
    states.dedup();
    let number = |state: u64| states.binary_search(&state).map_or(u32::MAX, |place| place as u32);
    let mut rests = vec![false; states.len()];
    rests[number(record.start) as usize] = record.start_rests;
    let edges: Vec<(u32, u32, Kind)> = record
        .edges
        .iter()
        .map(|edge| {
            let to = number(edge.to);
            rests[to as usize] = edge.to_rests;
            (number(edge.from), to, edge.kind)
        })
        .collect();
    let healthy = edges.iter().filter(|(.., kind)| *kind != Kind::Fault);
    let back = Steps::of(states.len(), healthy.map(|(from, to, _)| (*to, *from)));
    let own = edges.iter().filter(|(from, to, kind)| from != to && matches!(kind, Kind::System | Kind::Progress));
    let own = Steps::of(states.len(), own.map(|(from, to, _)| (*from, *to)));
    let idle = edges.iter().filter(|(.., kind)| *kind == Kind::System);
    let idle = Steps::of(states.len(), idle.map(|(from, to, _)| (*from, *to)));
    let named = |numbers: Vec<u32>| numbers.into_iter().map(|number| states[number as usize]).collect();
    let all = 0..states.len() as u32;
    Liveness {
        lost: named(unreached(&back, &rests)),
        stuck: named(all.filter(|state| !rests[*state as usize] && own.from(*state).is_empty()).collect()),
        circle: named(circle(&idle)),
    }
}

/// The states that no state that rests is reached from, backwards.
fn unreached(back: &Steps, rests: &[bool]) -> Vec<u32> {
    let mut reached = rests.to_vec();
    let all = 0..rests.len() as u32;
    let mut todo: Vec<u32> = all.clone().filter(|state| rests[*state as usize]).collect();
    while let Some(state) = todo.pop() {
        for before in back.from(state) {
            if !std::mem::replace(&mut reached[*before as usize], true) {
                todo.push(*before);
            }
        }
    }
    all.filter(|state| !reached[*state as usize]).collect()
}

/// A circle, if there is one. States without steps are taken away one after another; what is left leads to circles, so whoever walks there
/// comes round. Steps to oneself are no-ops and do not count.
fn circle(steps: &Steps) -> Vec<u32> {
    let states = steps.starts.len() - 1;
    let pairs = (0..states as u32).flat_map(|from| steps.from(from).iter().map(move |to| (from, *to)));
    let pairs = pairs.filter(|(from, to)| from != to);
    let mut left = vec![0_u32; states];
    for (from, _) in pairs.clone() {
        left[from as usize] += 1;
    }
    let back = Steps::of(states, pairs.map(|(from, to)| (to, from)));
    let mut todo: Vec<u32> = (0..states as u32).filter(|state| left[*state as usize] == 0).collect();
    while let Some(state) = todo.pop() {
        for before in back.from(state) {
            left[*before as usize] -= 1;
            if left[*before as usize] == 0 {
                todo.push(*before);
            }
        }
    }
    let mut walk: Vec<u32> = (0..states as u32).filter(|state| left[*state as usize] > 0).take(1).collect();
    while let Some(here) = walk.last().copied() {
        let onward = |to: &&u32| **to != here && left[**to as usize] > 0;
        let Some(next) = steps.from(here).iter().find(onward) else { break };
        if let Some(again) = walk.iter().position(|state| state == next) {
            return walk.split_off(again);
        }
        walk.push(*next);
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Edge;

    fn record(edges: &[(u64, u64, Kind)], resting: &[u64]) -> Record {
        let edge = |(from, to, kind): &(u64, u64, Kind)| Edge {
            from: *from,
            to: *to,
            kind: *kind,
            to_rests: resting.contains(to),
        };
        Record {
            start: 0,
            start_rests: resting.contains(&0),
            edges: edges.iter().map(edge).collect(),
            ..Record::default()
        }
    }

    #[test]
    fn a_pod_that_always_finds_rest_is_live() {
        let steps = [(0, 1, Kind::Client), (1, 2, Kind::Progress), (2, 0, Kind::System)];
        assert_eq!(liveness(&record(&steps, &[0])), Liveness::default());
    }

    #[test]
    fn a_state_that_only_a_fault_leaves_is_lost_and_stuck() {
        let steps = [(0, 1, Kind::Client), (1, 0, Kind::Fault)];
        let found = liveness(&record(&steps, &[0]));
        assert_eq!((found.lost, found.stuck, found.circle), (vec![1], vec![1], vec![]));
    }

    #[test]
    fn a_circle_counts_unless_something_gets_nearer_on_it() {
        let around = |kind| [(0, 1, Kind::Client), (1, 2, Kind::System), (2, 1, kind), (2, 0, Kind::System)];
        assert_eq!(liveness(&record(&around(Kind::System), &[0])).circle, [1, 2]);
        assert_eq!(liveness(&record(&around(Kind::Progress), &[0])).circle, []);
    }

    #[test]
    fn a_step_that_changes_nothing_is_no_circle() {
        assert_eq!(liveness(&record(&[(0, 0, Kind::System)], &[0])), Liveness::default());
    }
}
