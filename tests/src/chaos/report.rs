//! What a part of the chaos did, and whether all was right.

use std::collections::BTreeMap;
use std::fmt;

use super::heard::Heard;
use super::process::Server;
use crate::history::Ended;

/// What a part did, and what was wrong.
#[derive(Debug, Default)]
pub struct Report {
    name: &'static str,
    figures: BTreeMap<&'static str, u64>,
    /// Each thing that was wrong; none: all is right.
    pub wrong: Vec<String>,
    /// Servers that go on until this is dropped.
    pub(super) hosts: Vec<Server>,
}

impl Report {
    pub(super) fn named(name: &'static str) -> Report {
        Report { name, ..Report::default() }
    }

    pub(super) fn add(&mut self, what: &'static str, count: usize) {
        *self.figures.entry(what).or_default() += count as u64;
    }

    /// How often something happened.
    #[must_use]
    pub fn figure(&self, what: &str) -> u64 {
        self.figures.get(what).copied().unwrap_or(0)
    }

    /// Counts the calls that were heard of.
    pub(super) fn count(&mut self, history: &Heard) {
        let refused = |ended: &Ended| matches!(ended, Ended::No(_) | Ended::NotExecuted(_));
        self.add("calls", history.len());
        self.add("done", history.count(|ended| matches!(ended, Ended::Done { .. })));
        self.add("reads", history.count(|ended| matches!(ended, Ended::Last(_))));
        self.add("refused", history.count(refused));
        self.add(
            "unknown",
            history.count(|ended| matches!(ended, Ended::Lost(_) | Ended::Crashed)),
        );
        self.add("retries", usize::try_from(history.retries).unwrap_or(usize::MAX));
        self.add("suspicions", usize::try_from(history.suspicions).unwrap_or(usize::MAX));
    }

    /// A run in which these did not happen, or in which fewer than half of the calls were answered,
    /// has proven nothing.
    pub(super) fn must_have_happened(&mut self, all: &[&'static str]) {
        for what in all {
            if self.figure(what) == 0 {
                self.wrong.push(format!("no {what}: it proves nothing, let it run longer"));
            }
        }
        let answered = self.figure("done") + self.figure("reads");
        if answered * 2 < self.figure("calls") {
            let calls = self.figure("calls");
            self.wrong.push(format!("only {answered} of {calls} calls were answered"));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = self.figures.iter().map(|(what, count)| format!("{count} {what}"));
        write!(f, "{}: {}", self.name, figures.collect::<Vec<_>>().join(", "))
    }
}
