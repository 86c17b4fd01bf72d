//! Every point at which a server can crash, one after the other: not some of them.
//!
//! A case (a kind of call, a session, the collecting of records) is run once with nothing planned
//! against it, which counts its *steps*: every store operation and every frame, from its first to
//! what follows its answer. Then it is run again for every *point*, which is before or after a step;
//! for every pair of points, the second counted in the run in which the first has happened; and, for
//! a transfer, for every three. The client, both servers, the dispatch and the store protocol are the
//! real ones; the network and the store are simulated, on virtual time. After each run everything of
//! `check.rs` must be true.
//!
//! A crash is not all that can happen at a point. At each single one the server is also made to stand
//! still and come back as a zombie, soon or when the session is long over; the caller is made to
//! drop the call; and the store, or the network, is made to be in trouble.
//!
//! Two more enumerations know no server: `dropped.rs` drops a commit at every await, and `power.rs`
//! cuts the power of the embedded store's disk at every write and sync.
//!
//! A run is named by its case and its points, and so can be had again: `transfer:17,4`.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | [`explore`] and [`replay`], and what they report |
//! | `step.rs` | steps, blows, and the names of places |
//! | `case.rs` | the kinds of calls, and how they must end |
//! | `control.rs`, `backend.rs` | what counts the steps and strikes |
//! | `cluster.rs` | servers that come back, and their client |
//! | `run.rs`, `check.rs` | one run, and what must be true after it |
//! | `dropped.rs` | commits dropped at every await |
//! | `power.rs` | the embedded store with its power cut at every step |

mod backend;
mod case;
mod check;
mod cluster;
mod control;
mod dropped;
mod power;
mod run;
mod step;

use std::collections::BTreeMap;
use std::fmt;

pub use self::case::Case;
pub use self::step::{Blow, Place, Side, Step};

/// What is to be enumerated.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cases whose servers are struck.
    pub cases: Vec<Case>,
    /// What befalls them at single points.
    pub blows: Vec<Blow>,
    /// The most pairs of crashes of each case.
    pub pairs: u64,
    /// The most triples of crashes of a transfer.
    pub triples: u64,
    /// Whether commits are dropped at every await.
    pub dropped: bool,
    /// Whether the power of the embedded store's disk is cut.
    pub power: bool,
}

/// What was run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By case.
    pub cases: BTreeMap<Case, Counts>,
    /// Commits that were dropped: once, and twice in a row.
    pub dropped: Counts,
    /// Power cuts of a disk: one, and another one while the store recovers.
    pub power: Counts,
    /// How often a blow fell at a kind of step.
    pub hit: BTreeMap<(Step, Side), u64>,
}

/// How much of one case was run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Steps with nothing planned against it.
    pub steps: u64,
    /// Crashes at one point.
    pub points: u64,
    /// Crashes at two points.
    pub pairs: u64,
    /// Crashes at three points.
    pub triples: u64,
    /// Single points at which something other than a crash happened.
    pub others: u64,
    /// Whether a budget has cut the enumeration short.
    pub is_cut: bool,
}

/// A run after which something was not true.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What to give to [`replay`].
    pub place: String,
    /// What was not true, and what had happened.
    pub what: String,
}

impl Settings {
    /// Everything: all cases, all blows, all pairs, all triples of a transfer.
    #[must_use]
    pub fn all() -> Settings {
        Settings {
            cases: Case::ALL.to_vec(),
            blows: Blow::ALL.to_vec(),
            pairs: u64::MAX,
            triples: u64::MAX,
            dropped: true,
            power: true,
        }
    }

    /// All single points, and nothing else.
    #[must_use]
    pub fn singles() -> Settings {
        Settings { pairs: 0, triples: 0, ..Settings::all() }
    }
}

/// Runs all that the settings ask for; `progress` is told after each run.
///
/// # Errors
/// The first violation.
pub fn explore(
    settings: &Settings,
    mut progress: impl FnMut(&str),
) -> Result<Report, Box<Violation>> {
    let mut report = Report::default();
    for case in &settings.cases {
        let depth = match case {
            Case::Transfer if settings.triples > 0 => 3,
            _ if settings.pairs > 0 => 2,
            _ => 1,
        };
        for blow in settings.blows.iter().filter(|blow| blow.befalls(*case)) {
            let mut search = Search {
                settings,
                report: &mut report,
                progress: &mut progress,
                depth: if *blow == Blow::Crash { depth } else { 1 },
            };
            let mut place = Place { case: *case, blow: *blow, points: Vec::new() };
            search.descend(&mut place)?;
        }
    }
    if settings.dropped {
        report.dropped = dropped::explore(settings, &mut report.hit, &mut progress)?;
    }
    if settings.power {
        report.power = power::explore(settings, &mut report.hit, &mut progress)?;
    }
    Ok(report)
}

/// Runs one place again.
///
/// # Errors
/// What is not a place, and what is not true after it.
pub fn replay(place: &str) -> Result<String, Box<Violation>> {
    let violated = |what| Box::new(Violation { place: place.to_owned(), what });
    if let Some(place) = place.strip_prefix("dropped/") {
        return dropped::replay(place).map_err(violated);
    }
    if let Some(place) = place.strip_prefix("power/") {
        return power::replay(place).map_err(violated);
    }
    let place: Place = place.parse().map_err(violated)?;
    let ran = run::run(&place).map_err(violated)?;
    let struck = if ran.is_through { "" } else { ", not all of which lie within it" };
    Ok(format!("{place} holds; struck at {:?}{struck}", ran.hit))
}

/// The enumeration of one case.
struct Search<'a> {
    settings: &'a Settings,
    report: &'a mut Report,
    progress: &'a mut dyn FnMut(&str),
    depth: usize,
}

impl Search<'_> {
    /// Runs a place, and then every place that has one point more.
    fn descend(&mut self, place: &mut Place) -> Result<(), Box<Violation>> {
        if !self.count(place) {
            return Ok(());
        }
        let ran = run::run(place)
            .map_err(|what| Box::new(Violation { place: place.to_string(), what }))?;
        (self.progress)(&place.to_string());
        if !ran.is_through {
            let what = format!("the run is not the same again: only {:?} were struck", ran.hit);
            return Err(Box::new(Violation { place: place.to_string(), what }));
        }
        if let Some(last) = ran.hit.last() {
            *self.report.hit.entry(*last).or_default() += 1;
        } else {
            self.counts(place).steps = ran.steps.len() as u64;
        }
        if place.points.len() == self.depth {
            return Ok(());
        }
        for (number, step) in ran.steps.iter().enumerate() {
            for side in 0..2 {
                let is_on_its_way = step.is_write() && side == 0;
                if is_the_same(place, *step, side) || place.blow == Blow::Outlive && is_on_its_way {
                    continue;
                }
                place.points.push(2 * number as u32 + side);
                let searched = self.descend(place);
                place.points.pop();
                searched?;
            }
        }
        Ok(())
    }

    /// Counts a run that is to be made; `false` if the budget is used up.
    fn count(&mut self, place: &Place) -> bool {
        let (pairs, triples) = (self.settings.pairs, self.settings.triples);
        let counts = self.counts(place);
        let (count, budget) = match (place.blow, place.points.len()) {
            (_, 0) => return true,
            (Blow::Crash, 1) => (&mut counts.points, u64::MAX),
            (Blow::Crash, 2) => (&mut counts.pairs, pairs),
            (Blow::Crash, _) => (&mut counts.triples, triples),
            _ => (&mut counts.others, u64::MAX),
        };
        if *count == budget {
            counts.is_cut = true;
            return false;
        }
        *count += 1;
        true
    }

    fn counts(&mut self, place: &Place) -> &mut Counts {
        self.report.cases.entry(place.case).or_default()
    }
}

/// Whether a crash here cannot be told from one that is tried anyway. Only looked at where there are
/// very many: in triples, and in pairs of a collector, which mostly reads.
fn is_the_same(place: &Place, step: Step, side: u32) -> bool {
    let takes_in = step.only_takes_in();
    match place.points.len() {
        0 => false,
        1 => takes_in && place.case == Case::Collection,
        _ => takes_in && side == 1,
    }
}

impl Report {
    /// What was asked for and not run at all, or never hit: then the enumeration is broken.
    #[must_use]
    pub fn gaps(&self, settings: &Settings) -> Vec<String> {
        let mut gaps = Vec::new();
        let mut must = |name: String, count: u64| {
            if count == 0 {
                gaps.push(name);
            }
        };
        for case in &settings.cases {
            let counts = self.cases.get(case).copied().unwrap_or_default();
            if settings.blows.contains(&Blow::Crash) {
                must(format!("points of {}", case.name()), counts.points);
                if settings.pairs > 0 {
                    must(format!("pairs of {}", case.name()), counts.pairs);
                }
                if settings.triples > 0 && *case == Case::Transfer {
                    must("triples of transfer".to_owned(), counts.triples);
                }
            }
            if settings.blows.iter().any(|blow| *blow != Blow::Crash && blow.befalls(*case)) {
                must(format!("other blows to {}", case.name()), counts.others);
            }
        }
        if settings.dropped {
            must("dropped commits".to_owned(), self.dropped.points);
        }
        if settings.power {
            must("power cuts".to_owned(), self.power.points);
        }
        let is_all = settings.cases.len() == Case::ALL.len()
            && settings.blows.len() == Blow::ALL.len()
            && settings.dropped
            && settings.power;
        for step in Step::MUST_BE_HIT.into_iter().filter(|_| is_all) {
            for side in [Side::Before, Side::After] {
                let count = self.hit.get(&(step, side)).copied().unwrap_or_default();
                must(format!("{side:?} {step:?}"), count);
            }
        }
        gaps
    }

    /// All counts together.
    #[must_use]
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for counts in self.cases.values().chain([&self.dropped, &self.power]) {
            total.steps += counts.steps;
            total.points += counts.points;
            total.pairs += counts.pairs;
            total.triples += counts.triples;
            total.others += counts.others;
            total.is_cut |= counts.is_cut;
        }
        total
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl std::error::Error for Violation {}
