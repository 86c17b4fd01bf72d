//! What can go wrong, in which step of the protocol, and how often it did.

use std::fmt;

/// A step of the protocol: something that is under way when a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A client's first frame on a connection.
    Hello,
    /// A server's first frame: welcome or reject.
    Welcome,
    /// The first send of a call.
    Request,
    /// A later send, with the retry bit.
    Retry,
    /// A send that asks only how the call ended.
    Settle,
    /// An answer to a call.
    Response,
    /// An acknowledgement on its own.
    Ack,
    /// The word that nobody waits for a call.
    Cancel,
    /// A ping or its pong.
    Probe,
    /// The end of a session.
    Close,
    /// A read or write of a session's document, or of the client ids.
    Session,
    /// The look of a retry for its record.
    LookUp,
    /// The business reads the anchor of its call.
    ReadAnchor,
    /// The business reads another document, or a read call reads one.
    ReadOther,
    /// The store protocol reads: an anchor for a stage's fate, a state after an ambiguous answer.
    ReRead,
    /// The business runs.
    Business,
    /// A stage is put on a document.
    Stage,
    /// The commit point: body and record of the anchor.
    Commit,
    /// A record without an effect: an error, an abort.
    Outcome,
    /// A stage becomes a body.
    Forward,
    /// A stage that has lost is removed.
    Back,
    /// A run is kept from committing.
    Fence,
    /// A client writes into its journal.
    Journal,
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A frame never arrives; the connection goes on.
    Loss,
    /// A frame, and what is behind it, arrives late: after what was sent later elsewhere.
    Delay,
    /// A frame arrives twice at its end, the second time also through a later connection.
    Duplicate,
    /// The connection breaks before a frame.
    CutBefore,
    /// The connection breaks inside a frame.
    CutInside,
    /// The connection breaks behind a frame.
    CutAfter,
    /// Nothing gets from a client to a server for a while; the other way is open.
    PartitionToServer,
    /// Nothing gets from a server to a client for a while; the other way is open.
    PartitionToClient,
    /// The store does nothing, and says so.
    Unavailable,
    /// The store does nothing, and leaves it open.
    TimeoutBefore,
    /// The store does it, and leaves it open.
    TimeoutAfter,
    /// The store leaves it open, and does it later, if it still can.
    TimeoutLate,
    /// The store takes its time.
    Slow,
    /// A server stands still at this very point, and goes on later as if nothing had happened.
    ServerStall,
    /// A server dies at this very point, and comes back with empty tables or not.
    ServerCrash,
    /// A client dies at this very point.
    ClientCrash,
    /// A caller drops its call at this very point.
    CallerDrop,
    /// The wall clocks of the servers differ, by less than the margin of leases.
    SkewWithin,
    /// The wall clocks of the servers differ by more than the margin of leases.
    SkewBeyond,
}

/// How often each fault struck in each step, and each step was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    pairs: [[u64; Step::ALL.len()]; Fault::ALL.len()],
    steps: [u64; Step::ALL.len()],
}

impl Step {
    /// All steps, in the order in which a call takes them.
    pub const ALL: [Step; 23] = [
        Step::Hello,
        Step::Welcome,
        Step::Request,
        Step::Retry,
        Step::Settle,
        Step::Response,
        Step::Ack,
        Step::Cancel,
        Step::Probe,
        Step::Close,
        Step::Session,
        Step::LookUp,
        Step::ReadAnchor,
        Step::ReadOther,
        Step::ReRead,
        Step::Business,
        Step::Stage,
        Step::Commit,
        Step::Outcome,
        Step::Forward,
        Step::Back,
        Step::Fence,
        Step::Journal,
    ];

    /// Whether it is a frame on the network.
    #[must_use]
    pub fn is_frame(self) -> bool {
        self <= Step::Close
    }

    /// Whether it only reads the store.
    #[must_use]
    pub fn is_read(self) -> bool {
        matches!(self, Step::LookUp | Step::ReadAnchor | Step::ReadOther | Step::ReRead)
    }

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Step::Hello => "hello",
            Step::Welcome => "welcome",
            Step::Request => "request",
            Step::Retry => "retry",
            Step::Settle => "settle",
            Step::Response => "response",
            Step::Ack => "ack",
            Step::Cancel => "cancel",
            Step::Probe => "probe",
            Step::Close => "close",
            Step::Session => "session",
            Step::LookUp => "look-up",
            Step::ReadAnchor => "read anchor",
            Step::ReadOther => "read other",
            Step::ReRead => "re-read",
            Step::Business => "business",
            Step::Stage => "stage",
            Step::Commit => "commit",
            Step::Outcome => "outcome",
            Step::Forward => "roll forward",
            Step::Back => "roll back",
            Step::Fence => "fence",
            Step::Journal => "journal",
        }
    }
}

impl Fault {
    /// All faults.
    pub const ALL: [Fault; 19] = [
        Fault::Loss,
        Fault::Delay,
        Fault::Duplicate,
        Fault::CutBefore,
        Fault::CutInside,
        Fault::CutAfter,
        Fault::PartitionToServer,
        Fault::PartitionToClient,
        Fault::Unavailable,
        Fault::TimeoutBefore,
        Fault::TimeoutAfter,
        Fault::TimeoutLate,
        Fault::Slow,
        Fault::ServerStall,
        Fault::ServerCrash,
        Fault::ClientCrash,
        Fault::CallerDrop,
        Fault::SkewWithin,
        Fault::SkewBeyond,
    ];

    /// Whether it can strike in a step at all.
    ///
    /// Frames are lost and cut, store operations time out, processes stop anywhere. A read cannot
    /// leave open whether it was done. A second hello, welcome or farewell on one connection is no
    /// frame of the protocol. When a session is closed in order, no call is left to be dropped. A
    /// journal is the client's own, far from the store and from the servers' clocks.
    #[must_use]
    pub fn applies(self, step: Step) -> bool {
        if step == Step::Journal {
            return (Fault::ServerStall..=Fault::CallerDrop).contains(&self);
        }
        match self {
            Fault::Loss
            | Fault::Delay
            | Fault::CutBefore
            | Fault::CutInside
            | Fault::CutAfter
            | Fault::PartitionToServer
            | Fault::PartitionToClient => step.is_frame(),
            Fault::Duplicate => {
                step.is_frame() && !matches!(step, Step::Hello | Step::Welcome | Step::Close)
            }
            Fault::Unavailable | Fault::Slow => !step.is_frame() && step != Step::Business,
            Fault::TimeoutBefore | Fault::TimeoutAfter | Fault::TimeoutLate => {
                !step.is_frame() && !step.is_read() && step != Step::Business
            }
            Fault::ServerStall | Fault::ServerCrash | Fault::ClientCrash => true,
            Fault::CallerDrop => step != Step::Close,
            Fault::SkewWithin | Fault::SkewBeyond => !step.is_frame(),
        }
    }

    /// Whether it strikes single frames.
    #[must_use]
    pub fn is_of_frames(self) -> bool {
        self <= Fault::PartitionToClient
    }

    /// Whether it strikes single operations of the store.
    #[must_use]
    pub fn is_of_store(self) -> bool {
        (Fault::Unavailable..=Fault::Slow).contains(&self)
    }

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fault::Loss => "loss",
            Fault::Delay => "delay",
            Fault::Duplicate => "duplicate",
            Fault::CutBefore => "cut before",
            Fault::CutInside => "cut inside",
            Fault::CutAfter => "cut after",
            Fault::PartitionToServer => "no way to server",
            Fault::PartitionToClient => "no way to client",
            Fault::Unavailable => "unavailable",
            Fault::TimeoutBefore => "time-out, not done",
            Fault::TimeoutAfter => "time-out, done",
            Fault::TimeoutLate => "time-out, done late",
            Fault::Slow => "slow store",
            Fault::ServerStall => "server stalls",
            Fault::ServerCrash => "server crashes",
            Fault::ClientCrash => "client crashes",
            Fault::CallerDrop => "caller drops",
            Fault::SkewWithin => "skew within margin",
            Fault::SkewBeyond => "skew beyond margin",
        }
    }
}

/// Every fault with every step in which it can strike.
#[must_use]
pub fn pairs() -> Vec<(Fault, Step)> {
    let all = Fault::ALL.iter().flat_map(|fault| Step::ALL.iter().map(|step| (*fault, *step)));
    all.filter(|(fault, step)| fault.applies(*step)).collect()
}

impl Default for Coverage {
    fn default() -> Coverage {
        Coverage { pairs: [[0; Step::ALL.len()]; Fault::ALL.len()], steps: [0; Step::ALL.len()] }
    }
}

impl Coverage {
    /// A step was taken.
    pub(super) fn took(&mut self, step: Step) {
        self.steps[step as usize] += 1;
    }

    /// A fault struck in a step.
    pub(super) fn struck(&mut self, fault: Fault, step: Step) {
        self.pairs[fault as usize][step as usize] += 1;
    }

    /// How often a step was taken.
    #[must_use]
    pub fn steps(&self, step: Step) -> u64 {
        self.steps[step as usize]
    }

    /// How often a fault struck in a step.
    #[must_use]
    pub fn pair(&self, fault: Fault, step: Step) -> u64 {
        self.pairs[fault as usize][step as usize]
    }

    /// The pairs that were never hit.
    #[must_use]
    pub fn missing(&self) -> Vec<(Fault, Step)> {
        pairs().into_iter().filter(|(fault, step)| self.pair(*fault, *step) == 0).collect()
    }

    /// Adds what another run hit.
    pub fn add(&mut self, other: &Coverage) {
        for (mine, others) in self.pairs.iter_mut().zip(&other.pairs) {
            mine.iter_mut().zip(others).for_each(|(mine, other)| *mine += other);
        }
        self.steps.iter_mut().zip(&other.steps).for_each(|(mine, other)| *mine += other);
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:14}{:>9}", "step", "taken")?;
        for (number, fault) in (1..).zip(Fault::ALL) {
            let _ = fault;
            write!(f, "{:>8}", format!("f{number}"))?;
        }
        writeln!(f)?;
        for step in Step::ALL {
            write!(f, "{:14}{:>9}", step.name(), self.steps(step))?;
            for fault in Fault::ALL {
                match self.pair(fault, step) {
                    0 if !fault.applies(step) => write!(f, "{:>8}", "")?,
                    count => write!(f, "{count:>8}")?,
                }
            }
            writeln!(f)?;
        }
        for (number, fault) in (1..).zip(Fault::ALL) {
            write!(f, "{}f{number} {}", if number == 1 { "" } else { ", " }, fault.name())?;
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_in_the_order_of_their_numbers() {
        assert!(Step::ALL.iter().enumerate().all(|(number, step)| *step as usize == number));
        assert!(Fault::ALL.iter().enumerate().all(|(number, fault)| *fault as usize == number));
    }

    #[test]
    fn what_was_hit_is_not_missing() {
        let mut coverage = Coverage::default();
        assert_eq!(coverage.missing(), pairs());
        coverage.struck(Fault::Loss, Step::Request);
        assert_eq!(coverage.missing().len(), pairs().len() - 1);
        let mut sum = Coverage::default();
        sum.add(&coverage);
        sum.add(&coverage);
        assert_eq!(sum.pair(Fault::Loss, Step::Request), 2);
    }
}
