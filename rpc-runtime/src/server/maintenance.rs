//! What a server does beside its connections: leases, and sessions that have none.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::service::Service;
use crate::store::Lease;
use crate::time::Time;

/// How often sessions are looked at. Nothing here is urgent: leases last minutes, and the deadlines
/// of connected sessions are their connections' affair.
const TICK: Duration = Duration::from_secs(1);
/// How often leases that ended are looked for in the store, in ticks.
const TICKS_PER_EXPIRY: u32 = 60;

/// Runs for ever.
pub(super) async fn run<S: Service>(server: Arc<Shared<S>>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut count: u32 = 0;
    loop {
        ticks.tick().await;
        let now = server.clock.now();
        look_at_sessions(&server, now).await;
        count = count.wrapping_add(1);
        if count.is_multiple_of(TICKS_PER_EXPIRY) {
            match server.store.expire_sessions((server.wall_clock)()).await {
                Ok(0) => {}
                Ok(expired) => tracing::debug!(expired, "sessions have expired"),
                Err(error) => tracing::warn!(%error, "leases could not be looked at"),
            }
        }
    }
}

async fn look_at_sessions<S: Service>(server: &Arc<Shared<S>>, now: Time) {
    let config = &server.config;
    for session in server.sessions.sweep(now, config.idle_timeout, config.detached_ttl) {
        let mut duties = Vec::new();
        session.with_output(|state| {
            state.table.handle_timeout(now);
            while let Some(duty) = state.next_duty(&server.counters) {
                duties.push(duty);
            }
        });
        for duty in duties {
            server.perform(&session, duty);
        }
        if session.take_renewal(now, config.lease) {
            let lease = Lease::from((server.wall_clock)(), config.lease);
            if let Err(error) = server.store.renew_session(session.id.client, lease).await {
                tracing::warn!(%error, session = %session.id.client, "a lease was not renewed");
            }
        }
    }
}
