//! A copy of the sources, with the mutants in it.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::list::Mutant;
use crate::weave;

const LIBRARY: &str = "rpc-runtime/src/lib.rs";
const SWITCH: &str = "rpc-runtime/src/mutant.rs";

/// Where the text of each mutant stands, by file.
pub(crate) type Places = BTreeMap<String, Vec<(Range<usize>, u32)>>;

/// Writes the sources into `tree`, with these mutants; what is as it was keeps its time.
pub(crate) fn write(tree: &Path, mutants: &[&Mutant]) -> Result<Places, String> {
    let mut by_file: BTreeMap<&str, Vec<&Mutant>> = BTreeMap::new();
    for mutant in mutants {
        by_file.entry(&mutant.file).or_default().push(mutant);
    }
    let mut places = Places::new();
    let mut written = HashSet::new();
    for file in sources()? {
        let Ok(bytes) = fs::read(&file) else { continue };
        let bytes = match by_file.get(file.as_str()) {
            Some(mutants) => {
                let text = String::from_utf8(bytes).map_err(|error| format!("{file}: {error}"))?;
                let woven = weave::weave(&text, mutants).map_err(|e| format!("{file}: {e}"))?;
                places.insert(file.clone(), woven.places);
                woven.text.into_bytes()
            }
            None if file == LIBRARY => [bytes.as_slice(), b"\nmod mutant;\n"].concat(),
            None => bytes,
        };
        written.insert(put(tree, &file, &bytes)?);
    }
    written.insert(put(tree, SWITCH, include_bytes!("switch.txt"))?);
    remove_all_but(tree, &written)?;
    Ok(places)
}

fn sources() -> Result<Vec<String>, String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output()
        .map_err(|error| format!("git: {error}"))?;
    let names = String::from_utf8(output.stdout).map_err(|error| error.to_string())?;
    Ok(names.lines().map(str::to_owned).collect())
}

fn put(tree: &Path, file: &str, bytes: &[u8]) -> Result<PathBuf, String> {
    let path = tree.join(file);
    if fs::read(&path).is_ok_and(|old| old == bytes) {
        return Ok(path);
    }
    let written =
        fs::create_dir_all(path.parent().unwrap_or(tree)).and_then(|()| fs::write(&path, bytes));
    written.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn remove_all_but(directory: &Path, kept: &HashSet<PathBuf>) -> Result<(), String> {
    let entries = fs::read_dir(directory).map_err(|error| error.to_string())?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            remove_all_but(&path, kept)?;
        } else if !kept.contains(&path) {
            fs::remove_file(&path).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}
