//! The retry is unknown → looked up → runs.

use rpc::testing::Rule;
use rpc_tests::world::{Fate, World, holds, must_fail_without, stats};

async fn scenario(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    world.network.script(|frame| {
        if frame.is_attempt(1, 1) && frame.is_any_request() { Fate::Lose } else { Fate::Deliver }
    });
    assert_eq!(ledger.deposit("alice".into(), 10, "lost".into()).await.unwrap(), 10);

    world.assert_effects("alice", &["lost"]).await;
    world.assert_runs("lost", &["A"]);
    let trace = world.network.trace();
    assert_eq!(trace.sends(1), [("A", 1), ("A", 2)], "the same server, with the retry bit");
    let answer = trace.find(|frame| frame.is_response(1)).unwrap();
    assert_eq!(answer.attempt(), Some(2), "the answer names the send that it answers");
    assert!(!answer.is_resend(), "it is the first answer");
    let stats = stats(&ledger);
    assert_eq!((stats.timeouts, stats.retries, stats.failovers), (1, 1, 0));
    assert_eq!(world.server_stats("A").retries, 1);
}

#[cfg_attr(test, test)]
pub(crate) fn request_lost() {
    holds(scenario);
}

#[test]
fn it_takes_the_count_of_attempts() {
    must_fail_without(Rule::CountAttempts, scenario);
}
