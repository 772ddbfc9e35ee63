//! Makes a failing history smaller: fault classes off, clients away, deeds undone, as long as the same thing still breaks.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{
    faults::Fault,
    record::Record,
    script::{Deed, Script},
    swarm::{Outcome, run_script, words_of},
    world::{Tamper, Violation, World},
};

/// Histories lived through at most while shrinking.
const TRIALS_MAX: u32 = 3_000;

/// What a smaller history is looked for.
struct Search {
    seed: u64,
    tamper: Option<Tamper>,
    symptom: String,
    trials: u32,
}

/// The smallest script found in which `seed` still comes to `outcome`.
#[must_use]
pub fn shrink(seed: u64, outcome: &Outcome, tamper: Option<Tamper>) -> Script {
    let mut search = Search {
        seed,
        tamper,
        symptom: symptom(outcome),
        trials: 0,
    };
    let mut script = Script::default();
    loop {
        let before = script.clone();
        search.drop_faults(&mut script);
        search.drop_clients(&mut script);
        search.drop_deeds(&mut script);
        if script == before || search.trials >= TRIALS_MAX {
            return script;
        }
    }
}

impl Search {
    /// Whether it still breaks in the same way; then `script` becomes that.
    fn take(&mut self, script: &mut Script, smaller: Script) -> bool {
        if self.trials >= TRIALS_MAX {
            return false;
        }
        self.trials += 1;
        let breaks = symptom(&self.live(&smaller)) == self.symptom;
        if breaks {
            *script = smaller;
        }
        breaks
    }

    fn live(&self, script: &Script) -> Outcome {
        if self.symptom == symptom(&Outcome::Different) {
            return run_script(self.seed, script, self.tamper).outcome;
        }
        match catch_unwind(AssertUnwindSafe(|| self.world(script).run())) {
            Ok(history) => history.violation.map_or(Outcome::Fine, Outcome::Broken),
            Err(panic) => Outcome::Crashed(words_of(&*panic)),
        }
    }

    fn world(&self, script: &Script) -> World {
        let world = World::of(self.seed, script);
        match self.tamper {
            Some(tamper) => world.tampered(tamper),
            None => world,
        }
    }

    fn drop_faults(&mut self, script: &mut Script) {
        let classes: Vec<Fault> = self.world(script).faults().collect();
        for fault in classes {
            let mut smaller = script.clone();
            smaller.without.push(fault);
            self.take(script, smaller);
        }
    }

    fn drop_clients(&mut self, script: &mut Script) {
        for client in (0..self.world(script).clients_count()).rev() {
            if script.absent.contains(&client) {
                continue;
            }
            let mut smaller = script.clone();
            smaller.absent.push(client);
            smaller.absent.sort_unstable();
            if let Some(only) = &mut smaller.only {
                only.retain(|deed| deed.actor != client);
            }
            self.take(script, smaller);
        }
    }

    /// Halves, quarters, … and in the end single deeds.
    fn drop_deeds(&mut self, script: &mut Script) {
        if script.only.is_none() {
            let mut only = self.deeds(script);
            only.sort_unstable();
            let only = Some(only);
            self.take(script, Script { only, ..script.clone() });
        }
        let mut length = script.only.as_ref().map_or(0, |only| only.len().div_ceil(2));
        while length > 0 {
            let mut from = 0;
            while let Some(only) = script.only.as_ref().filter(|only| from < only.len()) {
                let (before, rest) = only.split_at(from);
                let after = &rest[length.min(rest.len())..];
                let only = Some([before, after].concat());
                if !self.take(script, Script { only, ..script.clone() }) {
                    from += length;
                }
            }
            length = if length == 1 { 0 } else { length.div_ceil(2) };
        }
    }

    fn deeds(&self, script: &Script) -> Vec<Deed> {
        let mut world = self.world(script).recorded(Record::of_deeds());
        // It is expected to break, by a panic too.
        let _broken = catch_unwind(AssertUnwindSafe(|| world.run()));
        world.take_record().deeds().to_vec()
    }
}

/// What broke, without the numbers that change from history to history.
fn symptom(outcome: &Outcome) -> String {
    let (kind, words) = match outcome {
        Outcome::Fine => ("fine", ""),
        Outcome::Different => ("different", ""),
        Outcome::Crashed(words) => ("crash", words.as_str()),
        Outcome::Broken(Violation::Safety(words)) => ("safety", words.as_str()),
        Outcome::Broken(Violation::Liveness(words)) => ("liveness", words.as_str()),
        Outcome::Broken(Violation::Leak(words)) => ("leak", words.as_str()),
    };
    let words: String = words
        .chars()
        .filter(|letter| !letter.is_ascii_digit())
        .take(60)
        .collect();
    format!("{kind}: {words}")
}
