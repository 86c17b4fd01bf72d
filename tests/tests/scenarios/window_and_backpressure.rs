//! No more calls are in flight than the window allows; the others wait for their turn, or for their
//! deadline.

use std::time::Duration;

use rpc::ServerConfig;
use rpc::error::{CallError, NotExecuted, RefusalReason};
use rpc::testing::{ResponseStatus, Rule};
use rpc_tests::world::{Gate, LedgerClient, Point, World, holds, must_fail_without};

const WINDOW: usize = 4;
const CALLS: usize = 10;

async fn start(world: &mut World) -> (LedgerClient, Vec<Gate>) {
    world.start_with("A", ServerConfig::default().window(WINDOW as u32));
    let ledger = world.client("client", &["A"]).await;
    let gates = (0..CALLS).map(|call| world.gates.close("A", &call.to_string(), Point::Start));
    (ledger, gates.collect())
}

async fn calls_wait_for_their_turn(mut world: World) {
    let (ledger, gates) = start(&mut world).await;
    let calls: Vec<_> =
        (0..CALLS).map(|call| tokio::spawn(ledger.echo(call.to_string()))).collect();
    world.pause(500).await;
    let sent = |world: &World| world.network.trace().count(|frame| frame.is_any_request());
    assert_eq!(sent(&world), WINDOW);
    // The window moves with the first incomplete call, not with any.
    gates[1].open();
    world.pause(10).await;
    assert_eq!(sent(&world), WINDOW);
    gates[0].open();
    world.pause(10).await;
    assert_eq!(sent(&world), WINDOW + 2);
    gates.iter().for_each(Gate::open);
    for (call, echo) in calls.into_iter().enumerate() {
        assert_eq!(echo.await.unwrap().unwrap(), call.to_string());
    }
    let overloaded = ResponseStatus::Refused(RefusalReason::Overloaded);
    assert_eq!(world.network.trace().count(|frame| frame.says(overloaded)), 0);
}

async fn a_call_may_wait_in_vain(mut world: World) {
    let (ledger, gates) = start(&mut world).await;
    let calls: Vec<_> =
        (0..WINDOW).map(|call| tokio::spawn(ledger.echo(call.to_string()))).collect();
    world.pause(10).await;
    let ended = ledger.echo("late".into()).deadline(Duration::from_millis(300)).await;
    let in_vain = matches!(ended, Err(CallError::NotExecuted(NotExecuted::Deadline)));
    assert!(in_vain, "{ended:?}");
    gates.iter().for_each(Gate::open);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(ledger.echo("now".into()).await.unwrap(), "now");
}

#[cfg_attr(test, test)]
pub(crate) fn window_and_backpressure() {
    holds(calls_wait_for_their_turn);
}

#[cfg_attr(test, test)]
pub(crate) fn a_full_window_does_not_outlast_a_deadline() {
    holds(a_call_may_wait_in_vain);
}

#[test]
fn it_takes_the_window() {
    must_fail_without(Rule::Window, calls_wait_for_their_turn);
}
