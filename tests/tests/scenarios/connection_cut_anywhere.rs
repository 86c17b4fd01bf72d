//! A connection may break at any byte: the client connects again and asks, and the effect is there
//! once.

use rpc::testing::Rule;
use rpc_tests::world::{Fate, Frame, World, holds, must_fail_without, stats};

type Place = (fn(&Frame) -> bool, Fate);

const PLACES: [Place; 6] = [
    (|frame| frame.is_request(1), Fate::CutBefore),
    (|frame| frame.is_request(1), Fate::CutInside),
    (|frame| frame.is_request(1), Fate::CutAfter),
    (|frame| frame.is_response(1), Fate::CutBefore),
    (|frame| frame.is_response(1), Fate::CutInside),
    (|frame| frame.is_response(1), Fate::CutAfter),
];

async fn scenario(mut world: World, (is_meant, fate): Place) {
    world.start(&["A"]);
    let ledger = world.client("client", &["A"]).await;
    let mut cuts = 0;
    world.network.script(move |frame| {
        let cut = cuts < 3 && is_meant(frame);
        cuts += u32::from(cut);
        if cut { fate } else { Fate::Deliver }
    });
    assert_eq!(ledger.deposit("alice".into(), 10, "once".into()).await.unwrap(), 10);
    world.assert_effects("alice", &["once"]).await;
    world.assert_runs("once", &["A"]);
    assert_eq!(ledger.deposit("alice".into(), 1, "next".into()).await.unwrap(), 11);
    assert!(stats(&ledger).connections > 1, "it has connected again");
}

#[cfg_attr(test, test)]
pub(crate) fn connection_cut_anywhere() {
    for place in PLACES {
        holds(async |world| scenario(world, place).await);
    }
}

#[test]
fn it_takes_responses_kept_and_attempts_counted() {
    must_fail_without(Rule::CountAttempts, async |world| {
        let _broken = rpc::testing::Broken::rule(Rule::KeepUntilAcked);
        scenario(world, PLACES[4]).await;
    });
}
