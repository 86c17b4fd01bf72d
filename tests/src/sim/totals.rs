//! What many worlds come to, and whether that is enough to have shown anything.

use std::fmt;

use super::fault::{Coverage, pairs};
use super::{Figures, Outcome};

/// What many worlds come to.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// How many.
    pub worlds: u64,
    /// Which faults struck in which steps.
    pub coverage: Coverage,
    /// What happened.
    pub figures: Figures,
}

impl Totals {
    /// Adds a world.
    pub fn add(&mut self, outcome: &Outcome) {
        self.worlds += 1;
        self.coverage.add(&outcome.coverage);
        self.figures.add(&outcome.figures);
    }

    /// Adds what other worlds come to.
    pub fn merge(&mut self, other: &Totals) {
        self.worlds += other.worlds;
        self.coverage.add(&other.coverage);
        self.figures.add(&other.figures);
    }

    /// What is missing to have shown anything: a run cannot pass by doing nothing.
    #[must_use]
    pub fn lacks(&self) -> Vec<String> {
        let Figures { calls, succeeded, .. } = self.figures;
        let mut lacks = Vec::new();
        for (fault, step) in self.coverage.missing() {
            lacks.push(format!("fault `{}` never struck in step `{}`", fault.name(), step.name()));
        }
        if succeeded * 2 < calls || calls == 0 {
            lacks.push(format!("only {succeeded} of {calls} calls succeeded"));
        }
        for (what, count) in self.must_happen() {
            if count == 0 {
                lacks.push(format!("no {what}"));
            }
        }
        lacks
    }

    fn must_happen(&self) -> [(&'static str, u64); 13] {
        let figures = &self.figures;
        [
            ("new record", figures.recorded),
            ("result from a record or a table", figures.replayed),
            ("stage rolled forward", figures.rolled_forward),
            ("stage rolled back", figures.rolled_back),
            ("fence won", figures.fences_won),
            ("fence lost", figures.fences_lost),
            ("lease that ended", figures.leases_ended),
            ("call not executed", figures.not_executed),
            ("unknown outcome", figures.unknown),
            ("server crash", figures.server_crashes),
            ("stall", figures.stalls),
            ("client crash", figures.client_crashes),
            ("call gone on with", figures.gone_on_with),
        ]
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { calls, succeeded, .. } = self.figures;
        let all = pairs().len();
        let hit = all - self.coverage.missing().len();
        let share = succeeded * 100 / calls.max(1);
        write!(f, "{} worlds, {calls} calls, {share} % succeeded", self.worlds)?;
        write!(f, ", {hit} of {all} pairs of fault and step hit")?;
        for (what, count) in self.must_happen() {
            write!(f, ", {what} {count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_not_enough() {
        let lacks = Totals::default().lacks();
        assert_eq!(lacks.len(), pairs().len() + 1 + 13);
    }
}
