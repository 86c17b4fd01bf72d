//! Nothing is executed for a session that is over.

use std::collections::BTreeMap;

use rpc::store::Lease;
use serde::Deserialize;

use super::Figures;
use super::fault::Step;
use super::plan::Plan;
use super::steps::Known;
use super::store::Change;
use crate::history::Broken;

const RULE: &str = "nothing is executed for a session that is over";

/// A session's document.
#[derive(Debug, Deserialize)]
struct Session {
    until: u64,
    closed: bool,
}

/// Checks that whoever wrote a record believed that the session's lease lasted; half the margin is
/// allowed for, since a write may be tried again for a while after the lease was looked at.
pub(super) fn check(plan: &Plan, log: &[Change], figures: &mut Figures) -> Result<(), Broken> {
    let mut untils: BTreeMap<u64, u64> = BTreeMap::new();
    let mut known: BTreeMap<&str, Known> = BTreeMap::new();
    for change in log {
        let now = plan.wall(change.asked_ms, change.server);
        if let Some(client) = change.key.as_str().strip_prefix("rpc_session:c") {
            let client = client.parse().expect("a client id is a number");
            let body = change.body.as_deref().unwrap_or_default();
            let session: Session = serde_json::from_slice(body).expect("as documented");
            figures.leases_ended += u64::from(session.closed && session.until < now);
            untils.insert(client, session.until);
        } else if matches!(change.step, Some(Step::Commit | Step::Outcome)) && is_eventful(plan) {
            let after = Known::of(&change.meta);
            let before = known.entry(change.key.as_str()).or_default();
            for (client, entry) in &after.clients {
                let old = before.clients.get(client);
                let is_new = |seq: &&u64| old.is_none_or(|old| !old.records.contains_key(*seq));
                let until = untils.get(client).copied().unwrap_or(0);
                let late = now.saturating_sub(until);
                if let Some(seq) = entry.records.keys().find(is_new)
                    && late > Lease::MARGIN.as_millis() as u64 / 2
                    && plan.keeps_margin()
                {
                    let detail = format!("call c{client}.{seq}, {late} ms after the lease's end");
                    return Err((RULE, detail));
                }
            }
            *before = after;
        }
    }
    Ok(())
}

/// Whether leases end in this world at all.
fn is_eventful(plan: &Plan) -> bool {
    plan.lease_ms < 60_000 || !plan.skew_ms.is_empty()
}
