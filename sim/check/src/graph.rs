//! Liveness, read off the graph of a world that was walked to its end.

use crate::model::{Edge, Kind, Record};

/// What the graph says about progress: states that should not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Liveness {
    /// From here no place to rest can be reached without further faults.
    pub(super) lost: Vec<u64>,
    /// Here the pod cannot rest and nothing of its own doing can happen.
    pub(super) stuck: Vec<u64>,
    /// Round and round, by the pod's own doing, while nothing that is owed comes nearer, although nobody is kept waiting for ever for
    /// something that could always have happened (weak fairness).
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
    let own = edges
        .iter()
        .filter(|(from, to, kind)| from != to && matches!(kind, Kind::System | Kind::Progress));
    let own = Steps::of(states.len(), own.map(|(from, to, _)| (*from, *to)));
    let idle = edges.iter().filter(|(.., kind)| *kind == Kind::System);
    let idle = Steps::of(states.len(), idle.map(|(from, to, _)| (*from, *to)));
    let named = |numbers: Vec<u32>| numbers.into_iter().map(|number| states[number as usize]).collect();
    let all = 0..states.len() as u32;
    Liveness {
        lost: named(unreached(&back, &rests)),
        stuck: named(
            all.filter(|state| !rests[*state as usize] && own.from(*state).is_empty())
                .collect(),
        ),
        circle: named(fair_circle(&record.edges, &edges, &idle)),
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

/// The states of a strongly connected part in which the pod can go round for ever and be fair to all, if there is one.
///
/// A part is fair if whatever is awaited in all its states also happens in it.
fn fair_circle(recorded: &[Edge], edges: &[(u32, u32, Kind)], idle: &Steps) -> Vec<u32> {
    let parts = parts(idle);
    let count = parts.iter().copied().max().map_or(0, |part| part as usize + 1);
    let mut size = vec![0_u32; count];
    parts.iter().for_each(|part| size[*part as usize] += 1);
    let mut awaited = vec![0_u8; parts.len()];
    let mut happens = vec![0_u8; count];
    for (edge, (from, to, kind)) in recorded.iter().zip(edges) {
        if matches!(kind, Kind::System | Kind::Progress) {
            awaited[*from as usize] |= edge.awaits.bit();
        }
        if *kind == Kind::System && from != to && parts[*from as usize] == parts[*to as usize] {
            happens[parts[*from as usize] as usize] |= edge.awaits.bit();
        }
    }
    let mut always = vec![u8::MAX; count];
    for (state, part) in parts.iter().enumerate() {
        always[*part as usize] &= awaited[state];
    }
    let fair = (0..count).find(|part| size[*part] > 1 && always[*part] & !happens[*part] == 0);
    let members = (0..parts.len() as u32).filter(|state| fair == Some(parts[*state as usize] as usize));
    members.collect()
}

/// The strongly connected part of each state (Tarjan 1972, without recursion).
fn parts(steps: &Steps) -> Vec<u32> {
    const UNSEEN: u32 = u32::MAX;
    let states = steps.starts.len() - 1;
    let (mut order, mut low) = (vec![UNSEEN; states], vec![0_u32; states]);
    let mut part = vec![UNSEEN; states];
    let (mut seen, mut found) = (0_u32, 0_u32);
    let (mut open, mut path): (Vec<u32>, Vec<(u32, usize)>) = (Vec::new(), Vec::new());
    for root in 0..states as u32 {
        if order[root as usize] != UNSEEN {
            continue;
        }
        path.push((root, 0));
        while let Some((state, next)) = path.pop() {
            let here = state as usize;
            if next == 0 {
                (order[here], low[here]) = (seen, seen);
                seen += 1;
                open.push(state);
            }
            if let Some(to) = steps.from(state).get(next).copied() {
                path.push((state, next + 1));
                if order[to as usize] == UNSEEN {
                    path.push((to, 0));
                } else if part[to as usize] == UNSEEN {
                    low[here] = low[here].min(order[to as usize]);
                }
                continue;
            }
            if low[here] == order[here] {
                while let Some(member) = open.pop() {
                    part[member as usize] = found;
                    if member == state {
                        break;
                    }
                }
                found += 1;
            }
            if let Some((parent, _)) = path.last() {
                low[*parent as usize] = low[*parent as usize].min(low[here]);
            }
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Awaits;

    type Step = (u64, u64, Kind, Awaits);

    fn record(steps: &[Step], resting: &[u64]) -> Record {
        let edge = |(from, to, kind, awaits): &Step| Edge {
            from: *from,
            to: *to,
            kind: *kind,
            awaits: *awaits,
            to_rests: resting.contains(to),
        };
        Record {
            start: 0,
            start_rests: resting.contains(&0),
            edges: steps.iter().map(edge).collect(),
            ..Record::default()
        }
    }

    const ASKED: Step = (0, 1, Kind::Client, Awaits::Nobody);

    #[test]
    fn a_pod_that_always_finds_rest_is_live() {
        let steps = [
            ASKED,
            (1, 2, Kind::Progress, Awaits::Work),
            (2, 0, Kind::System, Awaits::Disk),
        ];
        assert_eq!(liveness(&record(&steps, &[0])), Liveness::default());
    }

    #[test]
    fn a_state_that_only_a_fault_leaves_is_lost_and_stuck() {
        let steps = [ASKED, (1, 0, Kind::Fault, Awaits::Work)];
        let found = liveness(&record(&steps, &[0]));
        assert_eq!((found.lost, found.stuck, found.circle), (vec![1], vec![1], vec![]));
    }

    #[test]
    fn a_circle_counts_unless_something_gets_nearer_on_it() {
        let around = |kind| {
            [
                ASKED,
                (1, 2, Kind::System, Awaits::Time),
                (2, 1, kind, Awaits::Stage),
                (2, 0, Kind::System, Awaits::Stage),
            ]
        };
        assert_eq!(liveness(&record(&around(Kind::System), &[0])).circle, [1, 2]);
        assert_eq!(liveness(&record(&around(Kind::Progress), &[0])).circle, [0_u64; 0]);
    }

    #[test]
    fn a_circle_on_which_a_job_is_kept_from_ending_is_not_fair() {
        let steps = [
            ASKED,
            (1, 2, Kind::System, Awaits::Time),
            (2, 1, Kind::System, Awaits::Time),
            (1, 0, Kind::System, Awaits::Stage),
            (2, 0, Kind::System, Awaits::Stage),
        ];
        assert_eq!(liveness(&record(&steps, &[0])).circle, [0_u64; 0]);
    }

    #[test]
    fn a_step_that_changes_nothing_is_no_circle() {
        let steps = [(0, 0, Kind::System, Awaits::Time)];
        assert_eq!(liveness(&record(&steps, &[0])), Liveness::default());
    }
}
