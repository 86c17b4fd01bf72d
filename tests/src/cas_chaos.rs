//! Many servers, few documents, a store with faults: each call applied exactly once.
//!
//! A total cannot see a transfer that was applied twice, so each account carries the list of its
//! calls. The lists also say in which order calls took effect: together with what each call has read
//! they must fit one order of all calls.
//!
//! Virtual time and one thread: a seed is a whole run.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::conformance::{Caller, key, success};
use crate::simulated::{Faults, SimulatedBackend};
use crate::world::quietly;
use rpc::id::{Attempt, CallId, Seq};
use rpc::store::cas::CasStore;
use rpc::store::{
    CommitOutcome, DocKey, LookUp, Outcome, ReadVersion, Refusal, Store, StoreError, Write,
};
use rpc::time::WallTime;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

const ACCOUNTS: usize = 3;
const CLIENTS: u64 = 3;
const CALLS: u64 = 6;
const SERVERS: usize = 3;
const START: i64 = 100;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Account {
    balance: i64,
    /// Client and number of every call that took part.
    calls: Vec<(u64, u64)>,
}

/// The virtual time that a world may take.
const LIMIT: Duration = Duration::from_secs(900);
/// How often one attempt may start over: far more often than any does.
const MAX_RUNS: u32 = 2_000;

/// Runs the world of a seed.
///
/// # Errors
/// What was violated.
pub fn run(seed: u64) -> Result<(), String> {
    quietly(LIMIT, async || world(seed).await)
}

/// What a call does; the first account is its anchor.
#[derive(Clone, Copy, Debug)]
enum Plan {
    Deposit(usize),
    Transfer(usize, usize),
    /// Takes from the first if first and second together hold enough; the second is only read.
    TakeIfBoth(usize, usize),
    /// Removes the first's document if it is empty, or makes it anew.
    Toggle,
}

struct Run {
    store: Arc<CasStore<SimulatedBackend>>,
    caller: Caller,
    seq: u64,
    attempt: u32,
    plan: Plan,
    /// How many attempts of the call there are by now.
    attempts: Arc<AtomicU32>,
}

/// How one attempt ended.
#[derive(Clone, Debug, PartialEq)]
enum Ended {
    With(Outcome),
    Refused(Refusal),
    Failed,
}

fn account(number: usize) -> DocKey {
    key(&format!("account-{number}"))
}

fn toggled() -> DocKey {
    key("toggled")
}

impl Run {
    fn anchor(&self) -> DocKey {
        match self.plan {
            Plan::Deposit(n) | Plan::Transfer(n, _) | Plan::TakeIfBoth(n, _) => account(n),
            Plan::Toggle => toggled(),
        }
    }

    async fn go(self) -> Ended {
        let mut call = self.caller.call(self.seq);
        call.anchor = Some(self.anchor());
        call.attempt = Attempt(self.attempt);
        call.born = WallTime(self.seq);
        if self.attempt > 1 {
            match self.store.look_up(&call).await {
                Ok(LookUp::Recorded(outcome)) => return Ended::With(outcome.into_inner()),
                Ok(LookUp::Refused(refusal)) => return Ended::Refused(refusal),
                Ok(LookUp::Unknown) => {}
                Err(_) => return Ended::Failed,
            }
        }
        for _ in 0..MAX_RUNS {
            let mut commit = self.caller.commit(self.seq);
            commit.call = call.clone();
            commit.result = success(&self.seq.to_le_bytes());
            if self.business(&mut commit).await.is_err() {
                return Ended::Failed;
            }
            match self.store.commit(commit).await {
                Ok(CommitOutcome::Committed(outcome) | CommitOutcome::Recorded(outcome)) => {
                    return Ended::With(outcome.into_inner());
                }
                Ok(CommitOutcome::Conflict) => {}
                Ok(CommitOutcome::Refused(refusal)) => return Ended::Refused(refusal),
                Err(StoreError::Unavailable { .. }) => {
                    self.nothing_was_done();
                    return Ended::Failed;
                }
                Err(_) => return Ended::Failed,
            }
        }
        panic!("attempt {} of call {} starts over without end", self.attempt, self.seq)
    }

    /// The store has said that it did nothing: while this is the only attempt, there is no record.
    fn nothing_was_done(&self) {
        let document = self.store.backend().peek(self.anchor().as_str());
        let meta = document.map(|document| document.meta).filter(|meta| !meta.is_empty());
        let Some(meta) = meta else { return };
        let meta: serde_json::Value = serde_json::from_slice(&meta).expect("metadata is JSON");
        let (client, seq) = (self.caller.session.client.0, self.seq);
        let record = &meta["c"][client.to_string()]["r"][seq.to_string()];
        let is_alone = self.attempts.load(Ordering::Relaxed) == 1;
        let said_so = "the store said that it did nothing, and has recorded the call";
        assert!(!is_alone || record.is_null(), "{said_so}: {client}.{seq}");
    }

    async fn business(&self, commit: &mut rpc::store::Commit) -> Result<(), StoreError> {
        let id = (self.caller.session.client.0, self.seq);
        match self.plan {
            Plan::Deposit(number) => {
                let mut found = self.get(commit, account(number)).await?;
                found.balance += 5;
                found.calls.push(id);
                put(commit, account(number), &found);
            }
            Plan::Transfer(from, to) => {
                let mut source = self.get(commit, account(from)).await?;
                let mut target = self.get(commit, account(to)).await?;
                source.balance -= 7;
                target.balance += 7;
                source.calls.push(id);
                target.calls.push(id);
                put(commit, account(from), &source);
                put(commit, account(to), &target);
            }
            Plan::TakeIfBoth(from, with) => {
                let mut source = self.get(commit, account(from)).await?;
                let other = self.get(commit, account(with)).await?;
                if source.balance + other.balance >= START {
                    source.balance -= 1;
                }
                source.calls.push(id);
                put(commit, account(from), &source);
                commit.result = success(&(other.calls.len() as u64).to_le_bytes());
            }
            Plan::Toggle => {
                let seen = self.store.read(&toggled()).await?;
                let is_there = seen.body.is_some();
                commit.reads.push(ReadVersion::new(toggled(), &seen));
                let made = Account { balance: 0, calls: vec![id] };
                if is_there {
                    commit.writes.push(Write { key: toggled(), body: None });
                } else {
                    put(commit, toggled(), &made);
                }
                let mut count = self.get(commit, account(0)).await?;
                count.calls.push(id);
                put(commit, account(0), &count);
            }
        }
        Ok(())
    }

    async fn get(
        &self,
        commit: &mut rpc::store::Commit,
        key: DocKey,
    ) -> Result<Account, StoreError> {
        let seen = self.store.read(&key).await?;
        commit.reads.push(ReadVersion::new(key, &seen));
        let body = seen.body.expect("accounts are never deleted");
        Ok(serde_json::from_slice(&body).expect("accounts are JSON"))
    }
}

fn put(commit: &mut rpc::store::Commit, key: DocKey, account: &Account) {
    let body = serde_json::to_vec(account).expect("JSON");
    commit.writes.push(Write { key, body: Some(body.into()) });
}

fn touched(plan: Plan) -> Vec<usize> {
    match plan {
        Plan::Deposit(n) | Plan::TakeIfBoth(n, _) => vec![n],
        Plan::Transfer(from, to) => vec![from, to],
        Plan::Toggle => vec![0],
    }
}

/// One client: calls one after the other, each tried on several servers, some attempts cut off in
/// the middle, some left behind to go on as zombies.
async fn client(
    servers: Vec<Arc<CasStore<SimulatedBackend>>>,
    mut rng: fastrand::Rng,
) -> Vec<Done> {
    let mut caller = loop {
        let lease = crate::conformance::LONG_LEASE;
        let identity = rpc::id::Identity::anonymous();
        let secret = crate::conformance::SECRET;
        if let Ok(session) = servers[0].open_session(&identity, secret, lease).await {
            break Caller { session, watermark: Seq::FIRST };
        }
    };
    let mut done = Vec::new();
    let mut zombies: JoinSet<(u64, Ended)> = JoinSet::new();
    let mut outcomes: HashMap<u64, Outcome> = HashMap::new();
    for seq in 1..=CALLS {
        let (one, other) = (rng.usize(0..ACCOUNTS), rng.usize(1..ACCOUNTS));
        let other = (one + other) % ACCOUNTS;
        let plan = match rng.u8(0..8) {
            0 => Plan::Deposit(one),
            1..=4 => Plan::Transfer(one, other),
            5 | 6 => Plan::TakeIfBoth(one, other),
            _ => Plan::Toggle,
        };
        let mut attempt = 0;
        let attempts = Arc::new(AtomicU32::new(0));
        while !outcomes.contains_key(&seq) {
            attempt += 1;
            let store = Arc::clone(&servers[rng.usize(0..servers.len())]);
            attempts.store(attempt, Ordering::Relaxed);
            let attempts = Arc::clone(&attempts);
            let run = Run { store, caller, seq, attempt, plan, attempts };
            if rng.u8(0..4) == 0 {
                // A server that dies in the middle.
                let life = Duration::from_micros(rng.u64(0..20_000) << attempt.min(8));
                if let Ok(Ended::With(outcome)) = tokio::time::timeout(life, run.go()).await {
                    outcomes.insert(seq, outcome);
                }
                continue;
            }
            zombies.spawn(async move { (seq, run.go().await) });
            // As a client does: each attempt is given more time than the one before, since the latest
            // attempt has the right of way over all earlier ones.
            let patience = Duration::from_micros(rng.u64(0..60_000) << attempt.min(8));
            let waited = tokio::time::timeout(patience, zombies.join_next()).await;
            if let Ok(Some(Ok((number, Ended::With(outcome))))) = waited {
                let known = outcomes.entry(number).or_insert_with(|| outcome.clone());
                assert_eq!(*known, outcome, "two results of call {number}");
            }
            assert!(attempt < 500, "call {seq} does not end");
        }
        done.push(Done { id: caller.call(seq).id, plan, outcome: outcomes[&seq].clone() });
        caller = caller.acknowledging_below(seq + 1);
    }
    while let Some(ended) = zombies.join_next().await {
        let (seq, ended) = ended.expect("no attempt panics");
        if let Ended::With(outcome) = ended {
            assert_eq!(outcomes[&seq], outcome, "a zombie has another result of call {seq}");
        }
    }
    done
}

async fn world(seed: u64) {
    let backend = SimulatedBackend::new();
    let mut rng = fastrand::Rng::with_seed(seed);
    let servers: Vec<_> = (0..SERVERS as u64)
        .map(|n| CasStore::with_seed(backend.clone(), seed << 8 | n, || WallTime(0)))
        .map(Arc::new)
        .collect();
    let opener = Caller::open(&*servers[0]).await;
    for number in 0..ACCOUNTS {
        let mut commit = opener.commit(number as u64 + 1);
        commit.call.anchor = Some(account(number));
        put(&mut commit, account(number), &Account { balance: START, calls: Vec::new() });
        servers[0].commit(commit).await.expect("no faults yet");
    }
    let faults = Faults {
        unavailable: if rng.bool() { rng.u32(0..60) } else { rng.u32(0..300) },
        ambiguous_done: rng.u32(0..80),
        ambiguous_not_done: rng.u32(0..80),
        delay: Duration::from_micros(rng.u64(0..8_000)),
    };
    backend.set_faults(seed, faults);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(servers.clone(), rng.fork()));
    }
    let mut done = Vec::new();
    let all = async {
        while let Some(ended) = clients.join_next().await {
            done.extend(ended.expect("a client has ended well"));
        }
    };
    tokio::time::timeout(Duration::from_secs(600), all).await.expect("everything ends");
    backend.set_faults(seed, Faults::default());
    check(&backend, seed, &done).await;
}

/// A call that has ended.
struct Done {
    id: CallId,
    plan: Plan,
    outcome: Outcome,
}

async fn check(backend: &SimulatedBackend, seed: u64, done: &[Done]) {
    // A server that has seen nothing of it all.
    let store = CasStore::with_seed(backend.clone(), seed << 8 | 0xff, || WallTime(0));
    let mut found: HashMap<(usize, (u64, u64)), u32> = HashMap::new();
    let mut total = 0;
    let mut lists = Vec::new();
    for number in 0..ACCOUNTS {
        let seen = store.read(&account(number)).await.expect("no faults any more");
        let body = seen.body.expect("accounts are never deleted");
        let account: Account = serde_json::from_slice(&body).expect("JSON");
        total += account.balance;
        for call in &account.calls {
            *found.entry((number, *call)).or_default() += 1;
        }
        lists.push(account.calls);
    }
    let mut deposits = 0;
    let mut at_most_taken = 0;
    for Done { id, plan, .. } in done {
        for number in touched(*plan) {
            let times = found.remove(&(number, (id.client.0, id.seq.0)));
            assert_eq!(times, Some(1), "call {id} ({plan:?}) on account {number}");
        }
        deposits += i64::from(matches!(plan, Plan::Deposit(_))) * 5;
        at_most_taken += i64::from(matches!(plan, Plan::TakeIfBoth(..)));
    }
    assert!(found.is_empty(), "calls nobody made: {found:?}");
    let expected = START * ACCOUNTS as i64 + deposits;
    assert!((expected - at_most_taken..=expected).contains(&total), "{total} of {expected}");
    assert_one_order(&lists, done);
}

type Name = (u64, u64);

/// The order of calls in each list, and before and after each read, must not go round in a circle.
fn assert_one_order(lists: &[Vec<Name>], done: &[Done]) {
    let mut after: HashMap<Name, Vec<Name>> = HashMap::new();
    for list in lists {
        for pair in list.windows(2) {
            after.entry(pair[0]).or_default().push(pair[1]);
        }
    }
    for Done { id, plan, outcome } in done {
        let (Plan::TakeIfBoth(_, with), Outcome::Success(seen)) = (plan, outcome) else { continue };
        let seen = u64::from_le_bytes(seen[..].try_into().expect("eight bytes")) as usize;
        let name = (id.client.0, id.seq.0);
        if let Some(before) = seen.checked_sub(1) {
            after.entry(lists[*with][before]).or_default().push(name);
        }
        if let Some(next) = lists[*with].get(seen) {
            after.entry(name).or_default().push(*next);
        }
    }
    let mut open: Vec<Name> = Vec::new();
    let mut finished: std::collections::HashSet<Name> = Default::default();
    for start in after.keys() {
        visit(*start, &after, &mut open, &mut finished);
    }
}

fn visit(
    call: Name,
    after: &HashMap<Name, Vec<Name>>,
    open: &mut Vec<Name>,
    finished: &mut std::collections::HashSet<Name>,
) {
    assert!(!open.contains(&call), "calls in a circle: {open:?} and again {call:?}");
    if finished.contains(&call) {
        return;
    }
    open.push(call);
    for next in after.get(&call).into_iter().flatten() {
        visit(*next, after, open, finished);
    }
    open.pop();
    finished.insert(call);
}
