//! The shape of the runtime: its modules form a graph without cycles, and the protocol knows no
//! runtime, no clock, no socket and no randomness of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What the sans-IO modules must not name.
const IMPURE: [&str; 10] = [
    "tokio",
    "Instant",
    "SystemTime",
    "rand::",
    "getrandom",
    "std::net",
    "std::io",
    "std::fs",
    "std::thread",
    "std::env",
];

/// The modules that must name none of it.
const PURE: [&str; 4] = ["wire", "protocol", "id", "time"];

/// The one place with leave to read a clock, and the generator that is seeded from outside.
const LEAVES: [(&str, &str); 4] = [
    ("time.rs", "let since_epoch = std::time::SystemTime::now()"),
    ("time.rs", ".duration_since(std::time::UNIX_EPOCH)"),
    ("protocol/client/mod.rs", "rng: fastrand::Rng,"),
    ("protocol/client/mod.rs", "rng: fastrand::Rng::with_seed(seed),"),
];

/// A module with the modules that it uses, each with a file that does.
type Graph = BTreeMap<String, BTreeMap<String, String>>;

#[test]
fn modules_form_no_cycle() {
    let graph = graph();
    assert!(graph.len() > 10, "the source was found: {:?}", graph.keys());
    assert!(graph["protocol"].contains_key("wire"), "and its dependencies");
    for module in graph.keys() {
        if let Some(cycle) = path(&graph, module, module, &mut BTreeSet::new()) {
            let steps: Vec<String> = cycle
                .windows(2)
                .map(|step| format!("{} uses {} ({})", step[0], step[1], graph[&step[0]][&step[1]]))
                .collect();
            panic!(
                "the modules of rpc-runtime depend on each other in a circle:\n{}",
                steps.join("\n")
            );
        }
    }
}

#[test]
fn the_protocol_is_pure() {
    let mut looked_at = 0;
    for source in sources().iter().filter(|source| PURE.contains(&&source.module[..])) {
        for line in &source.lines {
            let has_leave = LEAVES.contains(&(&source.name[..], line.trim()));
            let found = IMPURE.iter().find(|word| line.contains(**word));
            assert!(
                has_leave || found.is_none(),
                "{} must be told what `{}` would tell it: {}",
                source.name,
                found.unwrap_or(&""),
                line.trim()
            );
            looked_at += 1;
        }
    }
    assert!(looked_at > 1_000, "the source was found");
}

#[test]
fn a_cycle_would_be_found() {
    let edge = |to: &str| BTreeMap::from([(to.to_owned(), "file.rs".to_owned())]);
    let graph: Graph = [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]
        .map(|(from, to)| (from.to_owned(), edge(to)))
        .into();
    let found = path(&graph, "a", "a", &mut BTreeSet::new()).unwrap();
    assert_eq!(found, ["a", "b", "c", "a"]);
    assert_eq!(path(&graph, "d", "d", &mut BTreeSet::new()), None);
    assert_eq!(
        names_in("use crate::{id, wire::{self, Reader}, time::Time};"),
        ["id", "wire", "time"]
    );
    assert_eq!(names_in("let x: crate::store::KeyError = crate::Call;"), ["store", "Call"]);
}

/// One source file without comments and tests.
struct Source {
    /// Relative to `src`.
    name: String,
    /// The top-level module that it belongs to.
    module: String,
    lines: Vec<String>,
}

fn graph() -> Graph {
    let sources = sources();
    let root = sources.iter().find(|source| source.name == "lib.rs").expect("every crate has one");
    let exported = root_exports(root);
    let mut graph = Graph::new();
    for source in sources.iter().filter(|source| source.name != "lib.rs") {
        let uses = graph.entry(source.module.clone()).or_default();
        for name in names_in(&source.lines.join("\n")) {
            let module = exported.get(&name).cloned().unwrap_or(name);
            if module != source.module {
                uses.entry(module).or_insert_with(|| source.name.clone());
            }
        }
    }
    graph
}

/// A way from one module to another, if there is one.
fn path(graph: &Graph, from: &str, to: &str, seen: &mut BTreeSet<String>) -> Option<Vec<String>> {
    for next in graph.get(from)?.keys() {
        if next == to {
            return Some(vec![from.to_owned(), to.to_owned()]);
        }
        if seen.insert(next.clone())
            && let Some(mut rest) = path(graph, next, to, seen)
        {
            rest.insert(0, from.to_owned());
            return Some(rest);
        }
    }
    None
}

/// What follows `crate::`, one level deep.
fn names_in(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => names.push(identifier(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut begins = true;
                for (at, letter) in group.char_indices() {
                    match letter {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => begins = true,
                        _ if begins && depth == 0 && letter.is_alphabetic() => {
                            names.push(identifier(&group[at..]));
                            begins = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    names
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// Which module each name that the crate exports at its root comes from.
fn root_exports(root: &Source) -> BTreeMap<String, String> {
    let code = root.lines.join("\n");
    let mut exported = BTreeMap::new();
    for statement in code.split(';').map(str::trim) {
        let Some(path) = statement.strip_prefix("pub use ") else { continue };
        let Some((module, names)) = path.split_once("::") else { continue };
        for name in names.trim_matches(['{', '}', '\n', ' ']).split(',') {
            exported.insert(name.trim().to_owned(), module.to_owned());
        }
    }
    exported
}

fn sources() -> Vec<Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rpc-runtime/src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    let sources = files.iter().map(|file| {
        let name = file.strip_prefix(&src).expect("it lies there").to_string_lossy().into_owned();
        let module = identifier(&name);
        let text = fs::read_to_string(file).expect("the source can be read");
        Source { name, module, lines: code_of(&text) }
    });
    sources.collect()
}

/// All source files but those that only tests compile.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the entry can be read").path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_stem().expect("an entry has a name").to_string_lossy();
        if name.ends_with("tests") {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The lines that are neither comments nor tests; tests stand last in a file.
fn code_of(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        pair[0].trim() == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
    });
    let code = &lines[..tests.unwrap_or(lines.len())];
    code.iter()
        .filter(|line| !line.trim().starts_with("//"))
        .map(|line| (*line).to_owned())
        .collect()
}
