//! Many calls at once, each applied exactly once.
//!
//! A total cannot see a transfer that was applied twice, or one that took another's place. So each
//! account carries the list of the calls that it took part in, and the lists are checked.

use std::collections::HashMap;
use std::sync::Arc;

use rpc::id::CallId;
use rpc::store::{CommitOutcome, DocKey, Outcome, Store, Versioned};
use tokio::task::JoinSet;

use super::{Caller, Draft, Harness, commit, key, must_be_recorded, must_commit, read, success};

const START: i64 = 1_000;

/// Clients move money between few accounts; each call is run by two servers at once.
pub async fn transfers_happen_exactly_once(harness: &impl Harness) {
    const ACCOUNTS: u64 = 5;
    const CLIENTS: u64 = 8;
    const CALLS: u64 = 25;
    let store = harness.open().await;
    let accounts: Arc<Vec<DocKey>> =
        Arc::new((0..ACCOUNTS).map(|n| key(&format!("account-{n}"))).collect());
    let opener = Caller::open(&*store).await;
    for (seq, account) in (1..).zip(accounts.iter()) {
        let draft = opener.commit(seq).putting(account, Account::opened().encode());
        must_commit(&*store, draft).await;
    }

    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let servers = [harness.other_handle(&store).await, harness.other_handle(&store).await];
        let accounts = Arc::clone(&accounts);
        clients.spawn(async move {
            let mut caller = Caller::open(&*servers[0]).await;
            let mut done = Vec::new();
            for seq in 1..=CALLS {
                let from = (client + seq) % ACCOUNTS;
                let to = (from + 1 + seq % (ACCOUNTS - 1)) % ACCOUNTS;
                let move_it = |server: usize| Transfer {
                    store: Arc::clone(&servers[server]),
                    caller,
                    seq,
                    from: accounts[from as usize].clone(),
                    to: accounts[to as usize].clone(),
                    amount: 1 + (seq % 7) as i64,
                    server: server as u8,
                };
                let (one, other) = tokio::join!(move_it(0).run(), move_it(1).run());
                assert_eq!(one, other, "two servers gave two results for one call");
                done.push((caller.call(seq).id, [from, to]));
                caller = caller.acknowledging_below(seq + 1);
            }
            done
        });
    }
    let done: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    assert_eq!(done.len() as u64, CLIENTS * CALLS, "every call has ended");
    check(&*store, &accounts, &done).await;
}

async fn check(store: &dyn Store, accounts: &[DocKey], done: &[(CallId, [u64; 2])]) {
    let mut total = 0;
    let mut applied: HashMap<(u64, CallId), u32> = HashMap::new();
    for (number, account) in (0..).zip(accounts) {
        let found = Account::decode(&read(store, account).await);
        total += found.balance;
        for call in found.calls {
            *applied.entry((number, call)).or_default() += 1;
        }
    }
    assert_eq!(total, START * accounts.len() as i64, "money was made or destroyed");
    for (call, touched) in done {
        for account in touched {
            let times = applied.remove(&(*account, *call));
            assert_eq!(times, Some(1), "call {call} on account {account}");
        }
    }
    assert!(applied.is_empty(), "calls nobody made were applied: {applied:?}");
}

struct Transfer {
    store: Arc<dyn Store>,
    caller: Caller,
    seq: u64,
    from: DocKey,
    to: DocKey,
    amount: i64,
    server: u8,
}

impl Transfer {
    /// Runs the call until it has ended.
    async fn run(self) -> Outcome {
        loop {
            let mut draft = self.caller.commit(self.seq).ending(success(&[self.server]));
            for (key, amount) in [(&self.from, -self.amount), (&self.to, self.amount)] {
                let seen = read(&*self.store, key).await;
                let mut account = Account::decode(&seen);
                account.balance += amount;
                account.calls.push(draft.call.id);
                draft = draft.reading(key, &seen).putting(key, account.encode());
                tokio::task::yield_now().await;
            }
            match commit(&*self.store, draft).await {
                CommitOutcome::Committed(outcome) | CommitOutcome::Recorded(outcome) => {
                    return outcome.into_inner();
                }
                CommitOutcome::Conflict => tokio::task::yield_now().await,
                CommitOutcome::Refused(refusal) => panic!("a live call was refused: {refusal:?}"),
            }
        }
    }
}

/// One call, many runs at the same time: one of them is applied, all get its result.
pub async fn one_call_run_by_many_servers_happens_once(harness: &impl Harness) {
    const SERVERS: u8 = 12;
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let doc = key("doc");
    let mut runs = JoinSet::new();
    for server in 0..SERVERS {
        let store = harness.other_handle(&store).await;
        let draft = caller.commit(1).putting(&doc, [server]).ending(success(&[server]));
        runs.spawn(async move { commit(&*store, draft).await });
    }
    let mut applied = 0;
    let mut results = Vec::new();
    for outcome in runs.join_all().await {
        match outcome {
            CommitOutcome::Committed(outcome) => {
                applied += 1;
                results.push(outcome.into_inner());
            }
            CommitOutcome::Recorded(outcome) => results.push(outcome.into_inner()),
            other => panic!("nothing was read, so nothing conflicts: {other:?}"),
        }
    }
    assert_eq!(applied, 1, "one run is applied");
    assert!(results.iter().all(|result| *result == results[0]), "all get the same: {results:?}");
    let Outcome::Success(winner) = &results[0] else { panic!("not a success") };
    assert_eq!(read(&*store, &doc).await.body.as_ref(), Some(winner), "the winner's effect");
    must_be_recorded(&*store, &caller.call(1), &results[0]).await;
}

/// A document that everybody increments: no increment is lost or doubled.
pub async fn a_hot_document_takes_every_increment(harness: &impl Harness) {
    const CLIENTS: u64 = 16;
    const CALLS: u64 = 10;
    let store = harness.open().await;
    let counter = key("counter");
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (store, counter) = (harness.other_handle(&store).await, counter.clone());
        clients.spawn(async move {
            let caller = Caller::open(&*store).await;
            for seq in 1..=CALLS {
                increment(&*store, caller.acknowledging_below(seq), seq, &counter).await;
            }
        });
    }
    clients.join_all().await;
    assert_eq!(count(&read(&*store, &counter).await), CLIENTS * CALLS, "each counts once");
}

async fn increment(store: &dyn Store, caller: Caller, seq: u64, counter: &DocKey) {
    loop {
        let seen = read(store, counter).await;
        let next = count(&seen) + 1;
        tokio::task::yield_now().await;
        let draft = caller.commit(seq).reading(counter, &seen);
        match commit(store, draft.putting(counter, next.to_le_bytes())).await {
            CommitOutcome::Committed(_) => return,
            CommitOutcome::Conflict => {}
            other => panic!("a first run is applied or conflicts: {other:?}"),
        }
    }
}

fn count(document: &Versioned) -> u64 {
    document
        .body
        .as_deref()
        .map_or(0, |body| u64::from_le_bytes(body.try_into().expect("only counts are written")))
}

struct Account {
    balance: i64,
    calls: Vec<CallId>,
}

impl Account {
    fn opened() -> Account {
        Account { balance: START, calls: Vec::new() }
    }

    fn encode(&self) -> Vec<u8> {
        let calls = self.calls.iter().flat_map(|call| [call.client.0, call.seq.0]);
        let words = std::iter::once(self.balance.cast_unsigned()).chain(calls);
        words.flat_map(u64::to_le_bytes).collect()
    }

    fn decode(document: &Versioned) -> Account {
        let body = document.body.as_deref().expect("the account was opened");
        let (chunks, rest) = body.as_chunks::<8>();
        assert!(rest.is_empty(), "an account is whole words");
        let words: Vec<u64> = chunks.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let calls = words[1..]
            .chunks_exact(2)
            .map(|pair| CallId { client: rpc::id::ClientId(pair[0]), seq: rpc::id::Seq(pair[1]) });
        Account { balance: words[0].cast_signed(), calls: calls.collect() }
    }
}
