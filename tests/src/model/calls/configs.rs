//! The worlds of calls that are exhausted.

use super::CallsConfig;
use super::world::Faults;

const NONE: Faults = Faults::NONE;

/// Every fault that is no client's, once.
const EACH_ONCE: Faults = Faults {
    lost: 1,
    early: 1,
    drops: 1,
    deadlines: 1,
    crashes: 1,
    forgets: 1,
    refusals: 1,
    unknown: 1,
    ..NONE
};

const BASE: CallsConfig = CallsConfig {
    name: "",
    about: "",
    reduced: true,
    calls: 2,
    needs_funds: [true, false],
    spends: false,
    attempts: 2,
    journal: false,
    faults: NONE,
    merges: true,
    bug: None,
};

/// A client with a journal. The first of its calls fails until there are funds, and takes them.
const JOURNALLED: CallsConfig = CallsConfig { journal: true, spends: true, ..BASE };

/// All configurations.
pub(in super::super) const CONFIGS: &[CallsConfig] = &[
    CallsConfig {
        name: "calls-hedged",
        about: "two calls, hedged and retried on two servers: lost and late messages, acks with bitmaps",
        faults: Faults { lost: 1, early: 2, ..NONE },
        ..BASE
    },
    CallsConfig {
        name: "calls-cancelled",
        about: "two calls, dropped by their callers or stopped at their deadlines at any step",
        faults: Faults { drops: 1, deadlines: 1, early: 1, ..NONE },
        ..BASE
    },
    CallsConfig {
        name: "calls-forgotten",
        about: "servers that crash, forget responses, refuse requests, and do not know how commits ended",
        faults: Faults { crashes: 1, forgets: 1, refusals: 1, unknown: 1, early: 1, ..NONE },
        ..BASE
    },
    CallsConfig {
        name: "calls-late-answers",
        about: "three attempts of one call on two servers, whose answers come late",
        calls: 1,
        attempts: 3,
        faults: Faults { early: 2, ..NONE },
        ..BASE
    },
    CallsConfig {
        name: "calls-every-fault",
        about: "three attempts of one call on two servers, under every kind of fault",
        calls: 1,
        attempts: 3,
        faults: Faults { early: 2, ..EACH_ONCE },
        ..BASE
    },
    CallsConfig {
        name: "calls-three-attempts",
        about: "three attempts of each of two calls on two servers, one of them dropped by its caller",
        reduced: false,
        attempts: 3,
        faults: Faults { early: 2, drops: 1, ..NONE },
        ..BASE
    },
    CallsConfig {
        name: "journal",
        about: "two journalled calls of a client that crashes",
        attempts: 1,
        faults: Faults { client_crashes: 1, ..NONE },
        ..JOURNALLED
    },
    CallsConfig {
        name: "journal-acks",
        about: "two journalled calls of a client that crashes: hedges, acks with bitmaps",
        faults: Faults { client_crashes: 1, early: 1, ..NONE },
        ..JOURNALLED
    },
    CallsConfig {
        name: "journal-crashes",
        about: "two journalled calls; the client crashes twice, and a server once",
        attempts: 1,
        faults: Faults { client_crashes: 2, crashes: 1, ..NONE },
        ..JOURNALLED
    },
    CallsConfig {
        name: "journal-names",
        about: "two calls that are not executed and made anew, or forgotten by name; the client crashes",
        attempts: 1,
        faults: Faults { client_crashes: 1, deadlines: 1, forgotten_names: 1, ..NONE },
        ..JOURNALLED
    },
    CallsConfig {
        name: "journal-every-fault",
        about: "a journalled call of a client that crashes, under every kind of fault",
        reduced: false,
        calls: 1,
        faults: Faults { client_crashes: 1, forgotten_names: 1, ..EACH_ONCE },
        ..JOURNALLED
    },
    CallsConfig {
        name: "journal-lost",
        about: "two journalled calls, lost messages; the client and a server crash",
        reduced: false,
        faults: Faults { client_crashes: 1, lost: 1, crashes: 1, ..NONE },
        ..JOURNALLED
    },
    CallsConfig {
        name: "journal-all-at-once",
        about: "two journalled calls, hedged; the client crashes twice, and a server once",
        reduced: false,
        faults: Faults { client_crashes: 2, early: 1, crashes: 1, ..NONE },
        ..JOURNALLED
    },
];
