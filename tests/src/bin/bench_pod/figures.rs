//! Figures and their bars.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// (key, bar, whether more is better).
const BARS: [(&str, f64, bool); 19] = [
    ("upload_ok_ms", 860.0, false),
    ("upload_ok_rip_ms", 1300.0, false),
    ("upload_ok_compressed_ms", 1500.0, false),
    ("swap_to_first_slice_ms", 500.0, false),
    ("swap_to_first_slice_rip_ms", 700.0, false),
    ("knob_to_ear_ms", 500.0, false),
    ("slices_late", 0.0, false),
    ("slices_late_rip", 0.0, false),
    ("played_fresh_pct", 99.0, true),
    ("played_fresh_pct_rip", 99.0, true),
    ("separation_rtf", 0.12, false),
    ("yield_ms", 150.0, false),
    ("peak_rss_mb", 1500.0, false),
    ("handover_ms", 1000.0, false),
    ("handover_wedged_ms", 1800.0, false),
    ("slices", 0.0, true),
    ("slices_rip", 0.0, true),
    ("stale_ms_max", f64::INFINITY, false),
    ("stale_ms_max_rip", f64::INFINITY, false),
];

/// What was measured so far.
pub(crate) struct Figures {
    quiet: bool,
    samples: Vec<(&'static str, Vec<f64>)>,
}

impl Figures {
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            samples: Vec::new(),
        }
    }

    /// Says what is being measured.
    pub(crate) fn say(&self, what: &str) {
        if !self.quiet {
            eprintln!("measuring {what}");
        }
    }

    /// Takes a sample.
    pub(crate) fn take(&mut self, key: &'static str, value: f64) {
        match self.samples.iter_mut().find(|(other, _)| *other == key) {
            Some((_, samples)) => samples.push(value),
            None => self.samples.push((key, vec![value])),
        }
    }

    pub(crate) fn take_ms(&mut self, key: &'static str, time: Duration) {
        self.take(key, time.as_secs_f64() * 1000.0);
    }

    /// A table (unless only JSON is wanted), and last one line of JSON: p95 by key, and every figure's spread.
    pub(crate) fn print(&self) {
        let mut line = Map::new();
        let mut spread = Map::new();
        if !self.quiet {
            println!(
                "{:<36} {:>5} {:>10} {:>10} {:>10} {:>10}",
                "", "runs", "median", "p95", "worst", "bar"
            );
        }
        for (key, samples) in &self.samples {
            let bar = BARS.iter().find(|(other, ..)| other == key);
            let more_is_better = bar.is_some_and(|(.., more)| *more);
            let mut sorted = samples.clone();
            sorted.sort_by(f64::total_cmp);
            if more_is_better {
                sorted.reverse();
            }
            let at = |share: f64| sorted[((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1];
            let (median, p95, worst) = (at(0.5), at(0.95), at(1.0));
            let met = bar.is_none_or(|(_, bar, more)| if *more { p95 >= *bar } else { p95 <= *bar });
            if !self.quiet {
                let bar = bar.map_or(String::new(), |(_, bar, _)| format!("{bar}"));
                let verdict = if met { "" } else { "  NOT MET" };
                println!(
                    "{key:<36} {:>5} {median:>10.3} {p95:>10.3} {worst:>10.3} {bar:>10}{verdict}",
                    sorted.len()
                );
            }
            line.insert((*key).to_owned(), json!(p95));
            spread.insert(
                (*key).to_owned(),
                json!({ "runs": sorted.len(), "median": median, "p95": p95, "worst": worst }),
            );
        }
        line.insert("spread".into(), Value::Object(spread));
        println!("{}", Value::Object(line));
    }
}
