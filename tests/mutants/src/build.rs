//! Builds the tests over the woven sources, without the mutants that do not compile.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::list::Mutant;
use crate::tree::{self, Places};

const WHAT: [&str; 4] = [
    "--profile=mutants",
    "--locked",
    "--features=rpc-runtime/cas,rpc-runtime/test-util",
    "--message-format=json",
];

/// Tests that show nothing about a mutant, or need another build.
const LEFT_OUT: [&str; 3] = ["chaos", "macros_ui", "readme"];

/// The tests, with a switch for each mutant.
pub(crate) struct Woven {
    pub(crate) switches: HashSet<u32>,
    /// What the compiler says to the others.
    pub(crate) refused: HashMap<u32, String>,
    pub(crate) binaries: Vec<Binary>,
}

/// The tests of one file.
pub(crate) struct Binary {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Where they run.
    pub(crate) directory: PathBuf,
}

/// Weaves and builds; each mutant that does not compile is taken out, until all is well.
pub(crate) fn woven(
    place: &Path,
    listed: &[Mutant],
    packages: &[String],
    mut refused: HashMap<u32, String>,
) -> Result<Woven, String> {
    let tree = std::path::absolute(place.join("tree")).map_err(|error| error.to_string())?;
    let target = std::path::absolute(place.join("build")).map_err(|error| error.to_string())?;
    loop {
        let in_it: Vec<_> = listed.iter().filter(|it| !refused.contains_key(&it.id)).collect();
        let places = tree::write(&tree, &in_it)?;
        let messages = cargo(packages, &tree, &target)?;
        let wrong = complaints(&messages, &places)?;
        eprintln!("{} mutants, {} of them do not compile", in_it.len(), wrong.len());
        if wrong.is_empty() {
            let switches: HashSet<u32> = places.values().flatten().map(|(_, id)| *id).collect();
            return Ok(Woven { switches, refused, binaries: binaries(&messages) });
        }
        refused.extend(wrong);
    }
}

fn cargo(packages: &[String], tree: &Path, target: &Path) -> Result<Vec<Value>, String> {
    let output = Command::new("cargo")
        .args(["test", "--no-run"])
        .args(packages.iter().map(|package| format!("--package={package}")))
        .args(WHAT)
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", target)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(|error| error.to_string())).collect()
}

/// The mutants that the compiler complains about; an error if it complains about something else.
fn complaints(messages: &[Value], places: &Places) -> Result<HashMap<u32, String>, String> {
    let mut wrong = HashMap::new();
    let mut other = Vec::new();
    for message in messages.iter().map(|message| &message["message"]) {
        if message["level"] != "error" {
            continue;
        }
        let spans = message["spans"].as_array().map_or(&[][..], Vec::as_slice);
        let (primary, secondary): (Vec<&Value>, Vec<&Value>) =
            spans.iter().partition(|span| span["is_primary"] == true);
        let mut blamed = of(&primary, places);
        if blamed.is_empty() {
            blamed = of(&secondary, places);
        }
        let text = message["message"].as_str().unwrap_or_default().to_owned();
        if blamed.is_empty() && !spans.is_empty() {
            other.push(message["rendered"].as_str().unwrap_or_default().to_owned());
        }
        wrong.extend(blamed.into_iter().map(|id| (id, text.clone())));
    }
    if wrong.is_empty() && !other.is_empty() {
        return Err(other.concat());
    }
    Ok(wrong)
}

/// The mutants whose text these spans touch.
fn of(spans: &[&Value], places: &Places) -> Vec<u32> {
    let mut ids = Vec::new();
    for span in spans {
        let at = |name: &str| span[name].as_u64().map_or(0, |at| at as usize);
        let (start, end) = (at("byte_start"), at("byte_end"));
        let file = span["file_name"].as_str().unwrap_or_default();
        for (range, id) in places.get(file).into_iter().flatten() {
            if range.start < end && start < range.end && (start >= range.start || end <= range.end)
            {
                ids.push(*id);
            }
        }
    }
    ids
}

fn binaries(messages: &[Value]) -> Vec<Binary> {
    let mut binaries = Vec::new();
    for message in messages {
        let target = &message["target"];
        let name = target["name"].as_str().unwrap_or_default();
        let kind = target["kind"][0].as_str().unwrap_or_default();
        let Some(path) = message["executable"].as_str() else { continue };
        let is_test = message["profile"]["test"] == true && kind != "bin";
        if !is_test || LEFT_OUT.contains(&name) {
            continue;
        }
        let manifest = Path::new(message["manifest_path"].as_str().unwrap_or_default());
        binaries.push(Binary {
            name: name.to_owned(),
            path: path.into(),
            directory: manifest.parent().unwrap_or(manifest).to_owned(),
        });
    }
    binaries
}
