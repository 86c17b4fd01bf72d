//! A response reaches only its own call, in whatever order the calls end, and whoever has given up.

use rpc::testing::Rule;
use rpc_tests::world::{Point, World, holds, must_fail_without};

async fn scenario(mut world: World) {
    world.start(&["A"]);
    let ledger = world.client("client", &["A"]).await;
    let names = ["one", "two", "three"];
    let gates = names.map(|name| world.gates.close("A", name, Point::Start));
    let [one, two, three] = names.map(|name| tokio::spawn(ledger.echo(name.into())));
    for gate in &gates {
        gate.reached().await;
    }
    one.abort();
    world.pause(1).await;
    gates[2].open();
    assert_eq!(three.await.unwrap().unwrap(), "three");
    gates[1].open();
    assert_eq!(two.await.unwrap().unwrap(), "two");
    assert_eq!(ledger.echo("four".into()).await.unwrap(), "four");
}

#[cfg_attr(test, test)]
pub(crate) fn responses_reach_their_call() {
    holds(scenario);
}

#[test]
fn it_takes_the_match_by_number() {
    must_fail_without(Rule::MatchBySeq, scenario);
}
