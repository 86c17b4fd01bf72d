//! The steps of a server, and the names of the points between them.

use std::fmt;
use std::str::FromStr;

use rpc::testing::{Direction, FrameView};

use super::Case;

/// What a server does that anybody else can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// It reads a document.
    Get,
    /// It creates a document.
    Insert,
    /// It replaces a document.
    Replace,
    /// It removes a document.
    Remove,
    /// It is greeted.
    Hello,
    /// It welcomes.
    Welcome,
    /// It is sent a request.
    Request,
    /// It answers.
    Response,
    /// It is told what has arrived.
    Ack,
    /// It is told that nobody waits.
    Cancel,
    /// It is told that a session is over.
    Bye,
    /// Any other frame, either way.
    OtherFrame,
    /// The engine changes its file.
    DiskWrite,
    /// The engine waits for its file.
    DiskSync,
    /// A future on the way of a commit waits.
    Await,
}

/// Before a step or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// It does not happen any more.
    Before,
    /// It has happened, and nothing after it.
    After,
}

/// What happens at a point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blow {
    /// The server crashes, and comes back with empty tables a little later.
    #[default]
    Crash,
    /// The server stands still, and goes on when the call has been answered by another.
    Stall,
    /// The caller drops the call while the server is at this step.
    Drop,
    /// The store does not say whether it did it (a read: says that it is unavailable); a frame is
    /// lost (before) or comes twice (after).
    Trouble,
    /// The server stands still until the session is long over and all of it was collected, and its
    /// client has gone. A write that is on its way already is not held up so long.
    Outlive,
}

/// A point between the steps of one server since the blow before: `2 × step` before the step,
/// `2 × step + 1` after it.
pub(super) type Point = u32;

/// Names one run: a case, what happens, and at which points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What is done.
    pub case: Case,
    /// What happens to it.
    pub blow: Blow,
    /// Where, each counted from the one before.
    pub points: Vec<Point>,
}

impl Step {
    /// What a run of everything must have hit.
    pub const MUST_BE_HIT: [Step; 14] = [
        Step::Get,
        Step::Insert,
        Step::Replace,
        Step::Remove,
        Step::Hello,
        Step::Welcome,
        Step::Request,
        Step::Response,
        Step::Ack,
        Step::Cancel,
        Step::Bye,
        Step::DiskWrite,
        Step::DiskSync,
        Step::Await,
    ];

    pub(super) fn of(direction: Direction, frame: &FrameView) -> Step {
        match (direction, frame) {
            (Direction::ToServer, FrameView::Hello { .. }) => Step::Hello,
            (Direction::ToServer, FrameView::Request { .. }) => Step::Request,
            (Direction::ToServer, FrameView::Ack { .. }) => Step::Ack,
            (Direction::ToServer, FrameView::Cancel { .. }) => Step::Cancel,
            (Direction::ToServer, FrameView::Bye) => Step::Bye,
            (Direction::ToClient, FrameView::Welcome { .. }) => Step::Welcome,
            (Direction::ToClient, FrameView::Response { .. }) => Step::Response,
            _ => Step::OtherFrame,
        }
    }

    pub(super) fn is_write(self) -> bool {
        matches!(self, Step::Insert | Step::Replace | Step::Remove)
    }

    /// Whether nobody can tell a server that crashed before this step from one that crashed after
    /// it: what it has only taken in goes with it.
    pub(super) fn only_takes_in(self) -> bool {
        !matches!(
            self,
            Step::Insert | Step::Replace | Step::Remove | Step::Welcome | Step::Response
        )
    }
}

impl Blow {
    /// All of them, the crash first.
    pub const ALL: [Blow; 5] = [Blow::Crash, Blow::Stall, Blow::Drop, Blow::Trouble, Blow::Outlive];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Blow::Crash => "crash",
            Blow::Stall => "stall",
            Blow::Drop => "drop",
            Blow::Trouble => "trouble",
            Blow::Outlive => "outlive",
        }
    }
}

pub(super) fn side_of(point: Point) -> Side {
    if point.is_multiple_of(2) { Side::Before } else { Side::After }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.case.name())?;
        if self.blow != Blow::Crash {
            write!(f, "/{}", self.blow.name())?;
        }
        let points: Vec<String> = self.points.iter().map(Point::to_string).collect();
        write!(f, ":{}", points.join(","))
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let form = "a place is CASE:POINT[,POINT…], as in transfer:17,4, or CASE/BLOW:POINT";
        let (what, points) = text.split_once(':').ok_or(form)?;
        let (case, blow) = what.split_once('/').unwrap_or((what, Blow::Crash.name()));
        let blow = Blow::ALL.into_iter().find(|known| known.name() == blow);
        let points = points.split(',').filter(|point| !point.is_empty());
        let points: Result<Vec<Point>, _> = points.map(str::parse).collect();
        Ok(Place {
            case: case.parse()?,
            blow: blow.ok_or("the blows are crash, stall, drop, trouble and outlive")?,
            points: points.map_err(|_| form)?,
        })
    }
}
