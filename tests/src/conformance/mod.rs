//! What every [`Store`] must do, told as tests that know nothing of the store they run on.
//!
//! A store takes part by a [`Harness`], which opens it, and one line in a test file:
//!
//! ```ignore
//! rpc_tests::conformance_suite!(MemoryHarness);
//! ```
//!
//! That makes each test of the suite a `#[test]` of its own. A new test is a function here and its
//! name in the list of [`conformance_suite!`](crate::conformance_suite).
//!
//! | file | what it asks for |
//! | --- | --- |
//! | `mod.rs` | the [`Harness`], the list of all tests, and the words that they are written in |
//! | `documents.rs` | versions, conflicts, atomicity, guards, deletes |
//! | `records.rs` | the recorded result on every kind of retry, reused ids, limits |
//! | `watermarks.rs` | acknowledged calls: stale ids, and which records go |
//! | `sessions.rs` | ids, secrets, incarnations, closing, leases |
//! | `confirm.rs` | reads that were true at one moment |
//! | `durability.rs` | power cuts and failed syncs, where a harness can make them |
//! | `stores.rs` | harnesses of the stores that need no files |
//! | `transfers.rs` | many calls at once, each applied exactly once |

pub mod confirm;
pub mod documents;
pub mod durability;
pub mod records;
pub mod sessions;
pub mod stores;
pub mod transfers;
pub mod watermarks;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rpc::id::{ArgumentHash, CallId, Identity, Incarnation, Seq, SessionId, SessionSecret};
use rpc::store::{
    CallRef, Commit, CommitOutcome, DocKey, Lease, LookUp, Outcome, ReadVersion, Refusal, Store,
    Versioned, Write,
};
use rpc::time::WallTime;

/// How the suite gets at a store.
pub trait Harness: Send + Sync {
    /// A store with nothing in it.
    fn open(&self) -> impl Future<Output = Arc<dyn Store>> + Send;

    /// What another server has: another handle on the data of this store.
    fn other_handle(&self, store: &Arc<dyn Store>) -> impl Future<Output = Arc<dyn Store>> + Send {
        let same = Arc::clone(store);
        async { same }
    }

    /// The largest document and the largest result that the store takes, in bytes.
    fn limits(&self) -> (usize, usize) {
        (rpc::MAX_DOCUMENT_BYTES, rpc::store::MAX_RESULT_BYTES)
    }

    /// Whether a client that comes back is told what it has acknowledged. Where records lie in
    /// documents, each knows only what was acknowledged with calls on it.
    fn remembers_watermarks(&self) -> bool {
        true
    }

    /// Whether an absence that ended and came back is told from the first. A store may do so: it
    /// costs a run, no more.
    fn tells_absences_apart(&self) -> bool {
        false
    }

    /// Whether the store keeps its data when it is closed.
    fn is_durable(&self) -> bool;

    /// Cuts the power under the last handle on a store, and opens what is found then: nothing that
    /// was not made durable. `None` if there is no power to cut.
    fn after_power_cut(
        &self,
        store: Arc<dyn Store>,
    ) -> impl Future<Output = Option<Arc<dyn Store>>> + Send {
        drop(store);
        async { None }
    }

    /// Lets the next sync fail, and lose its data. `false` if there is none that could.
    fn fail_next_sync(&self) -> bool {
        false
    }

    /// Closes the last handle on a store and opens its data again. `None` if it keeps none.
    fn reopen(&self, store: Arc<dyn Store>) -> impl Future<Output = Option<Arc<dyn Store>>> + Send {
        drop(store);
        async { None }
    }
}

/// Hands the list of all tests to another macro of this crate, behind what that one is given anyway.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($then:ident $($head:tt)*) => {
        $crate::$then! { $($head)*
            documents: insert_if_absent_has_one_winner, two_writes_from_one_read_conflict,
                a_read_is_compared_with_what_was_read,
                a_changed_read_is_a_conflict, an_absence_that_ended_is_a_conflict,
                a_presence_that_ended_is_a_conflict, a_deleted_and_reinserted_document_conflicts,
                an_absence_that_came_back_is_no_conflict, a_blind_write_never_conflicts,
                writes_to_many_documents_are_atomic, a_conflict_applies_nothing,
                write_skew_is_refused, documents_survive_a_reopen,
                versions_are_not_reused_after_a_reopen, a_deletion_survives_a_reopen,
                a_deletion_takes_no_records_with_it;
            records: a_retry_gets_the_success, a_retry_gets_the_business_error,
                a_retry_gets_the_abort, a_retry_after_a_reopen_gets_the_result,
                a_lent_result_is_recorded_as_any,
                a_delayed_first_run_gets_the_record,
                a_delayed_first_run_gets_the_record_after_a_reopen, the_record_wins_over_a_conflict,
                an_abort_that_wins_stops_the_run, an_abort_that_loses_gets_the_result,
                an_unknown_call_is_unknown, a_conflict_leaves_no_record, a_reused_id_is_refused,
                a_reused_id_is_refused_after_a_reopen, calls_may_end_in_any_order,
                ids_of_two_clients_are_apart, large_results_come_back_whole,
                empty_results_come_back_empty, a_commit_at_the_limits_is_taken,
                a_commit_over_the_limits_is_refused_and_does_nothing;
            watermarks: an_acknowledged_call_is_never_executed,
                an_acknowledged_call_is_never_executed_after_a_reopen,
                a_call_below_its_own_watermark_is_stale,
                a_call_below_its_own_watermark_changes_nothing, records_at_or_above_the_watermark_stay,
                the_watermark_never_moves_back, a_watermark_far_ahead_is_taken,
                the_watermark_is_given_back_on_resume, a_conflict_may_be_tried_again;
            sessions: client_ids_are_never_reused, client_ids_are_never_reused_after_a_reopen,
                a_session_is_resumed_after_a_reopen, a_wrong_secret_is_refused,
                a_wrong_identity_is_refused, an_unknown_session_is_refused,
                a_lower_incarnation_is_fenced, a_fence_survives_a_reopen,
                an_incarnation_that_never_began_is_refused, a_new_life_gets_the_old_records,
                a_closed_session_executes_nothing, a_closed_session_stays_closed_after_a_reopen,
                an_earlier_life_cannot_close_a_later_one, closing_twice_is_harmless,
                closing_one_session_leaves_the_others, a_lease_ends_after_its_margin,
                a_renewed_lease_lasts_longer, a_lease_never_moves_back,
                a_resumed_session_has_a_new_lease, an_expired_session_executes_nothing,
                leases_survive_a_reopen;
            confirm: nothing_read_is_consistent, one_read_is_always_consistent,
                reads_of_one_moment_are_consistent, a_change_between_two_reads_is_found,
                an_insert_between_two_reads_is_found, a_delete_between_two_reads_is_found;
            durability: what_is_acknowledged_survives_a_power_cut,
                after_a_failed_sync_nothing_is_acknowledged;
            transfers: transfers_happen_exactly_once, one_call_run_by_many_servers_happens_once,
                a_hot_document_takes_every_increment;
        }
    };
}

/// Makes a `#[test]` of every test of the suite, for the store of one harness. Takes an expression
/// that makes the harness, anew for each test.
#[macro_export]
macro_rules! conformance_suite {
    ($harness:expr) => {
        $crate::conformance_tests! { conformance_suite @tests $harness; }
    };
    (@tests $harness:expr; $($module:ident: $($test:ident),+;)+) => {
        $(mod $module {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    $crate::conformance::$module::$test(&$harness).await;
                }
            )+
        })+
    };
}

/// A test of the suite, by name.
pub struct Test<H> {
    /// File and function.
    pub name: &'static str,
    /// Runs it; it panics if the store does not do what it must.
    pub run: for<'a> fn(&'a H) -> Pin<Box<dyn Future<Output = ()> + 'a>>,
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_list {
    ($harness:ident; $($module:ident: $($test:ident),+;)+) => {
        vec![$($({
            fn run<H: Harness>(harness: &H) -> Pin<Box<dyn Future<Output = ()> + '_>> {
                Box::pin($module::$test(harness))
            }
            let name = concat!(stringify!($module), "::", stringify!($test));
            Test { name, run: run::<$harness> }
        }),+),+]
    };
}

/// All tests of the suite, for whoever runs them otherwise.
#[must_use]
pub fn all<H: Harness>() -> Vec<Test<H>> {
    crate::conformance_tests! { conformance_list H; }
}

/// The secret of every [`Caller`].
pub const SECRET: SessionSecret = SessionSecret(*b"0123456789abcdef");

/// A lease that does not end while a test runs.
pub const LONG_LEASE: Lease = Lease { until: WallTime(1 << 60) };

/// A client, as far as a store knows it.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Its session.
    pub session: SessionId,
    /// What it has acknowledged: everything below.
    pub watermark: Seq,
}

impl Caller {
    /// Opens a session with a long lease.
    pub async fn open(store: &dyn Store) -> Caller {
        Caller::with_lease(store, LONG_LEASE).await
    }

    /// Opens a session with this lease.
    pub async fn with_lease(store: &dyn Store, lease: Lease) -> Caller {
        let session = store
            .open_session(&Identity::anonymous(), SECRET, lease)
            .await
            .expect("a healthy store opens a session");
        Caller { session, watermark: Seq::FIRST }
    }

    /// The same client, having acknowledged everything below `seq`.
    #[must_use]
    pub fn acknowledging_below(self, seq: u64) -> Caller {
        Caller { watermark: Seq(seq), ..self }
    }

    /// The same client in another life.
    #[must_use]
    pub fn in_life(self, incarnation: u32) -> Caller {
        let session = SessionId { incarnation: Incarnation(incarnation), ..self.session };
        Caller { session, ..self }
    }

    /// Its call of this number. The argument hash follows from the number.
    #[must_use]
    pub fn call(&self, seq: u64) -> CallRef {
        CallRef {
            id: CallId { client: self.session.client, seq: Seq(seq) },
            incarnation: self.session.incarnation,
            attempt: rpc::id::Attempt::FIRST,
            born: rpc::time::WallTime(0),
            hash: ArgumentHash(seq.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            // An argument of the call names it, so it is the same in every run. Some tests write that
            // very document, others write beside it.
            anchor: Some(key("doc")),
            watermark: self.watermark,
        }
    }

    /// A commit of its call of this number that ends in `Ok(seq)`, with no reads and writes yet.
    #[must_use]
    pub fn commit(&self, seq: u64) -> Commit {
        Commit {
            call: self.call(seq),
            reads: Vec::new(),
            writes: Vec::new(),
            result: success(&seq.to_le_bytes()),
        }
    }
}

/// A commit, built up in one expression.
pub trait Draft: Sized {
    /// Adds a read.
    #[must_use]
    fn reading(self, key: &DocKey, document: &Versioned) -> Self;
    /// Adds a write.
    #[must_use]
    fn putting(self, key: &DocKey, body: impl AsRef<[u8]>) -> Self;
    /// Adds a deletion.
    #[must_use]
    fn deleting(self, key: &DocKey) -> Self;
    /// Sets the outcome.
    #[must_use]
    fn ending(self, outcome: Outcome) -> Self;
}

impl Draft for Commit {
    fn reading(mut self, key: &DocKey, document: &Versioned) -> Self {
        self.reads.push(read_version(key, document));
        self
    }

    fn putting(mut self, key: &DocKey, body: impl AsRef<[u8]>) -> Self {
        let body = Some(body.as_ref().to_vec().into());
        self.writes.push(Write { key: key.clone(), body });
        self
    }

    fn deleting(mut self, key: &DocKey) -> Self {
        self.writes.push(Write { key: key.clone(), body: None });
        self
    }

    fn ending(mut self, outcome: Outcome) -> Self {
        self.result = outcome;
        self
    }
}

/// The key of a document of the suite.
#[must_use]
pub fn key(name: &str) -> DocKey {
    DocKey::new("test", &name).expect("names in tests are short")
}

/// A successful outcome.
#[must_use]
pub fn success(value: &[u8]) -> Outcome {
    Outcome::Success(value.to_vec().into())
}

/// What [`Store::confirm`] and [`Store::commit`] are told of a read.
#[must_use]
pub fn read_version(key: &DocKey, document: &Versioned) -> ReadVersion {
    ReadVersion::new(key.clone(), document)
}

/// Reads a document.
pub async fn read(store: &dyn Store, key: &DocKey) -> Versioned {
    store.read(key).await.expect("a healthy store answers a read")
}

/// Reads a document's body.
pub async fn body(store: &dyn Store, key: &DocKey) -> Option<Vec<u8>> {
    read(store, key).await.body.map(|body| body.to_vec())
}

/// Commits.
pub async fn commit(store: &dyn Store, commit: Commit) -> CommitOutcome {
    store.commit(commit).await.expect("a healthy store answers a commit")
}

/// Commits, and makes sure that it was applied just now.
pub async fn must_commit(store: &dyn Store, draft: Commit) -> Outcome {
    let id = draft.call.id;
    match commit(store, draft).await {
        CommitOutcome::Committed(outcome) => outcome.into_inner(),
        other => panic!("call {id} is new and must be applied, but the store said {other:?}"),
    }
}

/// Looks a call up.
pub async fn look_up(store: &dyn Store, call: &CallRef) -> LookUp {
    store.look_up(call).await.expect("a healthy store answers a look-up")
}

/// Makes sure that both ways to ask for a call's record give this outcome, byte for byte, and
/// that asking applies nothing.
pub async fn must_be_recorded(store: &dyn Store, call: &CallRef, outcome: &Outcome) {
    match look_up(store, call).await {
        LookUp::Recorded(found) => {
            assert_eq!(found.get(), outcome, "the look-up of {} gives another outcome", call.id);
        }
        other => panic!("the look-up of {} must find its record, not {other:?}", call.id),
    }
    let untouched = key(&format!("written-by-a-retry-of-{}", call.id));
    let again = Commit { call: call.clone(), reads: vec![], writes: vec![], result: success(b"?") };
    match commit(store, again.putting(&untouched, b"twice")).await {
        CommitOutcome::Recorded(found) => {
            assert_eq!(found.get(), outcome, "a second commit of {} gives another", call.id);
        }
        other => panic!("a second commit of {} must find its record, not {other:?}", call.id),
    }
    assert_eq!(body(store, &untouched).await, None, "a second run of {} was applied", call.id);
}

/// Makes sure that both ways to ask for a call refuse it like this, and that nothing is applied.
pub async fn must_be_refused(store: &dyn Store, call: &CallRef, refusal: Refusal) {
    let found = look_up(store, call).await;
    assert_eq!(found, LookUp::Refused(refusal), "the look-up of {}", call.id);
    let untouched = key(&format!("written-by-a-refused-{}", call.id));
    let run = Commit { call: call.clone(), reads: vec![], writes: vec![], result: success(b"?") };
    let outcome = commit(store, run.putting(&untouched, b"executed")).await;
    assert_eq!(outcome, CommitOutcome::Refused(refusal), "the commit of {}", call.id);
    assert_eq!(body(store, &untouched).await, None, "the refused call {} was applied", call.id);
}

/// Makes sure that a call which its client has acknowledged is not executed: it gets its record if
/// the store still keeps that, or is refused as stale.
pub async fn must_not_be_executed_again(store: &dyn Store, call: &CallRef, outcome: &Outcome) {
    match look_up(store, call).await {
        LookUp::Refused(Refusal::Stale) => must_be_refused(store, call, Refusal::Stale).await,
        LookUp::Recorded(_) => must_be_recorded(store, call, outcome).await,
        other => panic!("the acknowledged call {} must be stale or recorded: {other:?}", call.id),
    }
}

/// A moment that is this long after the lease's end and its margin.
#[must_use]
pub fn past(lease: Lease, after: Duration) -> WallTime {
    lease.until + Lease::MARGIN + after
}
