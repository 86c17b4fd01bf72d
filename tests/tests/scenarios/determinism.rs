//! The same scenario with the same seed is the same to the last frame and microsecond.

use std::time::Duration;

use rpc_tests::world::{Fate, World, trace_of};

async fn scenario(mut world: World) {
    world.start(&["A", "B", "C"]);
    let ledger = world.client("client", &["A", "B", "C"]).await;
    let mut count = 0u32;
    world.network.script(move |frame| {
        count += 1;
        match count % 7 {
            0 => Fate::Lose,
            3 => Fate::Delay(Duration::from_millis(u64::from(count) % 50)),
            _ if count.is_multiple_of(97) && frame.is_any_request() => Fate::CutInside,
            _ => Fate::Deliver,
        }
    });
    let calls: Vec<_> = (0..60)
        .map(|call| tokio::spawn(ledger.deposit("alice".into(), 1, call.to_string())))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let mut references = world.book("alice").await.references;
    references.sort_unstable();
    references.dedup();
    assert_eq!((references.len(), world.book("alice").await.balance), (60, 60), "each once");
}

#[cfg_attr(test, test)]
pub(crate) fn determinism() {
    let first = trace_of(scenario);
    assert!(first.lines().count() > 150, "something happened:\n{first}");
    assert_eq!(first, trace_of(scenario));
}
