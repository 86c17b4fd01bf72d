//! The same id with other arguments is refused, wherever its record or a server's table holds it.

use rpc::error::Refusal;
use rpc::testing::{ResponseStatus, Rule};
use rpc_tests::world::{Frame, World, holds, must_fail_without};

async fn scenario(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    ledger.deposit("alice".into(), 10, "mine".into()).await.unwrap();
    let trace = world.network.trace();
    let mut forged = trace.find(|frame| frame.is_request(1)).unwrap().clone();
    *forged.bytes.last_mut().unwrap() = b'd';
    world.network.replay_to(&forged, "A").await;
    world.network.replay_to(&forged, "B").await;

    let trace = world.network.trace();
    let reused = ResponseStatus::Never(Refusal::IdReused);
    for server in ["A", "B"] {
        let refused = |frame: &Frame| frame.from(server) && frame.says(reused);
        assert_eq!(trace.count(refused), 1, "{server} refuses it:\n{}", trace.diagram());
    }
    world.assert_effects("alice", &["mine"]).await;
}

#[cfg_attr(test, test)]
pub(crate) fn one_id_one_set_of_arguments() {
    holds(scenario);
}

#[test]
fn it_takes_the_comparison() {
    must_fail_without(Rule::CompareHash, scenario);
}
