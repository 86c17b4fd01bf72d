//! What happened on the network, to assert on and to print.

use std::fmt::Write as _;
use std::time::Duration;

use rpc::testing::Direction;

use super::frame::{Fate, Frame};

/// Everything that happened on a network, in order.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    events: Vec<Event>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A frame was sent.
    Sent(Frame, Fate),
    /// Something else: a cut, a server that stopped.
    Note(Duration, String),
}

/// The width of a column of the diagram.
const COLUMN: usize = 11;

impl Trace {
    pub(super) fn push(&mut self, event: Event) {
        self.events.push(event);
    }

    /// All frames that were sent, also those that never arrived.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.events.iter().filter_map(|event| match event {
            Event::Sent(frame, _) => Some(frame),
            Event::Note(..) => None,
        })
    }

    /// How many frames of a kind were sent.
    pub fn count(&self, mut is_meant: impl FnMut(&Frame) -> bool) -> usize {
        self.frames().filter(|frame| is_meant(frame)).count()
    }

    /// The first frame of a kind.
    pub fn find(&self, mut is_meant: impl FnMut(&Frame) -> bool) -> Option<&Frame> {
        self.frames().find(|frame| is_meant(frame))
    }

    /// The sends of a call, in order, as server and attempt.
    #[must_use]
    pub fn sends(&self, seq: u64) -> Vec<(&str, u32)> {
        let requests = self.frames().filter(|frame| frame.is_request(seq));
        requests
            .map(|frame| (frame.server.as_str(), frame.attempt().expect("a request has one")))
            .collect()
    }

    /// A sequence diagram, one line an event: clients on the left, servers on the right.
    #[must_use]
    pub fn diagram(&self) -> String {
        let mut ends: Vec<&str> = Vec::new();
        for end in self.frames().map(|frame| frame.client.as_str()) {
            if !ends.contains(&end) {
                ends.push(end);
            }
        }
        let mut servers: Vec<&str> = self.frames().map(|frame| frame.server.as_str()).collect();
        servers.sort_unstable();
        servers.dedup();
        ends.extend(servers);
        let mut out = String::from("          ");
        for end in &ends {
            let _infallible = write!(out, "{end:<COLUMN$}");
        }
        out.push('\n');
        for event in &self.events {
            let _infallible = match event {
                Event::Note(at, text) => writeln!(out, "{:>8.3}  -- {text}", at.as_secs_f64()),
                Event::Sent(frame, fate) => {
                    let at = frame.at.as_secs_f64();
                    let lane = lane(&ends, frame, *fate);
                    writeln!(out, "{at:>8.3}  {lane}  {frame}{}", ending(*fate))
                }
            };
        }
        out
    }
}

/// The lines of all ends, and the arrow of one frame across them.
fn lane(ends: &[&str], frame: &Frame, fate: Fate) -> String {
    let place = |name: &str| ends.iter().position(|end| *end == name).unwrap_or(0) * COLUMN;
    let (left, right) = (place(&frame.client), place(&frame.server));
    let arrives = !matches!(fate, Fate::Lose | Fate::CutBefore | Fate::CutInside);
    let mut cells: Vec<char> = vec![' '; ends.len() * COLUMN];
    for index in 0..ends.len() {
        cells[index * COLUMN] = '|';
    }
    cells[left + 1..right].fill('-');
    let (tip, head) = match frame.direction {
        Direction::ToServer => (right - 1, '>'),
        Direction::ToClient => (left + 1, '<'),
    };
    cells[tip] = if arrives { head } else { 'x' };
    cells.into_iter().collect()
}

fn ending(fate: Fate) -> String {
    match fate {
        Fate::Deliver => String::new(),
        other => format!("   [{other:?}]"),
    }
}
