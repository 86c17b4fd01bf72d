//! Nothing in the store → runs again; committed → the record answers.

use rpc::testing::Rule;
use rpc_tests::world::{Fate, Point, World, holds, must_fail_without};

/// Where the server is when it crashes.
#[derive(Clone, Copy, Debug)]
enum Step {
    BeforeTheRequest,
    InTheBusiness(Point),
    BeforeTheResponse,
}

const STEPS: [Step; 5] = [
    Step::BeforeTheRequest,
    Step::InTheBusiness(Point::Start),
    Step::InTheBusiness(Point::Between),
    Step::InTheBusiness(Point::End),
    Step::BeforeTheResponse,
];

async fn scenario(mut world: World, step: Step) {
    world.start(&["A"]);
    let ledger = world.client("client", &["A"]).await;
    ledger.deposit("alice".into(), 100, "salary".into()).await.unwrap();
    world.network.script(move |frame| match step {
        Step::BeforeTheRequest if frame.is_request(2) => Fate::Lose,
        Step::BeforeTheResponse if frame.is_response(2) => Fate::Lose,
        _ => Fate::Deliver,
    });
    let call = ledger.transfer("alice".into(), "bob".into(), 10, "rent".into());
    let call = if let Step::InTheBusiness(point) = step {
        let gate = world.gates.close("A", "rent", point);
        let call = tokio::spawn(call);
        gate.reached().await;
        world.crash("A").await;
        gate.open();
        call
    } else {
        let call = tokio::spawn(call);
        world.network.until_sent(|frame| frame.is_request(2)).await;
        world.crash("A").await;
        call
    };
    world.network.deliver_all();
    world.start(&["A"]);
    assert_eq!(call.await.unwrap().unwrap(), 90, "{step:?}");

    world.assert_effects("alice", &["salary", "rent"]).await;
    world.assert_effects("bob", &["rent"]).await;
    let runs: &[&str] = match step {
        Step::InTheBusiness(_) => &["A", "A"],
        Step::BeforeTheRequest | Step::BeforeTheResponse => &["A"],
    };
    world.assert_runs("rent", runs);
}

#[cfg_attr(test, test)]
pub(crate) fn server_crash_at_any_step() {
    for step in STEPS {
        holds(async |world| scenario(world, step).await);
    }
}

#[test]
fn it_takes_the_look_before_the_leap() {
    must_fail_without(Rule::LookBeforeLeap, async |world| {
        scenario(world, Step::BeforeTheResponse).await;
    });
}

#[test]
fn it_takes_the_count_of_attempts() {
    must_fail_without(Rule::CountAttempts, async |world| {
        scenario(world, Step::BeforeTheResponse).await;
    });
}
