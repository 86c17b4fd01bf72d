//! A call whose anchor cannot be a document's name is refused before its business runs, also when a
//! store has no use for anchors, and also as a retry: it is never left unknown.

use std::time::Duration;

use rpc::error::{CallError, NotExecuted, RefusalReason};
use rpc_tests::world::{Fate, World, holds};

const DEADLINE: Duration = Duration::from_secs(8);

async fn at_once(mut world: World) {
    world.start(&["A"]);
    let ledger = world.client("client", &["A"]).await;
    let endless = "x".repeat(1000);
    for name in ["", &*endless] {
        let ended = ledger.deposit(name.into(), 10, "refused".into()).deadline(DEADLINE).await;
        let refused = matches!(
            &ended,
            Err(CallError::NotExecuted(NotExecuted::Refused {
                reason: RefusalReason::BadArguments,
                ..
            }))
        );
        assert!(refused, "{ended:?}");
    }
    let sends = world.network.trace().count(|frame| frame.is_any_request());
    assert_eq!(sends, 2, "it is not tried again");
    world.assert_runs("refused", &[]);
}

async fn as_a_retry(mut world: World) {
    world.start(&["A"]);
    let ledger = world.client("client", &["A"]).await;
    world.network.script(|frame| {
        if frame.from("A") && frame.attempt() == Some(1) { Fate::Lose } else { Fate::Deliver }
    });
    let ended = ledger.deposit("".into(), 10, "refused".into()).deadline(DEADLINE).await;
    assert!(matches!(&ended, Err(CallError::NotExecuted(_))), "{ended:?}");
    let retries = world.network.trace().count(|frame| frame.is_attempt(1, 2));
    assert!(retries > 0, "the refusal of the first was lost");
    world.assert_runs("refused", &[]);
}

#[cfg_attr(test, test)]
pub(crate) fn unnameable_anchor() {
    holds(at_once);
}

#[cfg_attr(test, test)]
pub(crate) fn unnameable_anchor_of_a_retry() {
    holds(as_a_retry);
}
