//! What goes wrong, when and how often.

use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::packet::{Request, Status, op};

/// Something that goes wrong with some requests.
///
/// As text, for the control of a node: the effect, then what it is limited to, such as
/// `ambiguous-applied on=writes key=account:a times=3` or `slow=200ms chance=0.01`.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    effect: Effect,
    on: On,
    key: Option<String>,
    /// How often it still happens; `None`: for ever.
    times: Option<u32>,
    /// How likely it is, for each request that it could happen to.
    chance: f64,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// `temporary-failure`: refused, try again.
    TemporaryFailure,
    /// `locked`: refused, somebody holds a lock.
    Locked,
    /// `internal-error`: refused, nobody knows why.
    InternalError,
    /// `durability-impossible`: refused, too few nodes are up.
    DurabilityImpossible,
    /// `in-progress`: refused, a durable write of somebody else is under way.
    WriteInProgress,
    /// `recommit-in-progress`: refused, a durable write is being committed again after a failover.
    RecommitInProgress,
    /// `ambiguous-applied`, `ambiguous-lost`: nobody knows whether the write will stay. It does,
    /// or it does not.
    Ambiguous {
        /// Whether it was done.
        applied: bool,
    },
    /// `time-out-after`, `time-out-before`: no answer ever comes.
    NoAnswer {
        /// Whether it was done.
        applied: bool,
    },
    /// `cut-after`, `cut-before`: the connection breaks in the middle of the answer.
    Cut {
        /// Whether it was done.
        applied: bool,
    },
    /// `not-my-vbucket`: refused, with a newer map of the cluster.
    NotMyVbucket,
    /// `slow=200ms`: done, and answered, only after this time.
    Slow(Duration),
}

/// Which requests a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Those that look at documents.
    Reads,
    /// Those that change documents.
    Writes,
    /// Both.
    All,
}

/// A text that is no fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultError(String);

impl std::fmt::Display for FaultError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` is no fault: write, for example, `time-out-after on=writes times=1`",
            self.0
        )
    }
}

impl std::error::Error for FaultError {}

impl Fault {
    /// The effect, on all requests, for ever.
    #[must_use]
    pub fn new(effect: Effect) -> Fault {
        Fault { effect, on: On::All, key: None, times: None, chance: 1.0 }
    }

    /// Only on these requests.
    #[must_use]
    pub fn on(mut self, on: On) -> Fault {
        self.on = on;
        self
    }

    /// Only on documents whose key contains this.
    #[must_use]
    pub fn key(mut self, part: &str) -> Fault {
        self.key = Some(part.to_owned());
        self
    }

    /// Only so often.
    #[must_use]
    pub fn times(mut self, times: u32) -> Fault {
        self.times = Some(times);
        self
    }

    /// Only by chance, from 0 to 1.
    #[must_use]
    pub fn chance(mut self, chance: f64) -> Fault {
        self.chance = chance;
        self
    }

    fn concerns(&self, request: &Request) -> bool {
        let is_concerned = match request.opcode {
            op::GET | op::GET_META | op::MULTI_LOOKUP => self.on != On::Writes,
            op::SET | op::ADD | op::REPLACE | op::DELETE | op::MULTI_MUTATION => {
                self.on != On::Reads
            }
            _ => false,
        };
        let is_named = |part: &String| String::from_utf8_lossy(&request.key).contains(part);
        is_concerned && self.key.as_ref().is_none_or(is_named)
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Fault, FaultError> {
        let error = || FaultError(text.to_owned());
        let mut words = text.split_whitespace();
        let effect = parse_effect(words.next().ok_or_else(error)?).ok_or_else(error)?;
        let mut fault = Fault::new(effect);
        for word in words {
            fault = match word.split_once('=').ok_or_else(error)? {
                ("on", "reads") => fault.on(On::Reads),
                ("on", "writes") => fault.on(On::Writes),
                ("on", "all") => fault.on(On::All),
                ("key", part) => fault.key(part),
                ("times", times) => fault.times(times.parse().map_err(|_| error())?),
                ("chance", chance) => fault.chance(chance.parse().map_err(|_| error())?),
                _ => return Err(error()),
            };
        }
        Ok(fault)
    }
}

fn parse_effect(word: &str) -> Option<Effect> {
    Some(match word {
        "temporary-failure" => Effect::TemporaryFailure,
        "locked" => Effect::Locked,
        "internal-error" => Effect::InternalError,
        "durability-impossible" => Effect::DurabilityImpossible,
        "in-progress" => Effect::WriteInProgress,
        "recommit-in-progress" => Effect::RecommitInProgress,
        "ambiguous-applied" => Effect::Ambiguous { applied: true },
        "ambiguous-lost" => Effect::Ambiguous { applied: false },
        "time-out-after" => Effect::NoAnswer { applied: true },
        "time-out-before" => Effect::NoAnswer { applied: false },
        "cut-after" => Effect::Cut { applied: true },
        "cut-before" => Effect::Cut { applied: false },
        "not-my-vbucket" => Effect::NotMyVbucket,
        slow => {
            let millis = slow.strip_prefix("slow=")?.strip_suffix("ms")?.parse().ok()?;
            Effect::Slow(Duration::from_millis(millis))
        }
    })
}

impl Effect {
    /// What a refusal says.
    pub(super) fn refusal(self) -> Option<Status> {
        Some(match self {
            Effect::TemporaryFailure => Status::ETMPFAIL,
            Effect::Locked => Status::LOCKED,
            Effect::InternalError => Status::EINTERNAL,
            Effect::DurabilityImpossible => Status::DURABILITY_IMPOSSIBLE,
            Effect::WriteInProgress => Status::SYNC_WRITE_IN_PROGRESS,
            Effect::RecommitInProgress => Status::SYNC_WRITE_RECOMMIT_IN_PROGRESS,
            Effect::NotMyVbucket => Status::NOT_MY_VBUCKET,
            _ => return None,
        })
    }
}

/// All that goes wrong with a node at present.
pub struct Faults(Mutex<State>);

struct State {
    faults: Vec<Fault>,
    happened: u64,
    rng: fastrand::Rng,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Faults {
        let rng = fastrand::Rng::with_seed(seed);
        Faults(Mutex::new(State { faults: Vec::new(), happened: 0, rng }))
    }

    /// From now on this goes wrong as well. Of several faults that fit a request, the first one
    /// happens.
    pub fn add(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// From now on nothing goes wrong.
    pub fn clear(&self) {
        self.state().faults.clear();
    }

    /// How many requests something went wrong with.
    #[must_use]
    pub fn happened(&self) -> u64 {
        self.state().happened
    }

    pub(super) fn strike(&self, request: &Request) -> Option<Effect> {
        let mut state = self.state();
        let State { faults, happened, rng } = &mut *state;
        let at = faults.iter().position(|fault| {
            fault.concerns(request) && (fault.chance >= 1.0 || rng.f64() < fault.chance)
        })?;
        *happened += 1;
        let effect = faults[at].effect;
        if let Some(times) = &mut faults[at].times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                faults.remove(at);
            }
        }
        Some(effect)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_from_text() {
        let fault: Fault = "ambiguous-applied on=writes key=account:a times=3".parse().unwrap();
        let expected = Fault::new(Effect::Ambiguous { applied: true })
            .on(On::Writes)
            .key("account:a")
            .times(3);
        assert_eq!(fault, expected);
        let slow: Fault = "slow=20ms chance=0.5".parse().unwrap();
        assert_eq!(slow, Fault::new(Effect::Slow(Duration::from_millis(20))).chance(0.5));
        for bad in ["", "sometimes", "slow=5", "locked on=tuesdays", "locked times=-1", "locked x"]
        {
            assert!(bad.parse::<Fault>().is_err(), "{bad}");
        }
    }
}
