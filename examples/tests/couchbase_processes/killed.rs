//! Bank servers killed and frozen while clients, processes too, move money.
//!
//! With `COUCHBASE_URL` set (and user, password and bucket, see `docs/couchbase.md`) the bucket is on
//! that cluster, in a scope that is removed afterwards; otherwise it is on a test node, which makes
//! things go wrong between servers and store as well.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use rpc::store::couchbase::CouchbaseConfig;
use rpc_tests::node::{Effect, Fault, Node, NodeConfig, On};
use rpc_tests::own_scope::OwnScope;

use crate::processes::{Server, bank};

const ACCOUNTS: usize = 8;
const CLIENTS: usize = 4;
const CALLS_PER_CLIENT: usize = 12;

/// What the exit codes of `bank call` say of a movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Done,
    NotDone,
    Unknown,
}

/// A movement, and what its client was told.
struct Movement {
    reference: String,
    from: usize,
    to: usize,
    told: Told,
}

/// The movements that have ended.
#[derive(Default)]
struct Made {
    movements: Mutex<Vec<Movement>>,
    one_more: Condvar,
}

impl Made {
    /// Far more than all movements take.
    const PATIENCE: Duration = Duration::from_secs(300);

    fn add(&self, movement: Movement) {
        self.movements.lock().expect("no client panics").push(movement);
        self.one_more.notify_all();
    }

    /// Waits until so many have ended.
    fn wait_for(&self, count: usize) {
        let movements = self.movements.lock().expect("no client panics");
        let waited = self
            .one_more
            .wait_timeout_while(movements, Made::PATIENCE, |movements| movements.len() < count);
        let (_movements, timeout) = waited.expect("no client panics");
        assert!(!timeout.timed_out(), "the clients do not get on");
    }
}

/// Makes a call; its exit code and what it printed.
fn call(servers: &str, arguments: &str) -> (i32, String) {
    let output = bank()
        .args(["call", "--servers", servers])
        .args(arguments.split_whitespace())
        .output()
        .expect("the bank starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().expect("no signal ends a client"), said)
}

fn account(number: usize) -> String {
    format!("account-{number}")
}

/// One client's movements, one after the other.
fn work(client: usize, servers: &str, made: &Made) {
    for number in 0..CALLS_PER_CLIENT {
        let from = (client + number) % ACCOUNTS;
        let to = (from + 1 + (client + 3 * number) % (ACCOUNTS - 1)) % ACCOUNTS;
        let reference = format!("ref-{client:02}-{number:03}");
        let arguments =
            format!("transfer {} {} 1.00 --reference {reference}", account(from), account(to));
        let (code, said) = call(servers, &arguments);
        let told = match code {
            0 => Told::Done,
            // Refused, no server found, or not executed.
            1..=3 => Told::NotDone,
            4 => Told::Unknown,
            other => panic!("exit code {other}: {said}"),
        };
        made.add(Movement { reference, from, to, told });
    }
}

/// Each acknowledged movement stands once in both accounts, each other one in both or in none.
fn judge(movements: &[Movement], statements: &HashMap<usize, String>) {
    for Movement { reference, from, to, told } in movements {
        let counts = [from, to].map(|account| statements[account].matches(reference).count());
        let right = match told {
            Told::Done => counts == [1, 1],
            Told::NotDone => counts == [0, 0],
            Told::Unknown => counts == [0, 0] || counts == [1, 1],
        };
        assert!(right, "{reference} was {told:?}, and stands {counts:?} times in its accounts");
    }
}

#[test]
fn servers_that_share_a_node_are_killed_and_frozen() {
    let runtime = tokio::runtime::Runtime::new().expect("there are threads");
    match CouchbaseConfig::from_env().expect("the environment can be understood") {
        Some(config) => {
            let scope = runtime.block_on(OwnScope::create(config));
            kill_and_freeze(&scope.url(), &[]);
        }
        None => {
            println!("skipped on a real cluster, COUCHBASE_URL is not set: on a test node");
            let node = runtime.block_on(Node::start(NodeConfig::default()));
            let node = node.expect("ports are free");
            kill_and_freeze(&node.full_url(), &[&node]);
            assert!(node.faults().happened() > 0, "nothing went wrong between servers and node");
        }
    }
}

/// The test, on the store of this URL, with faults on these nodes.
fn kill_and_freeze(store: &str, nodes: &[&Node]) {
    let mut servers: Vec<Server> =
        (0..3).map(|_| Server::start("127.0.0.1:0", store, &[])).collect();
    let addresses: Vec<&str> = servers.iter().map(|server| server.address.as_str()).collect();
    let all = addresses.join(",");
    for number in 0..ACCOUNTS {
        for arguments in
            [format!("open {}", account(number)), format!("deposit {} 100.00", account(number))]
        {
            let (code, said) = call(&all, &arguments);
            assert_eq!(code, 0, "{arguments}: {said}");
        }
    }
    nodes.iter().for_each(|node| trouble(node));

    let made = Made::default();
    std::thread::scope(|threads| {
        for client in 0..CLIENTS {
            let (all, made) = (&all, &made);
            threads.spawn(move || work(client, all, made));
        }
        let total = CLIENTS * CALLS_PER_CLIENT;
        made.wait_for(total / 8);
        servers[0].replace();
        made.wait_for(total / 4);
        servers[1].freeze();
        made.wait_for(total * 5 / 8);
        servers[1].thaw();
        made.wait_for(total * 3 / 4);
        servers[2].replace();
    });

    nodes.iter().for_each(|node| node.faults().clear());
    let statements = (0..ACCOUNTS)
        .map(|number| {
            let (code, said) = call(&all, &format!("statement {}", account(number)));
            assert_eq!(code, 0, "{said}");
            (number, said)
        })
        .collect();
    let movements = made.movements.into_inner().expect("no client panicked");
    judge(&movements, &statements);
    let done = movements.iter().filter(|movement| movement.told == Told::Done).count();
    assert!(done > movements.len() / 2, "only {done} of {} were done", movements.len());
}

/// What goes wrong between servers and store.
fn trouble(node: &Node) {
    for fault in [
        Fault::new(Effect::Ambiguous { applied: true }).on(On::Writes).chance(0.03),
        Fault::new(Effect::Ambiguous { applied: false }).on(On::Writes).chance(0.03),
        Fault::new(Effect::WriteInProgress).on(On::Writes).chance(0.03),
        Fault::new(Effect::Cut { applied: true }).on(On::Writes).chance(0.01),
        Fault::new(Effect::NotMyVbucket).chance(0.02),
    ] {
        node.faults().add(fault);
    }
}
