//! One run of one case: what happens, and what must be true after it.

use std::sync::Arc;
use std::time::Duration;

use rpc::client::Stub as _;
use rpc::store::cas::CasStore;
use rpc::store::{CommitOutcome, LookUp, Refusal, Store as _};

use super::backend::Steps;
use super::case::{Case, Ended, STRUCK};
use super::check;
use super::cluster::{Cluster, SERVERS, key_of, skip, wall};
use super::control::Control;
use super::step::{Blow, Place, Side, Step};
use crate::world::{Gate, LedgerClient, Network, Point, quietly};

/// What a run has shown.
#[derive(Debug)]
pub(super) struct Ran {
    /// The steps after its last blow.
    pub(super) steps: Vec<Step>,
    pub(super) hit: Vec<(Step, Side)>,
    /// Whether all that was planned has happened.
    pub(super) is_through: bool,
}

/// The virtual time that a run may take, with all its blows, and the checks after it.
const LIMIT: Duration = Duration::from_secs(300);
/// How long the servers have for what follows an answer.
const AFTERWARDS: Duration = Duration::from_millis(200);
/// How long whoever stood still has to notice what has happened.
const NOTICED: Duration = Duration::from_secs(1);
/// How long acknowledgements wait for a request to travel with: until there is one.
const WITH_THE_NEXT: Duration = Duration::from_secs(3600);
/// How long acknowledgements wait where they are to travel alone.
const ALONE: Duration = Duration::from_millis(5);
/// What the clock is put forward by when a session's lease has long been over.
const LONG_AFTER: Duration = Duration::from_secs(2 * 3600);
/// How long one life of a collector is waited for.
const COLLECTED: Duration = Duration::from_secs(5);
/// How long the business of the slow call takes: several times what its client waits for an answer.
const SLOW: Duration = Duration::from_secs(4);
/// When a caller gives up a call that runs.
const GIVEN_UP: Duration = Duration::from_millis(50);
/// How often a caller asks again before that is taken for ever.
const MAX_ASKED: u32 = 8;

/// Runs a case with what is planned against it.
///
/// # Errors
/// What was violated, with a diagram of what happened.
pub(super) fn run(place: &Place) -> Result<Ran, String> {
    let network = Network::new();
    let (control, struck) = Control::new(place.blow, &place.points);
    let ended = quietly(LIMIT, async || {
        let cluster = Cluster::new(network.clone(), Arc::clone(&control), struck);
        match place.case {
            Case::Session => session(&cluster).await,
            Case::Collection => collection(&cluster).await,
            case if place.blow == Blow::Outlive && !place.points.is_empty() => {
                outlived(&cluster, case).await
            }
            case => call(&cluster, place).await.map_err(|what| format!("{case:?}: {what}")),
        }
    });
    let ended = match ended {
        Ok(Ok(())) if control.is_endless() => Err("it takes steps without end".to_owned()),
        Ok(ended) => ended,
        Err(panic) => Err(panic),
    };
    let (steps, hit, is_through) = (control.steps(), control.hit(), control.is_through());
    match ended {
        Ok(()) => Ok(Ran { steps, hit, is_through }),
        Err(what) => Err(format!("{what}\nstruck: {hit:?}\n{}", network.trace().diagram())),
    }
}

async fn call(cluster: &Cluster, place: &Place) -> Result<(), String> {
    let case = place.case;
    open_accounts(cluster).await;
    cluster.start();
    let ack_delay = if case == Case::Acknowledged { ALONE } else { WITH_THE_NEXT };
    let ledger = cluster.client(ack_delay).await?;
    cluster.until_connected(&ledger).await?;
    if case == Case::ErrorOnRetry {
        cluster.control.lose_first_request();
    }
    if case == Case::FailedOver {
        cluster.control.crash_at_answer();
    }
    let mut gates = Vec::new();
    if case.waits() {
        gates.extend(SERVERS.map(|server| cluster.gates.close(server, STRUCK, Point::End)));
    }
    cluster.control.arm();
    let (ended, _) =
        tokio::try_join!(make(cluster, &ledger, case), meanwhile(&ledger, case, &gates))?;
    tokio::time::sleep(AFTERWARDS).await;
    cluster.control.disarm();
    // Whoever stands still wakes up when the next call, too, has gone over what it was about to do.
    let has_next = place.blow == Blow::Stall && ended.is_some();
    if has_next {
        check::next_call(&ledger, case).await?;
    }
    cluster.thaw().await;
    cluster.until_connected(&ledger).await?;
    tokio::time::sleep(NOTICED).await;
    if ended.is_none() {
        check::until_settled(cluster, case).await?;
    }
    let has_effect = check::outcome(cluster, case, ended.as_ref(), has_next).await?;
    check::stages(cluster).await?;
    if case == Case::Slow && place.points.is_empty() {
        check::ran_once(cluster)?;
    }
    // What must be remembered is not collected, however often somebody looks.
    let life = cluster.control.begin_life("early collector");
    collect(cluster.store.clone(), cluster.handle(&life)).await;
    let overtaken = case == Case::Overtaken && ended.is_none();
    let acknowledged = case == Case::Acknowledged || overtaken || has_next;
    check::replays(cluster, case, acknowledged).await?;
    check::holdings(cluster, case, has_effect, has_next).await?;
    if !has_next {
        check::next_call_among_copies(cluster, &ledger, case, has_effect).await?;
    }
    if case == Case::GivenUp {
        check::dropped_answers(&ledger).await?;
    }
    check::holdings(cluster, case, has_effect, true).await?;
    ledger.client().clone().shutdown(Duration::from_secs(5)).await;
    tokio::time::sleep(AFTERWARDS).await;
    collected(cluster).await
}

/// A server wakes up when the session of the call that it was running is long over, and all that
/// the session has left was collected. Nothing changes any more.
async fn outlived(cluster: &Cluster, case: Case) -> Result<(), String> {
    open_accounts(cluster).await;
    cluster.start();
    let ledger = cluster.client(WITH_THE_NEXT).await?;
    cluster.until_connected(&ledger).await?;
    cluster.control.arm();
    make(cluster, &ledger, case).await?;
    tokio::time::sleep(AFTERWARDS).await;
    cluster.control.disarm();
    skip(LONG_AFTER);
    let life = cluster.control.begin_life("collector");
    if !collect(cluster.store.clone(), cluster.handle(&life)).await {
        return Err("a healthy store is not collected".to_owned());
    }
    let before = check::everything(cluster)?;
    cluster.thaw().await;
    tokio::time::sleep(NOTICED).await;
    let after = check::everything(cluster)?;
    if before != after {
        return Err(format!("a call of a session that is over took effect: {before:?}, {after:?}"));
    }
    Ok(())
}

/// A session from its first hello to its goodbye.
async fn session(cluster: &Cluster) -> Result<(), String> {
    open_accounts(cluster).await;
    cluster.start();
    cluster.control.arm();
    let ledger = cluster.client(WITH_THE_NEXT).await?;
    let ended = make(cluster, &ledger, Case::Session).await?;
    ledger.client().clone().shutdown(Duration::from_secs(5)).await;
    tokio::time::sleep(AFTERWARDS).await;
    cluster.control.disarm();
    cluster.thaw().await;
    tokio::time::sleep(NOTICED).await;
    let has_effect = check::outcome(cluster, Case::Session, ended.as_ref(), false).await?;
    check::stages(cluster).await?;
    check::sessions(cluster).await?;
    check::holdings(cluster, Case::Session, has_effect, false).await?;
    collected(cluster).await
}

/// The collecting of all that the calls of two sessions have left, one closed and one lost.
async fn collection(cluster: &Cluster) -> Result<(), String> {
    open_accounts(cluster).await;
    cluster.start();
    let ledger = cluster.client(WITH_THE_NEXT).await?;
    let made = async |ledger: &LedgerClient, case: Case| match case.call(ledger, None).await {
        Ok(ended) if ended == case.outcome() => Ok(()),
        other => Err(format!("with nothing planned against it, {case:?} ends in {other:?}")),
    };
    made(&ledger, Case::Transfer).await?;
    made(&ledger, Case::Anchorless).await?;
    ledger.client().clone().shutdown(Duration::from_secs(5)).await;
    let lost = cluster.client(WITH_THE_NEXT).await?;
    match Case::Delete.call(&lost, None).await {
        Ok(Ended::Value(held)) if held == "60" => {}
        other => return Err(format!("bob holds 60, and not {other:?}")),
    }
    // It goes without a word: its lease must end the session.
    cluster.control.lose_goodbyes();
    drop(lost);
    tokio::time::sleep(NOTICED).await;
    skip(LONG_AFTER);
    cluster.control.arm();
    collect_in_lives(cluster).await?;
    cluster.control.disarm();
    cluster.thaw().await;
    tokio::time::sleep(NOTICED).await;
    check::nothing_is_left(cluster)?;
    executes_nothing(cluster).await
}

/// Makes the call and asks again until it is known how it ended; `None` if its caller dropped it.
async fn make(
    cluster: &Cluster,
    ledger: &LedgerClient,
    case: Case,
) -> Result<Option<Ended>, String> {
    let mut again = None;
    for _ in 0..MAX_ASKED {
        let call = Box::pin(case.call(ledger, again));
        let ended = tokio::select! {
            biased;
            ended = call => ended,
            () = cluster.control.drop_call.notified() => return Ok(None),
            () = tokio::time::sleep(GIVEN_UP), if case == Case::GivenUp => return Ok(None),
        };
        match ended {
            Ok(ended) => return Ok(Some(ended)),
            Err(id) => again = Some(id),
        }
    }
    Err(format!("asked {MAX_ASKED} times, nobody knows how the call ended"))
}

/// What happens while the call waits.
async fn meanwhile(ledger: &LedgerClient, case: Case, gates: &[Gate]) -> Result<(), String> {
    match case {
        Case::Slow => tokio::time::sleep(SLOW).await,
        Case::Overtaken => {
            for number in 1..=2 {
                let later = ledger.deposit("erin".into(), 1, format!("later {number}")).await;
                later.map_err(|error| format!("a later call fails: {error}"))?;
            }
        }
        _ => return Ok(()),
    }
    gates.iter().for_each(Gate::open);
    Ok(())
}

async fn open_accounts(cluster: &Cluster) {
    for (account, balance) in [("alice", 100), ("bob", 50), ("carol", 7)] {
        cluster.found(account, balance).await;
    }
}

/// Long after the session has ended, everything that its calls have left can go, and goes.
async fn collected(cluster: &Cluster) -> Result<(), String> {
    skip(LONG_AFTER);
    collect_in_lives(cluster).await?;
    check::nothing_is_left(cluster)?;
    executes_nothing(cluster).await
}

/// Collects; where a life of the collector ends in the middle, the next one begins anew.
async fn collect_in_lives(cluster: &Cluster) -> Result<(), String> {
    for _ in 0..MAX_ASKED {
        let life = cluster.control.begin_life("collector");
        let collecting = tokio::spawn(collect(cluster.store.clone(), cluster.handle(&life)));
        let abort = collecting.abort_handle();
        match tokio::time::timeout(COLLECTED, collecting).await {
            Ok(Ok(true)) if check::nothing_is_left(cluster).is_ok() => return Ok(()),
            // The store was in trouble, or has not said whether it removed something.
            Ok(Ok(_)) => {}
            Ok(Err(panic)) => return Err(format!("the collector has panicked: {panic}")),
            // One that only stands still goes on as a zombie.
            Err(_) if cluster.control.is_alive(&life) => {}
            Err(_) => abort.abort(),
        }
    }
    check::nothing_is_left(cluster)?;
    Err("the collecting does not end".to_owned())
}

/// Whether it came to its end: the store may be in trouble.
async fn collect(store: crate::simulated::SimulatedBackend, handle: CasStore<Steps>) -> bool {
    // First sessions are closed, then what they have left goes, then they go themselves.
    if handle.expire_sessions(wall()).await.is_err() {
        return false;
    }
    for key in store.keys() {
        let is_ours = key.as_str().starts_with("book:") || key.as_str().starts_with("rpc_call");
        if is_ours && handle.collect(&key).await.is_err() {
            return false;
        }
    }
    handle.expire_sessions(wall()).await.is_ok()
}

/// A call of a session that is over is never executed: not even now that all is forgotten.
async fn executes_nothing(cluster: &Cluster) -> Result<(), String> {
    let life = cluster.control.begin_life("late");
    let store = cluster.handle(&life);
    for frame in check::welcomes(cluster) {
        let mut late =
            crate::conformance::Caller { session: frame, watermark: rpc::id::Seq::FIRST }.commit(1);
        late.call.anchor = Some(key_of("dave"));
        late.writes
            .push(rpc::store::Write { key: key_of("dave"), body: Some(b"{}".to_vec().into()) });
        let found = store.look_up(&late.call).await;
        let done = store.commit(late).await;
        let is_closed = matches!(found, Ok(LookUp::Refused(Refusal::SessionClosed)))
            && matches!(done, Ok(CommitOutcome::Refused(Refusal::SessionClosed)));
        if !is_closed {
            return Err(format!("a call of a session that is over: {found:?}, then {done:?}"));
        }
    }
    Ok(())
}

impl Blow {
    /// Whether it can befall a case.
    pub(super) fn befalls(self, case: Case) -> bool {
        match self {
            Blow::Drop => case.is_call(),
            Blow::Outlive => matches!(
                case,
                Case::Write | Case::Transfer | Case::Guarded | Case::Delete | Case::Anchorless
            ),
            _ => true,
        }
    }
}
