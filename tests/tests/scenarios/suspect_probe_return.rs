//! A server that is silent is suspected, probed, and comes back by itself: on the same connection,
//! with no call lost to find out.

use rpc::testing::{Direction, FrameView, Rule};
use rpc_tests::world::{Fate, Frame, World, holds, must_fail_without, stats};

async fn scenario(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    world.network.script(|frame| if frame.from("A") { Fate::Lose } else { Fate::Deliver });
    ledger.echo("from B".into()).await.unwrap();
    assert_eq!(stats(&ledger).suspicions, 1);
    let ping = |frame: &Frame| frame.to("A") && matches!(frame.view, FrameView::Ping);
    world.pause(2_000).await;
    let pings = world.network.trace().count(ping);
    assert!((3..10).contains(&pings), "{pings} probes in two seconds, ever fewer");
    let to_a = |frame: &Frame| frame.to("A") && frame.is_any_request();
    let asked = world.network.trace().count(to_a);
    for _ in 0..4 {
        ledger.echo("from B".into()).await.unwrap();
    }
    assert_eq!(world.network.trace().count(to_a), asked, "a suspect gets no calls");

    world.network.deliver_all();
    world.pause(3_000).await;
    let pong = |frame: &Frame| frame.from("A") && matches!(frame.view, FrameView::Pong);
    assert!(world.network.trace().count(pong) >= 1);
    for _ in 0..4 {
        ledger.echo("from both".into()).await.unwrap();
    }
    assert_eq!(world.network.trace().count(to_a), asked + 2, "it has its share again");
    let stats = stats(&ledger);
    assert_eq!((stats.suspicions, stats.connections), (1, 2), "nothing was connected anew");
    let hellos = |frame: &Frame| frame.direction == Direction::ToServer && is_hello(frame);
    assert_eq!(world.network.trace().count(hellos), 2);
}

fn is_hello(frame: &Frame) -> bool {
    matches!(frame.view, FrameView::Hello { .. })
}

#[cfg_attr(test, test)]
pub(crate) fn suspect_probe_return() {
    holds(scenario);
}

#[test]
fn it_takes_probes() {
    must_fail_without(Rule::ProbeSuspects, scenario);
}
