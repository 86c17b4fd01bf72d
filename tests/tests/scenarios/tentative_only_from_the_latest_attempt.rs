//! A late "insufficient funds" of the first server is not believed after the second has moved the
//! money.

use rpc::testing::Rule;
use rpc_tests::world::{Fate, Frame, Insufficient, Point, World, holds, must_fail_without, stats};

async fn scenario(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    let other = world.client("other", &["B"]).await;
    world.network.script(|frame| match &frame.client[..] {
        // A has the first attempt alone.
        "client" if frame.to("A") && !frame.is_attempt(1, 1) => Fate::Lose,
        "client" if frame.from("B") && frame.is_response(1) => Fate::Hold,
        _ => Fate::Deliver,
    });
    let at_a = world.gates.close("A", "rent", Point::End);
    let at_b = world.gates.close("B", "rent", Point::Start);
    let call = tokio::spawn(ledger.withdraw("alice".into(), 10, "rent".into()));
    at_a.reached().await;
    at_b.reached().await;

    // A has seen an empty account. Then there is money, and B moves it.
    other.deposit("alice".into(), 100, "salary".into()).await.unwrap();
    at_b.open();
    world.network.until_sent(|frame| frame.from("B") && frame.is_committed()).await;
    at_a.open();
    let tentative = |frame: &Frame| frame.from("A") && frame.is_response(1);
    world.network.until_sent(tentative).await;
    assert!(!world.network.trace().find(tentative).unwrap().is_committed());
    world.network.release().await;
    let ended = call.await.unwrap();
    assert!(matches!(ended, Ok(90)), "not {}: {ended:?}", Insufficient { held: 0 }.held);
    world.assert_effects("alice", &["salary", "rent"]).await;
    assert!(stats(&ledger).dropped_responses >= 1);
}

#[cfg_attr(test, test)]
pub(crate) fn tentative_only_from_the_latest_attempt() {
    holds(scenario);
}

#[test]
fn it_takes_the_rule() {
    must_fail_without(Rule::TentativeFromLatestOnly, scenario);
}
