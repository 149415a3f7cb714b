//! The figures, their bounds, and the page that shows them.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Measured;
use super::accounts::TURNS;
use super::plane::{Line, SUBJECTS};
use super::translation::{self, CORE_ROUNDS, PairLine};

/// What a figure must be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
    /// Answers per second, at least so many times Envoy's.
    RateAtLeast(f64),
    /// Median latency, at most so many times Envoy's.
    LatencyAtMost(f64),
    /// Processor time, at most so many times that of the other.
    CpuAtMost(f64),
    /// The figure itself.
    AtMost(f64),
    /// Nothing: it is shown beside others.
    None,
}

/// One figure.
pub(super) struct Row {
    name: String,
    bound: Bound,
    ours: String,
    theirs: String,
    /// What is bounded: a ratio, or the figure itself.
    value: f64,
    shown: String,
}

impl Row {
    pub(super) fn compared(name: &str, bound: Bound, ours: &[Measured], theirs: &[Measured]) -> Self {
        let is_latency = matches!(bound, Bound::LatencyAtMost(_));
        let figure = |measured: &Measured| if is_latency { measured.p50_us } else { measured.requests_per_s };
        let shown =
            |value: f64| if is_latency { format!("p50 {value:.0} us") } else { format!("{value:.0}/s") };
        let of = |all: &[Measured]| median(&all.iter().map(figure).collect::<Vec<_>>());
        // Both were measured right after one another in each round, so the ratio is steadier than either.
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(one, two)| figure(one) / figure(two)).collect();
        let value = median(&ratios);
        let (ours, theirs) = (shown(of(ours)), shown(of(theirs)));
        Self { name: name.to_owned(), bound, ours, theirs, value, shown: format!("{value:.2}x") }
    }

    /// Time per request, microseconds, beside that of something else.
    pub(super) fn against(name: &str, bound: Bound, ours: &[f64], theirs: &[f64]) -> Self {
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(one, two)| one / two).collect();
        let value = median(&ratios);
        let shown = |values: &[f64]| format!("{:.0} us", median(values));
        Self {
            name: name.to_owned(),
            bound,
            ours: shown(ours),
            theirs: shown(theirs),
            value,
            shown: format!("{value:.2}x"),
        }
    }

    pub(super) fn alone(name: &str, bound: Bound, unit: &str, values: &[f64]) -> Self {
        let value = median(values);
        let shown = format!("{value:.1} {unit}");
        Self { name: name.to_owned(), bound, ours: shown.clone(), theirs: String::new(), value, shown }
    }

    /// Something beside something else of its kind.
    pub(super) fn ratio(name: &str, bound: Bound, value: f64) -> Self {
        let shown = format!("{value:.2}x");
        Self { name: name.to_owned(), bound, ours: shown.clone(), theirs: String::new(), value, shown }
    }

    pub(super) fn holds(&self) -> bool {
        match self.bound {
            Bound::RateAtLeast(bound) => self.value >= bound,
            Bound::LatencyAtMost(bound) | Bound::CpuAtMost(bound) | Bound::AtMost(bound) => {
                self.value <= bound
            }
            Bound::None => true,
        }
    }

    fn wanted(&self) -> String {
        match self.bound {
            Bound::RateAtLeast(bound) => format!("at least {bound:?}x"),
            Bound::LatencyAtMost(bound) | Bound::CpuAtMost(bound) => format!("at most {bound:.1}x"),
            Bound::None => String::new(),
            Bound::AtMost(bound) => format!("at most {bound}"),
        }
    }

    fn verdict(&self) -> &'static str {
        match self.bound {
            Bound::None => "",
            _ if self.holds() => "holds",
            _ => "MISSED",
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, ours, theirs, shown, .. } = self;
        let (wanted, verdict) = (self.wanted(), self.verdict());
        write!(f, "{name:<46} {ours:>12} {theirs:>12} {shown:>9} {wanted:>15} {verdict}")
    }
}

/// All figures of a run.
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    /// The Envoy data plane beside others.
    pub(super) lines: Vec<Line>,
    /// What a chat takes in the core, by pair of dialects.
    pub(super) pairs: Vec<PairLine>,
    rounds: usize,
    millis: u64,
}

impl Report {
    pub(super) fn new(rounds: usize, millis: u64) -> Self {
        Self { rows: Vec::new(), lines: Vec::new(), pairs: Vec::new(), rounds, millis }
    }

    /// The table of the Envoy data plane.
    fn planes(&self) -> String {
        let mut table = format!(
            "\nThe Envoy data plane: answers per second, latency in microseconds, and processor time per request in microseconds, of Envoy \
             and of its external processor.\n\n| load | {} |\n|---|---|---|---|---|\n",
            SUBJECTS.join(" | ")
        );
        for Line { name, cells } in &self.lines {
            let cells: Vec<String> = cells.iter().map(ToString::to_string).collect();
            table.push_str(&format!("| {name} | {} |\n", cells.join(" | ")));
        }
        table
    }

    /// Replaces the table in the page at `path`.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let Self { rounds, millis, .. } = self;
        let mut table = format!(
            "Median of {rounds} rounds of {:.1} s each; with accounts beside without, of {TURNS} times as many of half the time; in the core alone, of {CORE_ROUNDS} times as many.\n\n\
             | load | Tollgate | Envoy | | wanted | |\n|---|---:|---:|---:|---|---|\n",
            *millis as f64 / 1e3
        );
        for row in &self.rows {
            let Row { name, ours, theirs, shown, .. } = row;
            table.push_str(&format!(
                "| {name} | {ours} | {theirs} | {shown} | {} | {} |\n",
                row.wanted(),
                row.verdict()
            ));
        }
        table.push_str(&self.planes());
        table.push_str(&translation::table(&self.pairs));
        let page = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let (before, rest) = page.split_once("<!-- figures -->\n").context("no place for the figures")?;
        let (_, after) = rest.split_once("<!-- end -->\n").context("no end of the figures")?;
        fs::write(path, format!("{before}<!-- figures -->\n{table}<!-- end -->\n{after}"))?;
        Ok(())
    }
}

pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_beyond_its_bound_is_missed() {
        assert!(Row::alone("memory", Bound::AtMost(20.0), "MB", &[30.0, 10.0, 11.0]).holds());
        assert!(!Row::alone("memory", Bound::AtMost(20.0), "MB", &[30.0, 21.0, 11.0]).holds());
        let of = |requests_per_s| Measured {
            requests: 1,
            requests_per_s,
            p50_us: 1.0,
            p99_us: 1.0,
            errors: 0,
            first_error: None,
        };
        assert!(Row::compared("load", Bound::RateAtLeast(2.0), &[of(4.0)], &[of(2.0)]).holds());
        assert!(!Row::compared("load", Bound::RateAtLeast(2.1), &[of(4.0)], &[of(2.0)]).holds());
    }
}
