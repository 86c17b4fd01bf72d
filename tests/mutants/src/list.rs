//! The mutants, as `cargo mutants` lists them.

use std::collections::HashMap;
use std::process::Command;

use serde::Deserialize;

/// One change of the sources.
#[derive(Clone, Debug)]
pub(crate) struct Mutant {
    /// Its switch.
    pub(crate) id: u32,
    /// What it is called from one version of the sources to the next: no line, but an ordinal if
    /// several would be called the same.
    pub(crate) key: String,
    /// What `cargo mutants` calls it.
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) kind: Kind,
    /// Where the text that it replaces begins and ends: line and column, from 1.
    pub(crate) start: (usize, usize),
    pub(crate) end: (usize, usize),
    pub(crate) replacement: String,
}

/// What a mutant changes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) enum Kind {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
    StructField,
}

#[derive(Deserialize)]
struct Line {
    name: String,
    file: String,
    genre: Kind,
    replacement: String,
    span: Span,
}

#[derive(Deserialize)]
struct Span {
    start: Place,
    end: Place,
}

#[derive(Deserialize)]
struct Place {
    line: usize,
    column: usize,
}

/// All of them, in the order of the list.
pub(crate) fn mutants() -> Result<Vec<Mutant>, String> {
    let output = Command::new("cargo")
        .args(["mutants", "--list", "--json"])
        .output()
        .map_err(|error| format!("cargo mutants: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "`cargo mutants --list` failed (`cargo install cargo-mutants --locked`):\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let lines: Vec<Line> = serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
    let mut seen = HashMap::new();
    Ok((1..)
        .zip(lines)
        .map(|(id, line)| {
            let what = line.name.splitn(4, ':').nth(3).unwrap_or(&line.name).trim();
            let plain = format!("{}: {what}", line.file);
            let count = seen.entry(plain.clone()).and_modify(|count| *count += 1).or_insert(1);
            Mutant {
                id,
                key: if *count == 1 { plain } else { format!("{plain} ({count})") },
                name: line.name,
                file: line.file,
                kind: line.genre,
                start: (line.span.start.line, line.span.start.column),
                end: (line.span.end.line, line.span.end.column),
                replacement: line.replacement,
            }
        })
        .collect())
}
