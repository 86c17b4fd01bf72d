//! Acks against a naive model: whatever order calls end in, the watermark is the first incomplete
//! one, and the bitmap names the complete ones above it.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::call::{CallState, NewCall};
use super::ring::CallRing;
use crate::id::{ClientId, MethodId, Seq};
use crate::service::Kind;
use crate::time::Time;
use crate::wire::ack::{Ack, MAX_BITMAP_CALLS};

#[derive(Clone, Debug)]
enum Step {
    Make,
    /// A pending call ends.
    End(prop::sample::Index),
    /// A caller takes the result of one that has ended.
    Take(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Make),
        2 => any::<prop::sample::Index>().prop_map(Step::End),
        2 => any::<prop::sample::Index>().prop_map(Step::Take),
    ];
    vec(step, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        rng_seed: RngSeed::Fixed(2),
        ..ProptestConfig::default()
    })]

    #[test]
    fn acks_are_what_a_set_would_say(steps in steps()) {
        let mut ring = CallRing::new();
        let (mut pending, mut ended) = (BTreeSet::new(), BTreeSet::new());
        let mut untaken = BTreeSet::new();
        for step in steps {
            match step {
                Step::Make => {
                    pending.insert(make(&mut ring));
                }
                Step::End(index) if !pending.is_empty() => {
                    let seq = *pending.iter().nth(index.index(pending.len())).unwrap();
                    pending.remove(&seq);
                    ended.insert(seq);
                    untaken.insert(seq);
                    ring.get_mut(seq).unwrap().state = CallState::Complete;
                    ring.note_complete(seq);
                    ring.trim();
                }
                Step::Take(index) if !untaken.is_empty() => {
                    let seq = *untaken.iter().nth(index.index(untaken.len())).unwrap();
                    untaken.remove(&seq);
                    ring.get_mut(seq).unwrap().state = CallState::Vacant;
                    ring.trim();
                }
                Step::End(_) | Step::Take(_) => {}
            }
            let watermark = pending.first().copied().unwrap_or(ring.next_seq());
            prop_assert_eq!(ring.watermark(), watermark);
            let above: Vec<Seq> =
                ended.iter().copied().filter(|seq| *seq > watermark).collect();
            let bitmap = ring.bitmap();
            prop_assert_eq!(Ack::new(watermark, &bitmap).above().collect::<Vec<_>>(), &above[..]);
            prop_assert_eq!(ring.complete_above(), above.len() as u64);
            prop_assert_eq!(bitmap.last() == Some(&0), false);
            let oldest = untaken.first().copied().unwrap_or(watermark).min(watermark);
            prop_assert_eq!(ring.len() as u64, ring.next_seq().0 - oldest.0, "no more is kept");
        }
    }
}

fn make(ring: &mut CallRing) -> Seq {
    let (seq, call) = ring.push();
    call.begin(NewCall {
        kind: Kind::Write,
        method: MethodId(0),
        options: None,
        client: ClientId(1),
        made_at: Time::ZERO,
        deadline: Time::NEVER,
        arguments: Vec::new(),
        waker: None,
    });
    seq
}

/// A ring of this many calls, of which those were completed in this order.
fn completed(calls: u64, order: impl IntoIterator<Item = u64>) -> CallRing {
    let mut ring = CallRing::new();
    for _ in 0..calls {
        make(&mut ring);
    }
    for seq in order {
        ring.get_mut(Seq(seq)).unwrap().state = CallState::Complete;
        ring.note_complete(Seq(seq));
    }
    ring
}

#[test]
fn a_bitmap_has_a_bit_for_each_call_above_the_watermark() {
    let ring = completed(20, [1, 3, 5, 12]);
    assert_eq!((ring.watermark(), ring.complete_above()), (Seq(2), 3));
    assert_eq!(ring.bitmap(), [0b0000_0101, 0b0000_0010]);
}

#[test]
fn calls_that_the_watermark_passes_are_no_longer_above_it() {
    let ring = completed(20, [2, 3, 4, 7, 1]);
    assert_eq!((ring.watermark(), ring.complete_above()), (Seq(5), 1));
}

#[test]
fn a_bitmap_speaks_of_no_more_calls_than_the_largest_window_holds() {
    let last_of_window = MAX_BITMAP_CALLS + 1;
    let ring = completed(last_of_window + 1, [last_of_window, last_of_window + 1]);
    let bitmap = ring.bitmap();
    assert_eq!(bitmap.len() as u64, MAX_BITMAP_CALLS / 8);
    assert_eq!(bitmap.last(), Some(&0b1000_0000));
}

#[test]
fn what_is_taken_makes_room_up_to_the_watermark() {
    let mut ring = completed(4, [1, 2, 4]);
    for seq in [1, 2, 4] {
        ring.get_mut(Seq(seq)).unwrap().state = CallState::Vacant;
    }
    ring.trim();
    assert_eq!(ring.len(), 2, "3 is pending, and 4 behind it");
    let mut empty = CallRing::new();
    empty.trim();
    assert_eq!(empty.len(), 0);
}
