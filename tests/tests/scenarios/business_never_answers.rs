//! At the deadline the server writes an aborted record under the id. It wins: a definite
//! `NotExecuted`. It loses: the real result.

use std::time::Duration;

use rpc::error::{AbortReason, CallError, NotExecuted};
use rpc::testing::{ResponseStatus, Rule};
use rpc_tests::world::{Fate, Point, World, holds, must_fail_without};

const DEADLINE: Duration = Duration::from_secs(3);

async fn the_abort_wins(mut world: World) {
    world.start(&["A"]);
    let ledger = world.client("client", &["A"]).await;
    let gate = world.gates.close("A", "stuck", Point::End);
    let call = ledger.deposit("alice".into(), 10, "stuck".into()).deadline(DEADLINE);
    let ended = call.await;
    let aborted = NotExecuted::Aborted(AbortReason::Deadline);
    assert!(matches!(&ended, Err(CallError::NotExecuted(why)) if *why == aborted), "{ended:?}");

    gate.open();
    world.pause(1_000).await;
    world.assert_effects("alice", &[]).await;
    let trace = world.network.trace();
    let abort = ResponseStatus::Aborted(AbortReason::Deadline);
    assert!(trace.find(|frame| frame.says(abort)).unwrap().is_committed());
    assert_eq!(world.server_stats("A").aborts, 1);
}

async fn the_abort_loses(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    // A does it, and nothing that it says about it arrives.
    world.network.script(|frame| {
        if frame.from("A") && frame.is_response(1) { Fate::Lose } else { Fate::Deliver }
    });
    let call = ledger.deposit("alice".into(), 10, "done".into()).deadline(DEADLINE).max_attempts(1);
    assert_eq!(call.await.unwrap(), 10, "the record was there before the abort");

    world.assert_effects("alice", &["done"]).await;
    world.assert_runs("done", &["A"]);
    let trace = world.network.trace();
    assert!(trace.frames().any(|frame| frame.settles()), "the client has asked for the outcome");
}

#[cfg_attr(test, test)]
pub(crate) fn business_never_answers() {
    holds(the_abort_wins);
}

#[cfg_attr(test, test)]
pub(crate) fn business_answered_just_before() {
    holds(the_abort_loses);
}

#[test]
fn it_takes_the_record_at_the_deadline() {
    must_fail_without(Rule::AbortAtDeadline, the_abort_wins);
}
