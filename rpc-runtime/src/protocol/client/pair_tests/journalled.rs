//! A client that dies at any moment and comes back with what its journal has.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::{DEADLINE, Op, Pair, SERVERS, client, ops};
use crate::id::Seq;
use crate::journal::Change;
use crate::protocol::client::Restored;

/// A journal as it is on the disk, and what is on its way there.
#[derive(Default)]
pub(super) struct Remembered {
    rows: BTreeMap<u64, Vec<u8>>,
    batch: Option<Vec<Change>>,
    /// The calls that have ever had a row.
    known: BTreeSet<Seq>,
}

impl Remembered {
    /// Whether a call has ever had a row.
    pub(super) fn knows(&self, seq: Seq) -> bool {
        self.known.contains(&seq)
    }

    fn write(&mut self, changes: Vec<Change>) {
        for Change { key, value } in changes {
            match value {
                Some(value) => {
                    self.known.insert(Seq(key));
                    self.rows.insert(key, value)
                }
                None => self.rows.remove(&key),
            };
        }
    }
}

impl Pair {
    /// A new life of the client begins with what was remembered of the earlier ones.
    pub(super) fn remember(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        let rows = journal.rows.clone().into_iter().collect();
        let (restored, changes) = Restored::from_rows(rows, &self.schema).unwrap();
        journal.write(changes);
        self.core.restore(restored);
    }

    pub(super) fn poll_journal(&mut self) {
        if let Some(journal) = self.journal.as_mut().filter(|journal| journal.batch.is_none()) {
            journal.batch = self.core.poll_journal();
        }
    }

    pub(super) fn write_journal(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        if let Some(changes) = journal.batch.take() {
            journal.write(changes);
            self.core.handle_journalled(self.now);
        }
    }

    pub(super) fn die(&mut self, written: bool) {
        let Some(journal) = &mut self.journal else { return };
        if let Some(changes) = journal.batch.take().filter(|_| written) {
            journal.write(changes);
        }
        // What was never written down was never sent, so that its number may be used again.
        let known = journal.known.clone();
        let unknown: Vec<Seq> =
            self.calls.keys().copied().filter(|seq| !known.contains(seq)).collect();
        for seq in unknown {
            assert_eq!(self.effects(seq), 0, "call {seq} was sent before it was written down");
            self.calls.remove(&seq);
        }
        self.calls.values_mut().for_each(|call| call.waits = false);
        for server in &mut self.servers {
            (server.wanted, server.link) = (false, None);
        }
        (0..SERVERS).for_each(|server| self.cut(server));
        self.core = client(&self.schema);
        self.remember();
        self.core.handle_timeout(self.now);
        self.ask_for_all();
    }

    /// Whoever was not told how a call ended asks for it in the next life.
    fn ask_for_all(&mut self) {
        let untold = self.calls.iter().filter(|(_, call)| call.effects.is_none());
        let untold: Vec<_> = untold.map(|(seq, call)| (*seq, call.method)).collect();
        for (seq, method) in untold {
            let (id, deadline) = (self.core.call_id(seq), self.now + DEADLINE);
            let (arguments, waker) = ([method.0 as u8], Waker::noop());
            match self.core.ask_again(self.now, id, method, deadline, &arguments, waker) {
                Ok(asked) => {
                    assert_eq!(asked, seq);
                    self.calls.get_mut(&seq).unwrap().waits = true;
                }
                Err(ended) => self.note_told(seq, &ended.outcome, &ended.payload),
            }
        }
    }
}

fn journalled_ops() -> impl Strategy<Value = Vec<Op>> {
    let with_journal = |ops: Vec<Op>| {
        let journal = prop_oneof![
            40 => Just(None),
            40 => Just(Some(Op::Written)),
            1 => any::<bool>().prop_map(|written| Some(Op::Die { written })),
        ];
        (Just(ops), proptest::collection::vec(journal, 0..400))
    };
    ops().prop_flat_map(with_journal).prop_map(|(ops, journal)| {
        let journal = journal.into_iter().chain(std::iter::repeat(Some(Op::Written)));
        ops.into_iter().zip(journal).flat_map(|(op, also)| [Some(op), also]).flatten().collect()
    })
}

fn run(ops: Vec<Op>) {
    let mut pair = Pair::with_journal(Some(Remembered::default()));
    for op in ops {
        pair.apply(op);
    }
    pair.finish();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        rng_seed: RngSeed::Fixed(11),
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_was_told_stays_true_in_the_next_life(ops in journalled_ops()) {
        run(ops);
    }
}

/// Without any one of these rules, some call is told wrong, or some number is used twice.
#[cfg(feature = "test-util")]
#[test]
fn it_takes_the_rules_of_the_journal() {
    use crate::rule::{Broken, Rule};
    use proptest::test_runner::{TestCaseError, TestRunner};

    for rule in [
        Rule::JournalBeforeSend,
        Rule::JournalBeforeAck,
        Rule::AttemptAboveEarlierLives,
        Rule::NumberAboveEarlierLives,
    ] {
        let config = ProptestConfig {
            cases: 3_000,
            max_shrink_iters: 0,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(5),
            ..ProptestConfig::default()
        };
        let broken = Broken::rule(rule);
        let found = TestRunner::new(config).run(&journalled_ops(), |ops| {
            run(ops);
            Ok::<(), TestCaseError>(())
        });
        drop(broken);
        assert!(found.is_err(), "nobody notices that {rule:?} is broken");
    }
}
