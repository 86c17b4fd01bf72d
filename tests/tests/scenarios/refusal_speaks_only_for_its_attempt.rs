//! A call is `NotExecuted` only if every attempt was refused or never sent, or an aborted record
//! says so.

use std::time::Duration;

use rpc::ServerConfig;
use rpc::error::{CallError, NotExecuted, RefusalReason};
use rpc::testing::{ResponseStatus, Rule};
use rpc_tests::world::{Fate, World, holds, must_fail_without, stats};

const DEADLINE: Duration = Duration::from_secs(8);
const OVERLOADED: ResponseStatus = ResponseStatus::Refused(RefusalReason::Overloaded);

/// B takes no calls at all.
fn no_room() -> ServerConfig {
    ServerConfig::default().max_running_per_session(0)
}

async fn one_of_several(mut world: World) {
    world.start(&["A"]);
    world.start_with("B", no_room());
    let ledger = world.client("client", &["A", "B"]).await;
    world.network.script(|frame| if frame.from("A") { Fate::Lose } else { Fate::Deliver });
    let call = ledger.deposit("alice".into(), 10, "done".into()).deadline(DEADLINE);
    let ended = call.await;
    assert!(matches!(ended, Ok(10)), "A has done it, whatever B says: {ended:?}");
    world.assert_effects("alice", &["done"]).await;
    assert!(world.network.trace().count(|frame| frame.from("B") && frame.says(OVERLOADED)) > 0);
}

async fn every_one(mut world: World) {
    world.start_with("B", no_room());
    let ledger = world.client("client", &["B"]).await;
    let ended = ledger.deposit("alice".into(), 10, "refused".into()).deadline(DEADLINE).await;
    let refused = matches!(
        &ended,
        Err(CallError::NotExecuted(NotExecuted::Refused { reason: RefusalReason::Overloaded, .. }))
    );
    assert!(refused, "{ended:?}");
    assert_eq!(
        world.network.trace().count(|frame| frame.settles()),
        0,
        "there is nothing to settle"
    );
    assert!(stats(&ledger).refused > 1, "it was tried again, until the deadline");
    world.assert_effects("alice", &[]).await;
}

async fn one_of_them_twice(mut world: World) {
    world.start_with("B", no_room());
    world.start(&["A"]);
    let ledger = world.client("client", &["B", "A"]).await;
    world.network.script(|frame| {
        if frame.from("B") && frame.says(OVERLOADED) {
            Fate::Twice
        } else if frame.from("A") {
            Fate::Lose
        } else {
            Fate::Deliver
        }
    });
    let call = ledger.deposit("alice".into(), 10, "done".into()).deadline(DEADLINE);
    let ended = call.await;
    assert!(
        matches!(ended, Ok(10) | Err(CallError::OutcomeUnknown(..))),
        "A has done it; that B refused it, and said so twice, is no answer: {ended:?}"
    );
    world.assert_effects("alice", &["done"]).await;
}

#[cfg_attr(test, test)]
pub(crate) fn refusal_speaks_only_for_its_attempt() {
    holds(one_of_several);
}

#[cfg_attr(test, test)]
pub(crate) fn a_call_that_every_attempt_was_refused_is_not_executed() {
    holds(every_one);
}

#[cfg_attr(test, test)]
pub(crate) fn a_refusal_counts_once() {
    holds(one_of_them_twice);
}

#[test]
fn it_takes_the_rule() {
    must_fail_without(Rule::RefusalForItsAttempt, one_of_several);
}
