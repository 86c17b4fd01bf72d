//! A server that is frozen in the middle of a commit, past every time-out of everybody, and then goes
//! on: others have answered its call meanwhile, and what it still does of it has no effect.

use std::time::{Duration, Instant};

use bank_business::{AccountName, Amount, BankClient, Entry, PageNumber};
use rpc::client::Stub as _;
use rpc::{Client, ClientConfig};
use rpc_tests::node::{Effect, Fault, Node, NodeConfig, On};

use crate::processes::Server;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// How long a call is tried; how much longer it is waited for.
const DEADLINE: Duration = Duration::from_secs(6);
const GRACE: Duration = millis(300);
/// How long the client waits for an answer at most, and how long it lets a suspect server be silent.
const ANSWER: Duration = millis(300);
const SILENCE: Duration = millis(500);
const CONNECT: Duration = millis(500);
const KEEPALIVE: Duration = millis(300);
/// How long a server keeps a silent connection, and remembers calls without one.
const IDLE: Duration = millis(500);
const DETACHED: Duration = millis(500);
/// How long a server waits for one operation of the store, and in all for what passes by itself.
const STORE: Duration = millis(300);
const PATIENCE: Duration = millis(300);
/// More than a server waits for the owner of a stage, for an older call, and for its turn.
const TAKE_OVER: Duration = millis(1_000);

/// The freeze lasts longer than all of them one after the other. Only the lease of a session, half an
/// hour and a minute of margin, is longer; that is tried on a clock of the tests (`cas_chaos`).
const FREEZE: Duration = {
    let all = [
        DEADLINE, GRACE, ANSWER, ANSWER, SILENCE, CONNECT, KEEPALIVE, KEEPALIVE, IDLE, DETACHED,
        STORE, STORE, PATIENCE, TAKE_OVER,
    ];
    let (mut sum, mut at) = (Duration::ZERO, 0);
    while at < all.len() {
        sum = sum.saturating_add(all[at]);
        at += 1;
    }
    sum
};

fn config() -> ClientConfig {
    ClientConfig::default()
        .deadline(DEADLINE)
        .settle_grace(GRACE)
        .initial_timeout(ANSWER)
        .max_timeout(ANSWER)
        .silence_limit(SILENCE)
        .connect_timeout(CONNECT)
        .keepalive(KEEPALIVE)
        .max_backoff(ANSWER)
}

fn server(node: &Node) -> Server {
    let [store, patience] = [STORE, PATIENCE].map(|time| format!("{}ms", time.as_millis()));
    let url = format!("{}?read={store}&write={store}&patience={patience}", node.full_url());
    let [idle, detached] = [IDLE, DETACHED].map(|time| format!("{}ms", time.as_millis()));
    Server::start("127.0.0.1:0", &url, &["--idle", &idle, "--detached", &detached])
}

async fn client(servers: &[&Server]) -> BankClient {
    let addresses: Vec<String> = servers.iter().map(|server| server.address.clone()).collect();
    Client::builder().config(config()).connect(addresses).await.expect("a server answers")
}

fn name(name: &str) -> AccountName {
    name.parse().expect("a short name")
}

fn amount(amount: &str) -> Amount {
    amount.parse().expect("an amount")
}

async fn statement(bank: &BankClient, account: &str) -> Vec<Entry> {
    bank.statement(name(account), PageNumber::FIRST).await.expect("it can be read").entries
}

/// Waits until something has gone wrong at the node this often.
async fn until_struck(node: &Node, times: u64) {
    while node.faults().happened() < times {
        tokio::time::sleep(millis(1)).await;
    }
}

/// How often a movement stands in a statement.
fn count(statement: &[Entry], reference: &str) -> usize {
    statement.iter().filter(|entry| entry.reference.as_str() == reference).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_frozen_past_every_time_out_comes_back_and_has_lost() {
    let node = Node::start(NodeConfig::default()).await.expect("ports are free");
    let (first, mut second) = (server(&node), server(&node));
    // Only the first one is there when the call is made.
    second.kill();
    let bank = client(&[&first, &second]).await;
    for account in ["alice", "bob"] {
        let (opened, paid) = (format!("open-{account}"), format!("pay-{account}"));
        bank.open(name(account), opened.parse().expect("short")).await.expect("it is new");
        let paid = bank.deposit(name(account), amount("100"), paid.parse().expect("short"));
        paid.await.expect("it is open");
    }

    // It has staged the payee, and gets no answer for the payer, which is the commit point.
    let unanswered = Fault::new(Effect::NoAnswer { applied: false });
    node.faults().add(unanswered.on(On::Writes).key("account:alice"));
    let rent =
        bank.transfer(name("alice"), name("bob"), amount("30"), "rent".parse().expect("short"));
    let rent = tokio::spawn(rent);
    until_struck(&node, 1).await;
    first.freeze();
    let frozen_since = Instant::now();
    node.faults().clear();
    second.start_again();

    let receipt = rent.await.expect("no panic").expect("the second server has done it");
    assert_eq!(receipt.balance.to_string(), "70.00");
    let stats = bank.client().stats();
    assert!(stats.suspicions >= 1 && stats.failovers >= 1, "{stats:?}");
    // More of the same account, so that nothing is left of what the first one has seen; and each call
    // acknowledges the one before, so that its record may go.
    for number in 0..3 {
        let reference = format!("more-{number}").parse().expect("short");
        bank.withdraw(name("alice"), amount("1"), reference).await.expect("the second one answers");
    }

    tokio::time::sleep(FREEZE.saturating_sub(frozen_since.elapsed())).await;
    // Whoever touches alice's account now is the first server: nobody else makes calls.
    let before = node.faults().happened();
    node.faults().add(Fault::new(Effect::Slow(millis(1))).key("account:alice"));
    first.thaw();
    until_struck(&node, before + 1).await;
    node.faults().clear();

    let at_the_first = client(&[&first]).await;
    let [alice, bob] =
        [statement(&at_the_first, "alice").await, statement(&at_the_first, "bob").await];
    assert_eq!((count(&alice, "rent"), count(&bob, "rent")), (1, 1));
    let balances = [&alice, &bob].map(|of| of.last().expect("not empty").balance.to_string());
    assert_eq!(balances, ["67.00", "130.00"]);
    // It is back: alone, it serves the client that had suspected it.
    second.kill();
    let back =
        bank.transfer(name("bob"), name("alice"), amount("30"), "back".parse().expect("short"));
    assert_eq!(back.await.expect("the first one answers").balance.to_string(), "100.00");
    for account in ["alice", "bob"] {
        let statement = statement(&at_the_first, account).await;
        assert_eq!((count(&statement, "rent"), count(&statement, "back")), (1, 1), "{account}");
    }
}
