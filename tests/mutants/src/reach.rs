//! Which tests come by which mutants.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use crate::build::{Binary, Woven};
use crate::run::{self, End};

/// The tests, and what each comes by.
pub(crate) struct Reach<'a> {
    pub(crate) binaries: &'a [Binary],
    pub(crate) tests: Vec<Test>,
    by_mutant: HashMap<u32, Vec<usize>>,
}

/// A test that passes with all switches off.
pub(crate) struct Test {
    pub(crate) binary: usize,
    pub(crate) name: String,
    pub(crate) takes: Duration,
}

#[derive(Clone, Deserialize, Serialize)]
struct Seen {
    passed: bool,
    #[serde(default)]
    ended: bool,
    seconds: f64,
    mutants: Vec<u32>,
}

impl<'a> Reach<'a> {
    /// Runs each test once, but for those whose program is as it was.
    pub(crate) fn measure(
        woven: &'a Woven,
        longest: Duration,
        place: &Path,
    ) -> Result<Reach<'a>, String> {
        let kept = place.join("reach.json");
        let known: HashMap<String, Seen> = fs::read(&kept)
            .ok()
            .and_then(|it| serde_json::from_slice(&it).ok())
            .unwrap_or_default();
        let mut all = Vec::new();
        for (nth, binary) in woven.binaries.iter().enumerate() {
            let version = version(binary)?;
            let names = names(binary)?;
            all.extend(names.into_iter().map(|name| (format!("{version} {name}"), nth, name)));
        }
        let seen = Mutex::new(known);
        let bar = ProgressBar::new(all.len() as u64);
        let next = Mutex::new(all.iter());
        let look = |worker: usize| -> Result<(), String> {
            while let Some((key, binary, name)) = { next.lock().expect("no panic").next() } {
                bar.inc(1);
                if !seen.lock().expect("no panic").contains_key(key) {
                    let looked = look_at(&woven.binaries[*binary], name, longest, place, worker)?;
                    seen.lock().expect("no panic").insert(key.clone(), looked);
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let workers = [0, 1, 2].map(|worker| scope.spawn(move || look(worker)));
            workers.into_iter().try_for_each(|worker| worker.join().expect("no panic"))
        })?;
        bar.finish_and_clear();
        let seen = seen.into_inner().expect("no panic");
        let now: HashMap<_, _> = all.iter().map(|(key, ..)| (key, &seen[key])).collect();
        let text = serde_json::to_vec(&now).map_err(|error| error.to_string())?;
        fs::write(&kept, text).map_err(|error| error.to_string())?;
        Ok(Reach::of(&woven.binaries, &all, &seen))
    }

    fn of(
        binaries: &'a [Binary],
        all: &[(String, usize, String)],
        seen: &HashMap<String, Seen>,
    ) -> Reach<'a> {
        let mut reach = Reach { binaries, tests: Vec::new(), by_mutant: HashMap::new() };
        for (key, binary, name) in all {
            let seen = &seen[key];
            if !seen.passed {
                let why = if seen.ended { "it does not pass" } else { "it takes too long" };
                eprintln!("left out, for {why}: {name} of {}", binaries[*binary].name);
                continue;
            }
            for id in &seen.mutants {
                reach.by_mutant.entry(*id).or_default().push(reach.tests.len());
            }
            let takes = Duration::from_secs_f64(seen.seconds);
            reach.tests.push(Test { binary: *binary, name: name.clone(), takes });
        }
        reach
    }

    /// The tests that come by this mutant.
    pub(crate) fn tests_of(&self, id: u32) -> Vec<&Test> {
        self.by_mutant.get(&id).into_iter().flatten().map(|nth| &self.tests[*nth]).collect()
    }
}

fn look_at(
    binary: &Binary,
    name: &str,
    longest: Duration,
    place: &Path,
    worker: usize,
) -> Result<Seen, String> {
    let reached = std::path::absolute(place.join(format!("reached-{worker}")))
        .map_err(|error| error.to_string())?;
    let _ = fs::remove_file(&reached);
    let variable = ("RPC_MUTANTS_REACHED", reached.to_str().unwrap_or_default());
    let log = place.join(format!("log-{worker}"));
    let (end, took) = run::tests(binary, &[name], variable, longest, &log)?;
    let text = fs::read_to_string(&reached).unwrap_or_default();
    Ok(Seen {
        passed: end == End::Passed,
        ended: end != End::TimedOut,
        seconds: took.as_secs_f64(),
        mutants: text.lines().filter_map(|line| line.parse().ok()).collect(),
    })
}

fn version(binary: &Binary) -> Result<String, String> {
    let about = fs::metadata(&binary.path).map_err(|error| error.to_string())?;
    let changed = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Ok(format!("{} {} {:?}", binary.path.display(), about.len(), changed))
}

fn names(binary: &Binary) -> Result<Vec<String>, String> {
    let output = Command::new(&binary.path)
        .args(["--list", "--format=terse"])
        .output()
        .map_err(|error| format!("{}: {error}", binary.name))?;
    let ignored = Command::new(&binary.path)
        .args(["--list", "--format=terse", "--ignored"])
        .output()
        .map_err(|error| format!("{}: {error}", binary.name))?;
    let ignored = String::from_utf8_lossy(&ignored.stdout).into_owned();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let run = text.lines().filter(|line| !ignored.lines().any(|other| other == *line));
    Ok(run.filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}
