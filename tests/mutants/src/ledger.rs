//! What is known of each mutant.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::list::Mutant;

/// Where survivors are accounted for: in rows of tables, their keys between backticks.
const ACCOUNTS: &str = "docs/mutation-survivors.md";

/// What became of a mutant.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// By this test.
    Caught(String),
    /// By tests of this program that did not end.
    TimedOut(String),
    /// No test notices it.
    Missed,
    /// No test comes by.
    Unreached,
    /// It does not compile: what the compiler says.
    Unbuilt(String),
}

/// The verdicts, by key.
pub(crate) struct Ledger {
    path: PathBuf,
    verdicts: BTreeMap<String, Verdict>,
}

#[derive(Default)]
struct Counts {
    mutants: usize,
    caught: usize,
    timed_out: usize,
    unbuilt: usize,
    accounted: usize,
    open: usize,
    unasked: usize,
}

impl Ledger {
    pub(crate) fn open(place: &Path) -> Result<Ledger, String> {
        fs::create_dir_all(place.join("tree")).map_err(|error| error.to_string())?;
        let path = place.join("verdicts.json");
        let verdicts = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| error.to_string())?,
            Err(_) => BTreeMap::new(),
        };
        Ok(Ledger { path, verdicts })
    }

    /// Whether there is something to ask about this mutant.
    pub(crate) fn is_open(&self, mutant: &Mutant) -> bool {
        !matches!(
            self.verdicts.get(&mutant.key),
            Some(Verdict::Caught(_) | Verdict::TimedOut(_) | Verdict::Unbuilt(_))
        )
    }

    /// Those that did not compile the last time.
    pub(crate) fn known_unbuilt(&self, listed: &[Mutant]) -> HashMap<u32, String> {
        let said = |mutant: &Mutant| match self.verdicts.get(&mutant.key)? {
            Verdict::Unbuilt(text) => Some((mutant.id, text.clone())),
            _ => None,
        };
        listed.iter().filter_map(said).collect()
    }

    pub(crate) fn enter(&mut self, mutant: &Mutant, verdict: Verdict) -> Result<(), String> {
        self.verdicts.insert(mutant.key.clone(), verdict);
        self.save()
    }

    pub(crate) fn unbuilt(
        &mut self,
        listed: &[Mutant],
        refused: &HashMap<u32, String>,
    ) -> Result<(), String> {
        for mutant in listed {
            if let Some(text) = refused.get(&mutant.id) {
                self.verdicts.insert(mutant.key.clone(), Verdict::Unbuilt(text.clone()));
            }
        }
        self.save()
    }

    fn save(&self) -> Result<(), String> {
        let text = serde_json::to_vec_pretty(&self.verdicts).map_err(|error| error.to_string())?;
        fs::write(&self.path, text).map_err(|error| error.to_string())
    }

    /// Prints the table, and what is not accounted for; whether there is no such thing.
    pub(crate) fn report(&self, listed: &[Mutant]) -> Result<bool, String> {
        // In a table a bar is written with a backslash.
        let text = fs::read_to_string(ACCOUNTS).unwrap_or_default().replace("\\|", "|");
        let accounts: HashSet<&str> = text.split('`').skip(1).step_by(2).collect();
        let mut folders: BTreeMap<String, Counts> = BTreeMap::new();
        let mut open = 0;
        for mutant in listed {
            let folder = mutant.file.rsplit_once('/').map_or("", |(folder, _)| folder);
            let counts = folders.entry(folder.to_owned()).or_default();
            counts.mutants += 1;
            match self.verdicts.get(&mutant.key) {
                None => counts.unasked += 1,
                Some(Verdict::Caught(_)) => counts.caught += 1,
                Some(Verdict::TimedOut(_)) => counts.timed_out += 1,
                Some(Verdict::Unbuilt(_)) => counts.unbuilt += 1,
                Some(Verdict::Missed | Verdict::Unreached) => {
                    if accounts.contains(mutant.key.as_str()) {
                        counts.accounted += 1;
                    } else {
                        counts.open += 1;
                        open += 1;
                        println!("not noticed: {} `{}`", mutant.name, mutant.key);
                    }
                }
            }
        }
        println!(
            "| folder | mutants | caught | timed out | do not compile | accounted for | open | not asked |"
        );
        println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
        for (folder, it) in folders {
            println!(
                "| `{folder}` | {} | {} | {} | {} | {} | {} | {} |",
                it.mutants, it.caught, it.timed_out, it.unbuilt, it.accounted, it.open, it.unasked
            );
        }
        Ok(open == 0)
    }
}
