//! The layers of the tests, each as something that notices or does not.

use std::ops::Range;
use std::time::Duration;

use super::bugs::{Bug, Code};
use crate::conformance::stores::{Memory, OnDisk, Simulated};
use crate::conformance::{self, Harness};
use crate::crash_points::{Blow, Case, Settings, explore};
use crate::world::{quietly, quietly_with_threads, silently};
use crate::{cas_chaos, model, panics, sim};

/// A test by name, which panics if it does not hold.
pub type Scenario = (&'static str, fn());

/// One way to test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// The conformance suite, on every store.
    Conformance,
    /// The scenarios of the protocol, on a scripted network.
    Scenarios,
    /// Every crash point.
    CrashPoints,
    /// Power cuts and failures of the embedded store's disk, at every step.
    Disk,
    /// Whole worlds of clients, servers, network and store, from seeds.
    Sim,
    /// Many servers on a store with faults, from seeds.
    Chaos,
    /// The model of the store protocol, which has this bug too.
    Model,
}

/// How long one test of the conformance suite may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How many worlds of the simulation a seed stands for: they are small.
const WORLDS_PER_SEED: u64 = 10;
/// How many pairs of crashes of each kind of call a bug is given, beside all single points.
const PAIRS: u64 = 400;

impl Layer {
    /// All of them; those that mostly take less time first.
    pub const ALL: [Layer; 7] = [
        Layer::Conformance,
        Layer::Scenarios,
        Layer::Sim,
        Layer::Chaos,
        Layer::Model,
        Layer::CrashPoints,
        Layer::Disk,
    ];

    /// Its name on the command line and in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Layer::Conformance => "conformance",
            Layer::Scenarios => "scenarios",
            Layer::CrashPoints => "crash-points",
            Layer::Disk => "disk",
            Layer::Sim => "sim",
            Layer::Chaos => "chaos",
            Layer::Model => "model",
        }
    }

    /// Whether it runs the code that keeps the bug's rule.
    #[must_use]
    pub fn runs(self, bug: &Bug) -> bool {
        let has = |codes: &[Code]| bug.code.iter().any(|code| codes.contains(code));
        match self {
            Layer::Conformance => has(&[Code::Local, Code::Cas, Code::Embedded]),
            Layer::Scenarios => has(&[Code::Client, Code::Server, Code::Local]),
            Layer::CrashPoints => has(&[Code::Client, Code::Server, Code::Cas, Code::Embedded]),
            Layer::Disk => has(&[Code::Embedded]),
            Layer::Sim => has(&[Code::Client, Code::Server, Code::Local, Code::Cas]),
            Layer::Chaos => has(&[Code::Cas]),
            Layer::Model => bug.model.is_some(),
        }
    }

    /// Runs it until it notices something, and says where.
    pub(super) fn notices(
        self,
        bug: Option<&Bug>,
        mut seeds: Range<u64>,
        scenarios: &[Scenario],
    ) -> Option<String> {
        match self {
            Layer::Conformance => conformance_notices(),
            Layer::Scenarios => {
                let mut all = scenarios.iter();
                all.find(|(_, holds)| silently(holds).is_err()).map(|(name, _)| (*name).to_owned())
            }
            Layer::CrashPoints => crash_points_notice(),
            Layer::Disk => explored(&Settings { power: true, ..nothing() }),
            Layer::Sim => {
                let mut worlds = seeds.start * WORLDS_PER_SEED..seeds.end * WORLDS_PER_SEED;
                worlds.find(|seed| world_notices(*seed)).map(seed_named)
            }
            Layer::Chaos => seeds.find(|seed| cas_chaos::run(*seed).is_err()).map(seed_named),
            Layer::Model => bug.and_then(|bug| bug.model).and_then(model_notices),
        }
    }
}

fn conformance_notices() -> Option<String> {
    on_store("memory", Memory::default, true)
        .or_else(|| on_store("cas", Simulated::default, true))
        .or_else(|| on_store("embedded", OnDisk::default, false))
}

/// The first test of the suite that fails on a store.
fn on_store<H: Harness>(name: &str, harness: fn() -> H, virtual_time: bool) -> Option<String> {
    let failed = conformance::all::<H>().into_iter().find(|test| {
        let harness = harness();
        let run = async || (test.run)(&harness).await;
        match virtual_time {
            true => quietly(LIMIT, run).is_err(),
            false => quietly_with_threads(LIMIT, run).is_err(),
        }
    });
    failed.map(|test| format!("{name}, {}", test.name))
}

/// All single points, then the first pairs of every kind.
fn crash_points_notice() -> Option<String> {
    let singles = Settings {
        cases: Case::ALL.to_vec(),
        blows: Blow::ALL.to_vec(),
        dropped: true,
        ..nothing()
    };
    explored(&singles)
        .or_else(|| explored(&Settings { pairs: PAIRS, blows: vec![Blow::Crash], ..singles }))
}

fn explored(settings: &Settings) -> Option<String> {
    explore(settings, |_| {}).err().map(|violation| violation.place)
}

fn nothing() -> Settings {
    Settings {
        cases: Vec::new(),
        blows: Vec::new(),
        pairs: 0,
        triples: 0,
        dropped: false,
        power: false,
    }
}

fn world_notices(seed: u64) -> bool {
    panics::quietly(|| sim::run(seed, &sim::Settings::default())).violation.is_some()
}

fn model_notices(name: &str) -> Option<String> {
    let bug = model::bug_named(name).expect("the table names bugs of the model");
    let report = model::find(&bug, &model::Limits::default());
    match report.verdict {
        model::Verdict::Violated(violation) => {
            Some(format!("{}, {} states", violation_name(&violation), report.states))
        }
        _ => None,
    }
}

fn violation_name(violation: &model::Violation) -> String {
    violation.property.to_string()
}

fn seed_named(seed: u64) -> String {
    format!("seed {seed}")
}
