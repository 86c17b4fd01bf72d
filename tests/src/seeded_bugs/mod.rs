//! Deliberate bugs, and which layers of the tests catch them.
//!
//! A test that has never failed may be one that cannot. So the product can be told to break one of
//! its rules ([`rpc::testing::Rule`], with the feature `test-util` only), and every layer that runs
//! the code of that rule is run until it notices. A bug that fewer than two layers catch is a hole in
//! the tests. `docs/seeded-bugs.md` has what each bug is and the table of a run.
//!
//! Rules are broken on the calling thread, so every layer runs there, contained: a panic is caught,
//! and whatever does not end is ended by its bound of virtual time and of steps.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | [`examine`], and what it reports |
//! | `bugs.rs` | the [`Bug`]s |
//! | `layers.rs` | the [`Layer`]s |

mod bugs;
mod layers;

use std::time::{Duration, Instant};

use rpc::testing::Broken;

pub use self::bugs::{BUGS, Bug, Code, MANNERS};
pub use self::layers::{Layer, Scenario};

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The layers, in this order.
    pub layers: Vec<Layer>,
    /// How many seeds a layer that draws its worlds is given for a bug.
    pub seeds: u64,
    /// By how many layers a bug is to be caught until no more are asked.
    pub enough: usize,
    /// All scenarios.
    pub scenarios: &'static [Scenario],
}

/// What a layer says of a bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// It does not run the code of that rule.
    NotThere,
    /// Enough other layers had caught the bug.
    NotAsked,
    /// It has noticed: the seed, or the place, and how long it took.
    Caught(String, Duration),
    /// It has not.
    Missed(Duration),
}

/// What became of one bug.
#[derive(Clone, Debug)]
pub struct Row {
    /// The bug.
    pub bug: &'static Bug,
    /// What each layer says.
    pub cells: Vec<(Layer, Cell)>,
}

impl Row {
    /// How many layers have caught it.
    #[must_use]
    pub fn catches(&self) -> usize {
        self.cells.iter().filter(|(_, cell)| matches!(cell, Cell::Caught(..))).count()
    }
}

/// How many layers must catch a bug.
pub const MUST_CATCH: usize = 2;

/// Runs the layers on one bug.
#[must_use]
pub fn examine(bug: &'static Bug, settings: &Settings) -> Row {
    let mut row = Row { bug, cells: Vec::new() };
    for layer in &settings.layers {
        let cell = if !layer.runs(bug) {
            Cell::NotThere
        } else if row.catches() >= settings.enough {
            Cell::NotAsked
        } else {
            let began = Instant::now();
            let broken = Broken::rule(bug.rule);
            let noticed = layer.notices(Some(bug), 0..settings.seeds, settings.scenarios);
            drop(broken);
            match noticed {
                Some(what) => Cell::Caught(what, began.elapsed()),
                None => Cell::Missed(began.elapsed()),
            }
        };
        row.cells.push((*layer, cell));
    }
    row
}

/// Runs a layer on the code as it is, on these seeds. Whatever it notices is a false alarm, or a bug
/// that nobody has seeded.
#[must_use]
pub fn false_alarm(
    layer: Layer,
    seeds: std::ops::Range<u64>,
    scenarios: &'static [Scenario],
) -> Option<String> {
    layer.notices(None, seeds, scenarios)
}
