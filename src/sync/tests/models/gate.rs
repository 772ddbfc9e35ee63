use greenroom_sync::LeaseGate;
use loom::{cell::Cell, sync::Arc, thread};

use crate::explore;

/// Stands for weights, which are here or not: loom fails where somebody moves them without having heard that whoever read them stopped.
type Weights = Arc<Cell<bool>>;

fn resident() -> Weights {
    Arc::new(Cell::new(true))
}

/// Ticks at most `ticks` times; the closings that it was told to tell.
fn ticking(gate: &LeaseGate, weights: &Weights, ticks: usize) -> Vec<u64> {
    let mut told = Vec::new();
    for _ in 0..ticks {
        let Some(pass) = gate.enter() else { break };
        assert!(weights.get(), "a tick runs on parked weights");
        told.extend(pass.leave());
    }
    told
}

#[test]
fn a_closing_is_drained_exactly_once_and_nothing_runs_after() {
    explore(|| {
        let (gate, weights) = (LeaseGate::new(), resident());
        gate.open();
        let (theirs, theirs_weights) = (gate.clone(), Arc::clone(&weights));
        let ticker = thread::spawn(move || ticking(&theirs, &theirs_weights, 2));
        let at_once = gate.close(1, false);
        if at_once.is_some() {
            weights.set(false);
            assert!(gate.enter().is_none());
        }
        let told = ticker.join().unwrap();
        assert_eq!(told.len() + usize::from(at_once.is_some()), 1, "told exactly once");
        assert!(told.iter().chain(&at_once).all(|closing| *closing == 1));
    });
}

#[test]
fn of_two_ticks_the_last_one_drains() {
    explore(|| {
        let (gate, weights) = (LeaseGate::new(), resident());
        gate.open();
        let tickers = [(); 2].map(|()| {
            let (gate, weights) = (gate.clone(), Arc::clone(&weights));
            thread::spawn(move || {
                let told = ticking(&gate, &weights, 1);
                if !told.is_empty() {
                    weights.set(false);
                }
                told.len()
            })
        });
        let at_once = gate.close(1, false);
        if at_once.is_some() {
            weights.set(false);
        }
        let told: usize = tickers.map(|ticker| ticker.join().unwrap()).iter().sum();
        assert_eq!(told + usize::from(at_once.is_some()), 1, "told exactly once");
    });
}

#[test]
fn an_older_closing_is_never_told_for_a_newer_one() {
    explore(|| {
        let (gate, weights) = (LeaseGate::new(), resident());
        gate.open();
        let (theirs, theirs_weights) = (gate.clone(), Arc::clone(&weights));
        let ticker = thread::spawn(move || ticking(&theirs, &theirs_weights, 2));
        let first = gate.close(1, false);
        gate.open();
        let second = gate.close(2, false);
        if second.is_some() {
            weights.set(false);
        }
        let mut told = ticker.join().unwrap();
        told.extend(second);
        assert_eq!(
            told.iter().filter(|closing| **closing == 2).count(),
            1,
            "told exactly once"
        );
        told.extend(first);
        assert!(told.iter().filter(|closing| **closing == 1).count() <= 1);
        assert!(told.len() <= 2);
    });
}

#[test]
fn a_closing_in_a_hurry_reaches_the_tick_under_way_and_no_later_one() {
    explore(|| {
        let gate = LeaseGate::new();
        gate.open();
        let theirs = gate.clone();
        let ticker = thread::spawn(move || {
            let pass = theirs.enter()?;
            let asked = pass.give_up().is_raised();
            let told = pass.leave();
            Some((asked, told))
        });
        let at_once = gate.close(1, true);
        let ticked = ticker.join().unwrap();
        match ticked {
            Some((asked, Some(_))) => assert!(at_once.is_none(), "told twice, asked {asked}"),
            // It was over before the gate closed.
            Some((asked, None)) => assert!(at_once.is_some() && !asked, "asked before it had to end"),
            None => assert!(at_once.is_some()),
        }
        gate.open();
        let pass = gate.enter().unwrap();
        assert!(!pass.give_up().is_raised(), "the next opening begins anew");
        let _ = gate.close(2, true);
        assert!(pass.give_up().is_raised());
        assert_eq!(pass.leave(), Some(2));
    });
}

#[test]
fn a_tick_that_unwinds_gives_its_pass_back() {
    explore(|| {
        let gate = LeaseGate::new();
        gate.open();
        let theirs = gate.clone();
        let ticker = thread::spawn(move || drop(theirs.enter()));
        let _ = gate.close(1, false);
        ticker.join().unwrap();
        gate.open();
        assert_eq!(gate.close(2, false), Some(2), "nobody holds it open");
    });
}
