//! What must be true after a run.

use std::pin::Pin;
use std::time::Duration;

use rpc::error::{Refusal, RefusalReason};
use rpc::id::{Identity, SessionId, SessionSecret};
use rpc::store::{Lease, Resume, Store as _};
use rpc::testing::{Direction, FrameView, ResponseStatus};
use rpc::time::WallTime;

use super::case::{Case, Ended, Holding, STRUCK};
use super::cluster::{Cluster, MAX_IN_FLIGHT, SERVERS, key_of};
use crate::world::{Book, Frame, Gate, LedgerClient, Point, Trace};

/// The number of the call that is struck: its client makes no other before it.
const SEQ: u64 = 1;
/// What the call after it adds, and its reference.
const ADDED: u64 = 5;
const NEXT: &str = "next";
/// How long a dropped call may take to be settled.
const SETTLED: Duration = Duration::from_secs(60);
/// How long a server may take to answer a request of which everything is recorded.
const ANSWERED: Duration = Duration::from_millis(400);

/// How many answers are dropped: several times as many as there are places for.
const DROPPED: u64 = 5 * MAX_IN_FLIGHT as u64;
/// How long an answer may take when nothing is planned against it.
const HEARD: Duration = Duration::from_millis(20);

/// Waits until a call that its caller dropped is settled: recorded, if it is a write.
pub(super) async fn until_settled(cluster: &Cluster, case: Case) -> Result<(), String> {
    let answered = cluster.network.until_sent(|frame| {
        let is_recorded = frame.is_committed() && ending(frame).is_some();
        let is_tentative = !case.is_recorded() && !frame.says(ResponseStatus::InProgress);
        frame.is_response(SEQ) && (is_recorded || is_tentative)
    });
    match tokio::time::timeout(SETTLED, answered).await {
        Ok(()) => Ok(()),
        Err(_) => Err("a dropped call is not settled".to_owned()),
    }
}

/// Checks how the call ended, and that it took effect once or not at all, as was said. Returns
/// whether it has.
pub(super) async fn outcome(
    cluster: &Cluster,
    case: Case,
    ended: Option<&Ended>,
    has_next: bool,
) -> Result<bool, String> {
    attempts_are_counted(&cluster.network.trace())?;
    let expected = case.outcome();
    let has_effect = match ended {
        Some(Ended::NotExecuted(_)) if matches!(expected, Ended::NotExecuted(_)) => false,
        // Both sends that it had may have been lost.
        Some(Ended::NotExecuted(_)) if case == Case::FailedOver => false,
        Some(ended) if *ended == expected => true,
        Some(other) => return Err(format!("the caller was told {other:?}, not {expected:?}")),
        // Its caller is gone; the record tells.
        None => match recorded(&cluster.network.trace())? {
            Some((status, _)) => status == ResponseStatus::Success,
            None => false,
        },
    };
    holdings(cluster, case, has_effect, has_next).await?;
    Ok(has_effect)
}

/// Checks what all accounts hold, read by a server that has seen nothing of it all.
pub(super) async fn holdings(
    cluster: &Cluster,
    case: Case,
    has_effect: bool,
    has_next: bool,
) -> Result<(), String> {
    let store = cluster.handle(&cluster.control.begin_life("reader"));
    for (account, mut expected) in case.holdings(has_effect) {
        if has_next && account == "bob" {
            let (balance, references) = expected.get_or_insert_default();
            *balance += ADDED;
            references.push(NEXT);
        }
        let read = store.read(&key_of(account)).await;
        let body = read.map_err(|error| format!("{account} cannot be read: {error}"))?.body;
        let found: Option<Book> = match body {
            Some(body) => serde_json::from_slice(&body).map_err(|error| error.to_string())?,
            None => None,
        };
        let found = found.map(|book| (book.balance, book.references));
        let same = match (&found, &expected) {
            (None, None) => true,
            (Some(found), Some(expected)) => found.0 == expected.0 && found.1 == expected.1,
            _ => false,
        };
        if !same {
            return Err(format!("{account} holds {found:?}, not {}", shown(&expected)));
        }
    }
    Ok(())
}

/// Checks that nobody's stage is left once everything was read.
pub(super) async fn stages(cluster: &Cluster) -> Result<(), String> {
    for key in cluster.store.keys() {
        if meta(cluster, key.as_str())?.get("s").is_some() {
            return Err(format!("a stage is left on {key}"));
        }
    }
    Ok(())
}

/// Sends every request of the call once more, to both servers: a copy that was late. Each is
/// answered with the record, and nothing else; or refused as stale, once it was acknowledged.
pub(super) async fn replays(
    cluster: &Cluster,
    case: Case,
    acknowledged: bool,
) -> Result<(), String> {
    let before = cluster.network.trace();
    let mut requests: Vec<&Frame> = Vec::new();
    for frame in before.frames().filter(|frame| frame.is_request(SEQ)) {
        if requests.iter().all(|known| known.bytes != frame.bytes) {
            requests.push(frame);
        }
    }
    let sent = before.frames().count();
    for request in &requests {
        for server in SERVERS {
            cluster.network.replay_to(request, server).await;
        }
    }
    tokio::time::sleep(ANSWERED).await;
    let trace = cluster.network.trace();
    let record = recorded(&trace)?;
    if case != Case::Read {
        retries_are_recorded(&trace)?;
    }
    if !case.is_recorded() {
        return Ok(());
    }
    for server in SERVERS {
        let answers = trace.frames().skip(sent);
        let answers: Vec<&Frame> =
            answers.filter(|frame| frame.is_response(SEQ) && frame.from(server)).collect();
        if answers.iter().all(|frame| frame.says(ResponseStatus::InProgress)) {
            return Err(format!("{server} does not answer for a recorded call"));
        }
        let stale = ResponseStatus::Never(Refusal::Stale);
        let wrong = answers.iter().find(|frame| {
            let is_record = frame.is_committed() && record.is_some();
            // A copy of the first send runs at once. It writes nothing, and nobody believes it.
            let is_idle = case == Case::ErrorOnRetry && frame.attempt() == Some(1);
            // A copy of a send that this server has refused stays refused; a retry would not.
            let refused = ResponseStatus::Refused(RefusalReason::StoreUnavailable);
            let is_refused = frame.says(refused)
                && trace.frames().take(sent).any(|earlier| {
                    let same = earlier.is_response(SEQ) && earlier.attempt() == frame.attempt();
                    same && earlier.from(server) && earlier.says(refused)
                });
            let runs = frame.says(ResponseStatus::InProgress);
            !(is_record || is_idle || is_refused || runs || acknowledged && frame.says(stale))
        });
        if let Some(frame) = wrong {
            return Err(format!("{server} is asked again for a recorded call, and says: {frame}"));
        }
    }
    Ok(())
}

/// The next call of the client goes through, on what the struck one left behind.
pub(super) async fn next_call(ledger: &LedgerClient, case: Case) -> Result<(), String> {
    let has_effect = !matches!(case.outcome(), Ended::NotExecuted(_));
    let bob = case.holdings(has_effect)[1].1.as_ref().map_or(0, |bob| bob.0);
    match ledger.deposit("bob".into(), ADDED, NEXT.to_owned()).await {
        Ok(balance) if balance == bob + ADDED => Ok(()),
        other => Err(format!("the next call adds {ADDED} to {bob} and says {other:?}")),
    }
}

/// The next call of the client goes through, on what the struck one left behind, and whatever late
/// copies of that one are answered meanwhile: their answers are not taken for its own.
pub(super) async fn next_call_among_copies(
    cluster: &Cluster,
    ledger: &LedgerClient,
    case: Case,
    has_effect: bool,
) -> Result<(), String> {
    let bob = case.holdings(has_effect)[1].1.as_ref().map_or(0, |bob| bob.0);
    let gates = SERVERS.map(|server| cluster.gates.close(server, NEXT, Point::Start));
    let copies = async {
        let sent = cluster.network.until_sent(|frame| {
            frame.is_any_request()
                && frame.direction == Direction::ToServer
                && !frame.is_request(SEQ)
        });
        sent.await;
        let replayed = replays(cluster, case, true).await;
        gates.iter().for_each(Gate::open);
        replayed
    };
    let (next, replayed) =
        tokio::join!(ledger.deposit("bob".into(), ADDED, NEXT.to_owned()), copies);
    replayed?;
    match next {
        Ok(balance) if balance == bob + ADDED => Ok(()),
        other => Err(format!("the next call adds {ADDED} to {bob} and says {other:?}")),
    }
}

/// Checks that a server that says that it is at it is left alone.
pub(super) fn ran_once(cluster: &Cluster) -> Result<(), String> {
    match cluster.gates.runs(STRUCK).as_slice() {
        [_] => Ok(()),
        runs => Err(format!("a call that was only slow ran on {runs:?}")),
    }
}

/// Drops more calls, each with its answer, than may be in flight: their places are free again.
pub(super) async fn dropped_answers(ledger: &LedgerClient) -> Result<(), String> {
    for number in 0..DROPPED {
        let mut call = ledger.deposit("erin".into(), 1, format!("unheard {number}"));
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(Pin::new(&mut call).poll(context).is_ready())
        });
        if polled.await {
            return Err("a call is over before it has begun".to_owned());
        }
        tokio::time::sleep(HEARD).await;
    }
    let heard = ledger.deposit("erin".into(), 1, "heard".to_owned()).deadline(SETTLED);
    match heard.await {
        Ok(balance) if balance == DROPPED + 1 => Ok(()),
        other => Err(format!("after dropped answers, the next call says {other:?}")),
    }
}

/// Checks that no client id was given out twice, and that no stranger can go on with a session.
pub(super) async fn sessions(cluster: &Cluster) -> Result<(), String> {
    let store = cluster.handle(&cluster.control.begin_life("stranger"));
    for session in welcomes(cluster) {
        let (secret, lease) = (SessionSecret([0; 16]), Lease { until: WallTime(0) });
        let resumed = store.resume_session(&Identity::anonymous(), secret, session, lease).await;
        if !matches!(resumed, Ok(Resume::Closed)) {
            return Err(format!("a stranger goes on with a session: {resumed:?}"));
        }
    }
    let trace = cluster.network.trace();
    let mut given = Vec::new();
    let mut asked: Vec<(String, u32)> = Vec::new();
    for frame in trace.frames() {
        let connection = (frame.server.clone(), frame.connection);
        match &frame.view {
            FrameView::Hello { session: None, .. } => asked.push(connection),
            FrameView::Welcome { session, .. } if asked.contains(&connection) => {
                if given.contains(&session.client) {
                    return Err(format!("client id {} was given out twice", session.client));
                }
                given.push(session.client);
            }
            _ => {}
        }
    }
    if given.is_empty() { Err("nobody was given a client id".to_owned()) } else { Ok(()) }
}

/// All sessions that anybody was welcomed to.
pub(super) fn welcomes(cluster: &Cluster) -> Vec<SessionId> {
    let mut sessions: Vec<SessionId> = Vec::new();
    for frame in cluster.network.trace().frames() {
        if let FrameView::Welcome { session, .. } = &frame.view
            && !sessions.contains(session)
        {
            sessions.push(*session);
        }
    }
    sessions
}

/// Checks that only accounts are left, and nothing beside them: no record, no stage, no session.
pub(super) fn nothing_is_left(cluster: &Cluster) -> Result<(), String> {
    for key in cluster.store.keys() {
        let name = key.as_str();
        let meta = meta(cluster, name)?;
        let is_ours = name.starts_with("book:") && meta.get("x").is_none();
        if !is_ours && name != "rpc_ids:client" {
            return Err(format!("{name} is left: {meta}"));
        }
        if meta.get("c").is_some() || meta.get("s").is_some() {
            return Err(format!("{name} still remembers: {meta}"));
        }
    }
    Ok(())
}

/// The bodies of all accounts that there are, as they lie in the store.
pub(super) fn everything(cluster: &Cluster) -> Result<Vec<(String, String)>, String> {
    let keys = cluster.store.keys().into_iter().filter(|key| key.as_str().starts_with("book:"));
    let mut bodies = Vec::new();
    for key in keys {
        // A stage alone makes a document that is none yet.
        if meta(cluster, key.as_str())?.get("x").is_none() {
            let document = cluster.store.peek(key.as_str()).ok_or("a listed document is there")?;
            let body = String::from_utf8_lossy(&document.body).into_owned();
            bodies.push((key.as_str().to_owned(), body));
        }
    }
    Ok(bodies)
}

/// What was recorded for the call, by its responses: all that are committed say the same, byte for
/// byte.
fn recorded(trace: &Trace) -> Result<Option<(ResponseStatus, Vec<u8>)>, String> {
    let mut record: Option<(ResponseStatus, Vec<u8>)> = None;
    for frame in trace.frames().filter(|frame| frame.is_response(SEQ) && frame.is_committed()) {
        let Some((status, payload)) = ending(frame) else {
            return Err(format!("only an ending is committed, not: {frame}"));
        };
        let found = (status, payload.to_vec());
        match &record {
            Some(record) if *record != found => {
                return Err(format!("two results of one call: {record:?} and {found:?}"));
            }
            _ => record = Some(found),
        }
    }
    Ok(record)
}

/// Every send of the call has a number of its own.
fn attempts_are_counted(trace: &Trace) -> Result<(), String> {
    let mut sent = Vec::new();
    for frame in trace.frames().filter(|frame| frame.is_request(SEQ)) {
        if sent.contains(&frame.attempt()) {
            return Err(format!("two sends of one call look the same: {frame}"));
        }
        sent.push(frame.attempt());
    }
    Ok(())
}

/// A response to a retry of a write is committed: an earlier attempt may still be under way.
fn retries_are_recorded(trace: &Trace) -> Result<(), String> {
    let tentative = trace.find(|frame| {
        let is_retry = frame.attempt().is_some_and(|attempt| attempt > 1);
        frame.is_response(SEQ) && ending(frame).is_some() && is_retry && !frame.is_committed()
    });
    match tentative {
        Some(frame) => Err(format!("a retry is answered, and nothing is recorded: {frame}")),
        None => Ok(()),
    }
}

/// How a response says that the call has ended.
fn ending(frame: &Frame) -> Option<(ResponseStatus, &[u8])> {
    match &frame.view {
        FrameView::Response { status, header_bytes, .. } => match status {
            ResponseStatus::Success
            | ResponseStatus::BusinessError
            | ResponseStatus::Aborted(_) => Some((*status, &frame.bytes[*header_bytes..])),
            _ => None,
        },
        _ => None,
    }
}

fn meta(cluster: &Cluster, key: &str) -> Result<serde_json::Value, String> {
    let document = cluster.store.peek(key).ok_or("a listed document is there")?;
    if document.meta.is_empty() {
        return Ok(serde_json::Value::Null);
    }
    serde_json::from_slice(&document.meta).map_err(|error| error.to_string())
}

fn shown(holding: &Holding) -> String {
    match holding {
        Some((balance, references)) => {
            format!("{balance}, changed by {references:?} ({STRUCK} is the call that was struck)")
        }
        None => "nothing".to_owned(),
    }
}
