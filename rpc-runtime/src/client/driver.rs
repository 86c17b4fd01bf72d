//! One task for all timers of a client, and for making its connections.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::connection;
use super::shared::Shared;
use crate::time::Time;

/// How long a closed client's connections may take to send their last words.
const FAREWELL: Duration = Duration::from_secs(1);
/// The longest sleep. A timer that fires too early does no harm.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// Runs until the client is closed, and all that it has left to write and to send is done.
pub(super) async fn drive(shared: Arc<Shared>, keeper: Option<JoinHandle<()>>) {
    let mut connections = JoinSet::new();
    let mut sleep = pin!(tokio::time::sleep(Duration::ZERO));
    std::future::poll_fn(|context| {
        // What is due by now is not left to the timer, which is up to a millisecond late. Once a wake-up, so
        // that nothing that stays due keeps the thread.
        let (mut is_overdue, mut may_hurry) = (false, true);
        loop {
            while let Poll::Ready(Some(_)) = connections.poll_join_next(context) {}
            let due = sleep.as_mut().poll(context).is_ready() || std::mem::take(&mut is_overdue);
            let early = shared.with_state(|state| std::mem::take(&mut state.is_early));
            if due {
                shared.with(|core| core.handle_timeout(shared.clock.now()));
            } else if early {
                shared.with(|core| core.handle_early_timeout(shared.clock.now()));
            }
            // Separate from the time-out, whose orders are there only once the state has settled.
            let (next, orders, closed) = shared.with_state(|state| {
                state.driver_waker = Some(context.waker().clone());
                state.armed = state.core.poll_timeout();
                (state.armed, std::mem::take(&mut state.orders), state.closed)
            });
            for order in orders {
                let task = connections.spawn(connection::run(Arc::clone(&shared), order));
                shared.with_state(|state| state.set_task(order, task));
            }
            if closed {
                return Poll::Ready(());
            }
            if due || early || shared.clock.instant(next) < sleep.deadline() {
                let now = Instant::now();
                let at = now + LONGEST_SLEEP;
                let at = if next == Time::NEVER { at } else { shared.clock.instant(next).min(at) };
                sleep.as_mut().reset(at);
                is_overdue = at <= now && std::mem::take(&mut may_hurry);
                continue;
            }
            return Poll::Pending;
        }
    })
    .await;
    let finished = async { while connections.join_next().await.is_some() {} };
    let _cut_off = tokio::time::timeout(FAREWELL, finished).await;
    // Whoever waits for the client's end may open the journal again.
    if let Some(keeper) = keeper {
        let _panicked = keeper.await;
    }
}
