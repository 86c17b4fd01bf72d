//! A script of store operations that remembers what it was promised, and the check that every
//! promise was kept.
//!
//! Each call appends its id to two lists, in one commit. So what happened can be read off the
//! lists, apart from the records, and the two must agree.

use crate::conformance::{Caller, Draft, LONG_LEASE, SECRET, key};
use rpc::id::{CallId, Identity, SessionId};
use rpc::store::{
    Commit, CommitOutcome, DocKey, Lease, LookUp, Outcome, Refusal, Resume, Store, StoreError,
};
use rpc::time::WallTime;

const LISTS: usize = 4;
const SHORT_LEASE: Lease = Lease { until: WallTime(1_000) };
/// Large enough that the file must grow.
const BIG: usize = 700_000;

/// What the script has tried, and what it was told.
#[derive(Clone, Debug, Default)]
pub struct Log {
    sessions: Vec<Session>,
    calls: Vec<Call>,
}

#[derive(Clone, Debug)]
struct Session {
    caller: Caller,
    /// The highest life that was asked for.
    life: u32,
    /// The highest life that was promised.
    promised_life: u32,
    closing: bool,
    closed: bool,
}

#[derive(Clone, Debug)]
struct Call {
    session: usize,
    seq: u64,
    acknowledged_below: u64,
    lists: [usize; 2],
    extra: Extra,
    told: Told,
}

/// What a call does beside appending to its lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extra {
    Nothing,
    PutBig,
    PutTemporary,
    DeleteTemporary,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// It has taken effect, with this outcome.
    Outcome(Outcome),
    /// Nothing was done.
    NotDone,
}

impl Log {
    /// Runs the script until its end, or until the store fails.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn run(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let a = self.open(store, LONG_LEASE).await?;
        let b = self.open(store, LONG_LEASE).await?;
        self.call(store, a, 1, 1, [0, 1], Extra::Nothing).await?;
        self.call(store, a, 2, 2, [1, 2], Extra::Nothing).await?;
        self.call(store, b, 1, 1, [2, 3], Extra::Nothing).await?;
        self.call(store, a, 3, 3, [0, 3], Extra::PutTemporary).await?;
        self.call_at_once(store, [(a, 4, [0, 1]), (b, 2, [2, 3]), (a, 5, [3, 1])]).await?;
        self.call(store, a, 6, 5, [0, 2], Extra::PutBig).await?;
        self.call(store, a, 7, 7, [1, 3], Extra::DeleteTemporary).await?;
        self.close(store, b).await?;
        self.resume(store, a).await?;
        self.call(store, a, 8, 8, [0, 1], Extra::Nothing).await?;
        let c = self.open(store, SHORT_LEASE).await?;
        self.call(store, c, 1, 1, [2, 3], Extra::Nothing).await?;
        self.sessions[c].closing = true;
        store.expire_sessions(WallTime(1 << 40)).await?;
        self.sessions[c].closed = true;
        self.call(store, a, 9, 9, [2, 0], Extra::Nothing).await
    }

    /// As [`run`](Log::run), with only what every client does: a session, a call, another one that
    /// acknowledges it.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn run_short(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let a = self.open(store, LONG_LEASE).await?;
        self.call(store, a, 1, 1, [0, 1], Extra::Nothing).await?;
        self.call(store, a, 2, 2, [1, 2], Extra::Nothing).await
    }

    async fn open(&mut self, store: &dyn Store, lease: Lease) -> Result<usize, StoreError> {
        let session = store.open_session(&Identity::anonymous(), SECRET, lease).await?;
        let known =
            self.sessions.iter().find(|known| known.caller.session.client == session.client);
        assert!(known.is_none(), "client id {} was given out twice", session.client);
        let caller = Caller { session, watermark: rpc::id::Seq::FIRST };
        let (closing, closed) = (false, false);
        self.sessions.push(Session { caller, life: 1, promised_life: 1, closing, closed });
        Ok(self.sessions.len() - 1)
    }

    async fn resume(&mut self, store: &dyn Store, session: usize) -> Result<Resume, StoreError> {
        let it = &mut self.sessions[session];
        it.life += 1;
        let id = it.caller.in_life(it.life).session;
        let resumed = store.resume_session(&Identity::anonymous(), SECRET, id, LONG_LEASE).await?;
        if matches!(resumed, Resume::Resumed { .. }) {
            it.promised_life = it.life;
        }
        Ok(resumed)
    }

    async fn close(&mut self, store: &dyn Store, session: usize) -> Result<(), StoreError> {
        let it = &mut self.sessions[session];
        it.closing = true;
        let id: SessionId = it.caller.in_life(it.life).session;
        store.close_session(id).await?;
        it.closed = true;
        Ok(())
    }

    async fn call(
        &mut self,
        store: &dyn Store,
        session: usize,
        seq: u64,
        acknowledged_below: u64,
        lists: [usize; 2],
        extra: Extra,
    ) -> Result<(), StoreError> {
        let told = Told::Nothing;
        self.calls.push(Call { session, seq, acknowledged_below, lists, extra, told });
        self.execute(store, self.calls.len() - 1).await
    }

    /// Three calls at once, which conflict in part.
    async fn call_at_once(
        &mut self,
        store: &dyn Store,
        calls: [(usize, u64, [usize; 2]); 3],
    ) -> Result<(), StoreError> {
        let calls = calls.map(|(session, seq, lists)| Call {
            session,
            seq,
            acknowledged_below: 1,
            lists,
            extra: Extra::Nothing,
            told: Told::Nothing,
        });
        let run = |call: &Call| execute(store, call.clone(), self.caller(call.session));
        let (one, two, three) = tokio::join!(run(&calls[0]), run(&calls[1]), run(&calls[2]));
        let mut ended = Ok(());
        for (mut call, told) in calls.into_iter().zip([one, two, three]) {
            match told {
                Ok(outcome) => call.told = Told::Outcome(outcome),
                Err(error) => {
                    call.told = told_by(&error);
                    ended = Err(error);
                }
            }
            self.calls.push(call);
        }
        ended
    }

    /// Runs a call until it has ended, and remembers what it was told.
    async fn execute(&mut self, store: &dyn Store, call: usize) -> Result<(), StoreError> {
        let it = self.calls[call].clone();
        let caller = self.caller(it.session);
        let ended = execute(store, it, caller).await;
        self.calls[call].told = match &ended {
            Ok(outcome) => Told::Outcome(outcome.clone()),
            Err(error) => told_by(error),
        };
        ended.map(drop)
    }

    fn caller(&self, session: usize) -> Caller {
        let it = &self.sessions[session];
        it.caller.in_life(it.life)
    }
}

/// The check.
impl Log {
    /// Asks for every call that was ever tried, without executing any: what the store says now is
    /// a promise, too.
    pub async fn ask(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        self.check_sessions(store).await?;
        for call in 0..self.calls.len() {
            if let LookUp::Recorded(outcome) = self.look_up(store, call).await? {
                self.calls[call].told = Told::Outcome(outcome.into_inner());
            }
        }
        Ok(())
    }

    /// Makes sure that the store holds what was promised, that every other call is wholly there or
    /// not at all, and that asking again settles it.
    ///
    /// # Errors
    /// Only what the store itself gives.
    pub async fn check(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        self.check_sessions(store).await?;
        let mut lists = lists(store).await?;
        for call in 0..self.calls.len() {
            let applied = self.is_applied(call, &lists);
            let found = self.look_up(store, call).await?;
            self.check_call(call, applied, &found);
        }
        self.check_temporary(store, &lists).await?;
        for call in 0..self.calls.len() {
            if self.look_up(store, call).await? == LookUp::Unknown {
                self.execute(store, call).await?;
            }
        }
        lists = self::lists(store).await?;
        for (number, call) in self.calls.iter().enumerate() {
            let settled = self.sessions[call.session].closing || self.is_applied(number, &lists);
            assert!(settled, "asking again has not settled {call:?}");
        }
        self.goes_on(store).await
    }

    async fn check_sessions(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        for session in 0..self.sessions.len() {
            let resumed = self.resume(store, session).await?;
            let it = &self.sessions[session];
            match resumed {
                Resume::Resumed { .. } => assert!(!it.closed, "a closed session came back: {it:?}"),
                Resume::Closed => assert!(it.closing, "an open session is gone: {it:?}"),
                Resume::Fenced { .. } => panic!("nobody else took over {it:?}"),
            }
            if it.closing && resumed == Resume::Closed {
                self.sessions[session].closed = true;
            }
        }
        Ok(())
    }

    fn check_call(&self, call: usize, applied: bool, found: &LookUp) {
        let it = &self.calls[call];
        let session = &self.sessions[it.session];
        match &it.told {
            Told::Outcome(_) => assert!(applied, "an acknowledged call is lost: {it:?}"),
            Told::NotDone => assert!(!applied, "a call that was not done was done: {it:?}"),
            Told::Nothing => {}
        }
        match found {
            LookUp::Recorded(outcome) => {
                assert!(applied, "a record without its effect: {it:?}");
                if let Told::Outcome(told) = &it.told {
                    assert_eq!(outcome.get(), told, "another outcome than was told: {it:?}");
                }
            }
            LookUp::Unknown => assert!(!applied, "an effect without its record: {it:?}"),
            LookUp::Refused(Refusal::SessionClosed) => {
                assert!(session.closing, "an open session is gone: {session:?}");
            }
            LookUp::Refused(Refusal::Stale) => {
                assert!(self.may_be_stale(it), "nobody acknowledged {it:?}");
            }
            LookUp::Refused(other) => panic!("{it:?} was refused: {other:?}"),
        }
    }

    fn may_be_stale(&self, call: &Call) -> bool {
        let of_session = |other: &&Call| other.session == call.session;
        self.calls.iter().filter(of_session).any(|other| call.seq < other.acknowledged_below)
    }

    async fn check_temporary(
        &self,
        store: &dyn Store,
        lists: &[Vec<CallId>],
    ) -> Result<(), StoreError> {
        let was_applied = |extra| {
            let call = self.calls.iter().position(|call| call.extra == extra);
            call.is_some_and(|call| self.is_applied(call, lists))
        };
        let expected = was_applied(Extra::PutTemporary) && !was_applied(Extra::DeleteTemporary);
        let there = store.read(&key("temporary")).await?.body.is_some();
        assert_eq!(there, expected, "the temporary document follows the calls on it");
        let big = store.read(&key("big")).await?.body.map(|body| body.len());
        let expected = was_applied(Extra::PutBig).then_some(BIG);
        assert_eq!(big, expected, "the big document follows the call on it");
        Ok(())
    }

    /// Whether a call stands in its lists: once in both, or in neither.
    fn is_applied(&self, call: usize, lists: &[Vec<CallId>]) -> bool {
        let call = &self.calls[call];
        let id = self.caller(call.session).call(call.seq).id;
        let times = call.lists.map(|list| lists[list].iter().filter(|found| **found == id).count());
        assert!(times == [0, 0] || times == [1, 1], "{call:?} stands {times:?} times in its lists");
        times == [1, 1]
    }

    async fn look_up(&self, store: &dyn Store, call: usize) -> Result<LookUp, StoreError> {
        let call = &self.calls[call];
        store.look_up(&self.caller(call.session).call(call.seq)).await
    }

    /// The store takes new sessions and calls.
    async fn goes_on(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let session = self.open(store, LONG_LEASE).await?;
        self.call(store, session, 1, 1, [0, 3], Extra::Nothing).await?;
        self.close(store, session).await
    }
}

fn told_by(error: &StoreError) -> Told {
    match error {
        StoreError::Unavailable { .. } => Told::NotDone,
        StoreError::Unknown { .. } => Told::Nothing,
        other => panic!("a fault of the disk is no such error: {other}"),
    }
}

async fn execute(store: &dyn Store, call: Call, caller: Caller) -> Result<Outcome, StoreError> {
    loop {
        let draft =
            draft(store, &call, caller.acknowledging_below(call.acknowledged_below)).await?;
        match store.commit(draft).await? {
            CommitOutcome::Committed(outcome) | CommitOutcome::Recorded(outcome) => {
                return Ok(outcome.into_inner());
            }
            CommitOutcome::Conflict => tokio::task::yield_now().await,
            CommitOutcome::Refused(refusal) => panic!("{call:?} was refused: {refusal:?}"),
        }
    }
}

async fn draft(store: &dyn Store, call: &Call, caller: Caller) -> Result<Commit, StoreError> {
    let mut draft = caller.commit(call.seq);
    let id = draft.call.id;
    for number in call.lists {
        let list = list(number);
        let seen = store.read(&list).await?;
        let mut body = seen.body.as_ref().map(|body| body.to_vec()).unwrap_or_default();
        body.extend([id.client.0, id.seq.0].into_iter().flat_map(u64::to_le_bytes));
        draft = draft.reading(&list, &seen).putting(&list, body);
    }
    Ok(match call.extra {
        Extra::Nothing => draft,
        Extra::PutBig => draft.putting(&key("big"), vec![7; BIG]),
        Extra::PutTemporary => draft.putting(&key("temporary"), b"here"),
        Extra::DeleteTemporary => draft.deleting(&key("temporary")),
    })
}

fn list(number: usize) -> DocKey {
    key(&format!("list-{number}"))
}

async fn lists(store: &dyn Store) -> Result<Vec<Vec<CallId>>, StoreError> {
    let mut lists = Vec::new();
    for number in 0..LISTS {
        let body = store.read(&list(number)).await?.body.unwrap_or_default();
        let (words, rest) = body.as_chunks::<8>();
        assert!(rest.is_empty() && words.len() % 2 == 0, "half an entry in list {number}");
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        lists.push(
            words
                .chunks_exact(2)
                .map(|pair| CallId {
                    client: rpc::id::ClientId(pair[0]),
                    seq: rpc::id::Seq(pair[1]),
                })
                .collect(),
        );
    }
    Ok(lists)
}
