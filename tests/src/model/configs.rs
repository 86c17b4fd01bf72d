//! The worlds that are exhausted.

use super::calls::{CONFIGS, CallsConfig};
use super::plan::{Bug, CallPlan, Config, Effect, NO_FAULTS, ONE_WAY, Refuses};
use super::state::{Body, Budget, EMPTY};

use Effect::{Delete, Put};

const A: u8 = 0;
const B: u8 = 1;
const C: u8 = 2;
const TWO: [Body; 3] = [EMPTY, EMPTY, 0];
const THREE: [Body; 3] = [EMPTY, EMPTY, EMPTY];

const BASE: Config = Config {
    name: "",
    about: "",
    reduced: true,
    docs: TWO,
    calls: &[ONE_WAY],
    faults: NO_FAULTS,
    sessions: false,
    incarnations: false,
    bug: None,
};

/// B to A, of another client.
const OTHER_WAY: CallPlan =
    CallPlan { client: 1, anchor: B, reads: &[B, A], attempts: 1, ..ONE_WAY };
/// A deposit to A, of another client.
const DEPOSIT: CallPlan =
    CallPlan { client: 1, reads: &[A], writes: &[Put(A)], attempts: 1, ..ONE_WAY };
/// The next call of the first client: its watermark says that the transfer is acknowledged.
const NEXT: CallPlan = CallPlan { client: 0, seq: 2, after: Some(0), ..DEPOSIT };

/// A world to exhaust.
#[derive(Clone, Copy, Debug)]
pub enum Configuration {
    /// Runs on a store that knows no transactions.
    Store(Config),
    /// Attempts, tables and acknowledgements, over a store that is atomic.
    Calls(CallsConfig),
}

impl Configuration {
    /// Its name on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Configuration::Store(config) => config.name,
            Configuration::Calls(config) => config.name,
        }
    }

    /// What it is for, in one line.
    #[must_use]
    pub fn about(&self) -> &'static str {
        match self {
            Configuration::Store(config) => config.about,
            Configuration::Calls(config) => config.about,
        }
    }

    /// Whether it belongs to the reduced set that is exhausted at every change.
    #[must_use]
    pub fn is_reduced(&self) -> bool {
        match self {
            Configuration::Store(config) => config.reduced,
            Configuration::Calls(config) => config.reduced,
        }
    }

    /// The same world with a rule left out.
    pub(super) fn with(self, bug: Bug) -> Configuration {
        match self {
            Configuration::Store(config) => Configuration::Store(config.with(bug)),
            Configuration::Calls(config) => {
                Configuration::Calls(CallsConfig { bug: Some(bug), ..config })
            }
        }
    }
}

/// All configurations.
#[must_use]
pub fn all() -> Vec<Configuration> {
    let store = [conflicts(), records(), absences(), sessions()].concat();
    let calls = CONFIGS.iter().copied().map(Configuration::Calls);
    store.into_iter().map(Configuration::Store).chain(calls).collect()
}

fn conflicts() -> Vec<Config> {
    vec![
        Config {
            name: "retries",
            about: "one transfer, two attempts: crash, zombie, ambiguous answers, lost response",
            reduced: false,
            faults: Budget { crashes: 1, ambiguous: 2, late: 1, early: 1, lost: 1, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "opposite",
            about: "two opposite transfers, each a single attempt of its own client",
            calls: &[CallPlan { attempts: 1, ..ONE_WAY }, OTHER_WAY],
            ..BASE
        },
        Config {
            name: "opposite-crash",
            about: "two opposite transfers, one of them on a server that crashes",
            calls: &[ONE_WAY, OTHER_WAY],
            faults: Budget { crashes: 1, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "opposite-ambiguous",
            about: "two opposite transfers under ambiguous answers",
            reduced: false,
            calls: &[ONE_WAY, OTHER_WAY],
            faults: Budget { ambiguous: 1, late: 1, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "contended-anchor",
            about: "a transfer, twice, against a deposit to its anchor",
            reduced: false,
            calls: &[ONE_WAY, DEPOSIT],
            faults: Budget { crashes: 1, ambiguous: 1, late: 1, early: 1, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "contended-target",
            about: "a transfer, twice, against a deposit to its target",
            reduced: false,
            calls: &[ONE_WAY, CallPlan { anchor: B, reads: &[B], writes: &[Put(B)], ..DEPOSIT }],
            faults: Budget { crashes: 1, early: 1, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "guards",
            about: "each of two calls writes one document if the other one is untouched",
            calls: &[
                CallPlan {
                    writes: &[Put(A)],
                    refuses: Refuses::IfTouched(B),
                    attempts: 1,
                    ..ONE_WAY
                },
                CallPlan { writes: &[Put(B)], refuses: Refuses::IfTouched(A), ..OTHER_WAY },
            ],
            faults: Budget { ambiguous: 1, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "view",
            about: "a read of two documents, while a transfer of three is made, ended and trimmed",
            docs: THREE,
            calls: &[
                CallPlan {
                    reads: &[A, B, C],
                    writes: &[Put(A), Put(B), Put(C)],
                    attempts: 1,
                    ..ONE_WAY
                },
                NEXT,
                CallPlan {
                    client: 1,
                    anchor: C,
                    reads: &[B, C],
                    writes: &[],
                    attempts: 1,
                    ..ONE_WAY
                },
            ],
            ..BASE
        },
    ]
}

fn records() -> Vec<Config> {
    vec![
        Config {
            name: "errors",
            about: "a transfer that fails until another client's deposit is there, retried",
            calls: &[CallPlan { refuses: Refuses::IfUntouched(A), ..ONE_WAY }, DEPOSIT],
            faults: Budget { crashes: 1, early: 1, lost: 1, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "own-effect",
            about: "a transfer that fails once anything was taken: by its own other attempt",
            calls: &[CallPlan { refuses: Refuses::IfTouched(A), ..ONE_WAY }],
            faults: Budget { ambiguous: 1, early: 1, lost: 1, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "two-errors",
            about: "two retries that record different errors, under ambiguous answers",
            calls: &[
                CallPlan { refuses: Refuses::IfThere(A), attempts: 3, ..ONE_WAY },
                CallPlan { attempts: 1, ..DEPOSIT },
            ],
            faults: Budget { ambiguous: 1, early: 2, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "watermarks",
            about: "a transfer with a zombie, acknowledged by its client's next call",
            calls: &[ONE_WAY, NEXT],
            faults: Budget { crashes: 1, early: 1, lost: 1, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "watermarks-ambiguous",
            about: "the same under ambiguous answers",
            reduced: false,
            calls: &[ONE_WAY, NEXT],
            faults: Budget { ambiguous: 2, late: 1, early: 1, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "aborts",
            about: "a transfer whose runs are stopped at any step and ended by an aborted record",
            calls: &[ONE_WAY],
            faults: Budget { deadlines: 2, ambiguous: 1, late: 1, early: 1, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "settled",
            about: "a transfer that its caller gives up: the second attempt only settles it",
            calls: &[CallPlan { settle_from: 2, attempts: 3, ..ONE_WAY }, DEPOSIT],
            faults: Budget { early: 2, crashes: 1, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "refusals",
            about: "a store that refuses writes, at one attempt or at all",
            calls: &[ONE_WAY, DEPOSIT],
            faults: Budget { unavailable: 2, early: 1, lost: 1, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "three-attempts",
            about: "three attempts of a transfer at once, on three servers",
            calls: &[CallPlan { attempts: 3, ..ONE_WAY }],
            faults: Budget { early: 2, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "three-servers",
            about: "three attempts on three servers, with a crash and a zombie",
            reduced: false,
            calls: &[CallPlan { attempts: 3, ..ONE_WAY }],
            faults: Budget { crashes: 1, early: 1, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "created",
            about: "a transfer that creates its second document, deleted by another client",
            docs: [EMPTY, 0, 0],
            calls: &[
                ONE_WAY,
                CallPlan {
                    writes: &[Put(A), Delete(B)],
                    refuses: Refuses::IfAbsent(B),
                    reads: &[A, B],
                    anchor: A,
                    ..OTHER_WAY
                },
            ],
            faults: Budget { ambiguous: 1, late: 1, early: 0, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "absent-anchor",
            about: "two transfers that both create their anchors",
            docs: [0, 0, 0],
            calls: &[ONE_WAY, OTHER_WAY],
            faults: Budget { crashes: 1, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "all-at-once",
            about: "a transfer, its client's next call and another client's, under every kind of fault",
            reduced: false,
            calls: &[ONE_WAY, NEXT, DEPOSIT],
            faults: Budget { crashes: 2, ambiguous: 1, late: 1, early: 1, lost: 1, ..NO_FAULTS },
            ..BASE
        },
        Config {
            name: "absent-anchor-guarded",
            about: "a transfer that creates its anchor, a call that guards its absence, and a read",
            docs: [0, EMPTY, EMPTY],
            calls: &[
                CallPlan { attempts: 1, ..ONE_WAY },
                CallPlan {
                    client: 1,
                    anchor: C,
                    reads: &[A, C],
                    writes: &[Put(C)],
                    attempts: 1,
                    ..ONE_WAY
                },
                CallPlan {
                    client: 1,
                    anchor: C,
                    reads: &[B],
                    writes: &[],
                    seq: 2,
                    attempts: 1,
                    ..ONE_WAY
                },
            ],
            ..BASE
        },
        Config {
            name: "incarnations",
            about: "a journalled client comes back after a crash and sends its call again",
            calls: &[ONE_WAY, NEXT],
            faults: Budget { crashes: 1, early: 1, ..NO_FAULTS },
            incarnations: true,
            ..BASE
        },
    ]
}

fn absences() -> Vec<Config> {
    vec![Config {
        name: "opened-and-closed",
        about: "an anchor that is created, deleted and created again",
        docs: [0, 0, 0],
        calls: &[
            CallPlan { reads: &[A], writes: &[Put(A)], refuses: Refuses::IfThere(A), ..ONE_WAY },
            CallPlan { writes: &[Delete(A)], refuses: Refuses::IfAbsent(A), ..DEPOSIT },
        ],
        faults: Budget { early: 1, crashes: 1, ambiguous: 2, late: 1, ..NO_FAULTS },
        ..BASE
    }]
}

fn sessions() -> Vec<Config> {
    const LEASES: Budget = Budget { leases: 1, ..NO_FAULTS };
    vec![
        Config {
            name: "leases",
            about: "a transfer with a zombie, whose session ends and is collected",
            faults: Budget { early: 1, crashes: 1, ..LEASES },
            sessions: true,
            ..BASE
        },
        Config {
            name: "leases-unread-anchor",
            about: "the same where the business does not read the anchor",
            docs: THREE,
            calls: &[CallPlan { reads: &[B], writes: &[Put(B)], ..ONE_WAY }],
            faults: Budget { early: 1, crashes: 1, ..LEASES },
            sessions: true,
            ..BASE
        },
        Config {
            name: "leases-reader",
            about: "a read while a call's stage is ended and its session and absent anchor collected",
            docs: [0, EMPTY, 0],
            calls: &[
                CallPlan { reads: &[B], writes: &[Put(B)], attempts: 1, ..ONE_WAY },
                CallPlan { reads: &[B], writes: &[], attempts: 1, client: 1, ..ONE_WAY },
            ],
            faults: LEASES,
            sessions: true,
            ..BASE
        },
        Config {
            name: "leases-absent-anchor",
            about: "the same where anchor and target are created and deleted",
            reduced: false,
            docs: [0, 0, 0],
            calls: &[
                ONE_WAY,
                CallPlan { reads: &[A], writes: &[Delete(A)], attempts: 1, client: 1, ..ONE_WAY },
            ],
            faults: Budget { early: 1, leases: 2, ..NO_FAULTS },
            sessions: true,
            ..BASE
        },
    ]
}

/// The configuration of this name.
#[must_use]
pub fn named(name: &str) -> Option<Configuration> {
    all().into_iter().find(|config| config.name() == name)
}
