//! What happened in a world, line by line, and as a sequence diagram.

use std::fmt::Write as _;

use super::fault::Fault;

/// What happened, if it is recorded.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    lines: Option<Vec<(u64, Line)>>,
}

/// One end of a connection; as a direction, the end that a frame goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Client,
    Server,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub(super) enum Line {
    /// A frame was sent.
    Frame { client: u8, server: u8, to: End, text: String, fault: Option<Fault> },
    /// An operation of the store was asked for.
    Operation { server: u8, text: String, fault: Option<Fault> },
    /// A caller was told something, or asked for it.
    Call { client: u8, text: String },
    /// Anything else.
    Note(String),
}

impl Trace {
    pub(super) fn new(record: bool) -> Trace {
        Trace { lines: record.then(Vec::new) }
    }

    pub(super) fn push(&mut self, now: u64, line: impl FnOnce() -> Line) {
        if let Some(lines) = &mut self.lines {
            lines.push((now, line()));
        }
    }

    /// A sequence diagram in mermaid's language; empty if nothing was recorded.
    pub(super) fn diagram(&self, clients: usize, servers: usize) -> String {
        let Some(lines) = &self.lines else { return String::new() };
        let mut out = String::from("sequenceDiagram\n");
        for client in 0..clients {
            let _infallible = writeln!(out, "    participant c{client}");
        }
        for server in 0..servers {
            let _infallible = writeln!(out, "    participant s{server}");
        }
        out.push_str("    participant store\n");
        for (now, line) in lines {
            let _infallible = match line {
                Line::Frame { client, server, to, text, fault } => {
                    let (from, to) = match to {
                        End::Server => (format!("c{client}"), format!("s{server}")),
                        End::Client => (format!("s{server}"), format!("c{client}")),
                    };
                    writeln!(out, "    {from}{}{to}: {now} {text}{}", arrow(*fault), why(*fault))
                }
                Line::Operation { server, text, fault } => {
                    let arrow = arrow(*fault);
                    writeln!(out, "    s{server}{arrow}store: {now} {text}{}", why(*fault))
                }
                Line::Call { client, text } => {
                    writeln!(out, "    Note over c{client}: {now} {}", clean(text))
                }
                Line::Note(text) => {
                    let over = participants(text);
                    writeln!(out, "    Note over {over}: {now} {}", clean(text))
                }
            };
        }
        out
    }
}

/// Whom a remark is about.
fn participants(text: &str) -> &str {
    let first = text.split(' ').next().unwrap_or_default();
    let is_process = first.len() == 2
        && (first.starts_with('s') || first.starts_with('c'))
        && first.as_bytes()[1].is_ascii_digit();
    if is_process { first } else { "store" }
}

/// Mermaid ends a text at a semicolon and a line at its end.
fn clean(text: &str) -> String {
    text.replace([';', '\n', '#'], " ")
}

fn arrow(fault: Option<Fault>) -> &'static str {
    match fault {
        Some(Fault::Loss | Fault::CutBefore | Fault::CutInside) => "-x",
        _ => "->>",
    }
}

fn why(fault: Option<Fault>) -> String {
    fault.map_or(String::new(), |fault| format!(" [{}]", fault.name()))
}
