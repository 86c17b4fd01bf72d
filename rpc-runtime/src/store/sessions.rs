//! The rules of sessions, watermarks and records that every local store shares: plain data, no I/O.
//!
//! What a store must answer for a call is decided in two steps, so that the store can fetch the
//! record (from wherever it keeps records) in between:
//!
//! 1. [`Sessions::admit`] refuses what the session alone refuses: a closed session, a fenced
//!    incarnation, an id below the watermark.
//! 2. [`settle`] compares the call with its record, if there is one: the recorded outcome, a
//!    reused id, or a new call that may be executed.
//!
//! Both take the same state, so both must run under the same lock as the commit itself.

use super::{CallRef, HashMap, Lease, Outcome, Refusal, Resume};
use crate::id::{ArgumentHash, ClientId, Identity, Incarnation, Seq, SessionId, SessionSecret};
use crate::rule::{Rule, kept};
use crate::time::WallTime;
use std::cmp::Ordering;

/// All open sessions of a store, each with what the store itself keeps per session (`X`).
///
/// Closed sessions are not kept: since a client id is never given out twice, an id that is not here
/// is closed or never was, and both are refused alike.
#[derive(Debug)]
pub(super) struct Sessions<X> {
    next: ClientId,
    limit: usize,
    by_client: HashMap<ClientId, Session<X>>,
}

/// One session.
#[derive(Clone, Debug)]
pub(super) struct Session<X> {
    pub(super) identity: Identity,
    pub(super) secret: SessionSecret,
    pub(super) incarnation: Incarnation,
    /// Every call below is acknowledged: its record may go, and it is never executed again. At
    /// least [`Seq::FIRST`], and never moves back.
    pub(super) watermark: Seq,
    pub(super) lease: Lease,
    /// What the store keeps beside the rules.
    pub(super) kept: X,
}

/// What is recorded of a call that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) hash: ArgumentHash,
    pub(super) outcome: Outcome,
}

/// What [`settle`] makes of a call and its record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled<'a> {
    /// It has not taken effect so far.
    New,
    /// It has ended so.
    Recorded(&'a Outcome),
    /// It is not to be executed, now or ever.
    Refused(Refusal),
}

/// The store holds as many sessions as it may.
#[derive(Debug, thiserror::Error)]
#[error(
    "{limit} sessions are open, and no more are allowed: let clients close the sessions that they no longer use, wait for leases to end, or raise the limit `max_sessions`"
)]
pub(super) struct TooManySessions {
    limit: usize,
}

impl<X: Default> Sessions<X> {
    /// No sessions yet; `next` is the first client id to give out.
    pub(super) fn new(next: ClientId, limit: usize) -> Sessions<X> {
        Sessions { next, limit, by_client: HashMap::default() }
    }

    /// Puts back a session that was kept durably.
    #[cfg(feature = "embedded")]
    pub(super) fn restore(&mut self, client: ClientId, session: Session<X>) {
        self.by_client.insert(client, session);
    }

    /// Notes that this client id was given out.
    #[cfg(feature = "embedded")]
    pub(super) fn given_out(&mut self, client: ClientId) {
        self.next = self.next.max(ClientId(client.0.saturating_add(1)));
    }

    /// Takes out a session that was closed before.
    #[cfg(feature = "embedded")]
    pub(super) fn remove(&mut self, client: ClientId) {
        self.by_client.remove(&client);
    }

    /// The client id that the next session gets.
    #[cfg(feature = "embedded")]
    pub(super) fn next_client(&self) -> ClientId {
        self.next
    }

    #[cfg(feature = "embedded")]
    pub(super) fn get(&self, client: ClientId) -> Option<&Session<X>> {
        self.by_client.get(&client)
    }

    pub(super) fn get_mut(&mut self, client: ClientId) -> Option<&mut Session<X>> {
        self.by_client.get_mut(&client)
    }

    /// Opens a session under an id that was never given out.
    pub(super) fn open(
        &mut self,
        identity: &Identity,
        secret: SessionSecret,
        lease: Lease,
    ) -> Result<SessionId, TooManySessions> {
        if self.by_client.len() >= self.limit {
            return Err(TooManySessions { limit: self.limit });
        }
        let client = self.next;
        self.next = ClientId(client.0.checked_add(1).expect("2^64 sessions are never opened"));
        let session = Session {
            identity: identity.clone(),
            secret,
            incarnation: Incarnation::FIRST,
            watermark: Seq::FIRST,
            lease,
            kept: X::default(),
        };
        self.by_client.insert(client, session);
        Ok(SessionId { client, incarnation: Incarnation::FIRST })
    }

    /// Lets a client go on, in the same or a later incarnation.
    ///
    /// Whoever does not know the secret learns nothing, not even that the session exists.
    pub(super) fn resume(
        &mut self,
        identity: &Identity,
        secret: SessionSecret,
        id: SessionId,
        lease: Lease,
    ) -> Resume {
        let Some(session) = self.by_client.get_mut(&id.client) else { return Resume::Closed };
        let is_its_own = session.identity == *identity && same_secret(session.secret, secret);
        if !is_its_own && kept(Rule::IdentityOfPeer) {
            return Resume::Closed;
        }
        if id.incarnation < session.incarnation && kept(Rule::FenceIncarnations) {
            return Resume::Fenced { current: session.incarnation };
        }
        session.incarnation = id.incarnation;
        session.extend(lease);
        Resume::Resumed { watermark: session.watermark }
    }

    /// Moves the end of a lease. Says whether it moved.
    pub(super) fn renew(&mut self, client: ClientId, lease: Lease) -> bool {
        self.by_client.get_mut(&client).is_some_and(|session| session.extend(lease))
    }

    /// Closes a session at its client's wish and gives back what was kept for it. An earlier life
    /// of the client closes nothing: the session belongs to the later one.
    pub(super) fn close(&mut self, id: SessionId) -> Option<Session<X>> {
        let open = self.by_client.get(&id.client)?;
        if open.incarnation != id.incarnation {
            return None;
        }
        self.by_client.remove(&id.client)
    }

    /// Closes the sessions whose lease ended more than [`Lease::MARGIN`] before `now`.
    pub(super) fn expire(&mut self, now: WallTime) -> Vec<(ClientId, Session<X>)> {
        self.by_client.extract_if(|_, session| session.lease.until + Lease::MARGIN < now).collect()
    }

    /// The session of a call that it does not refuse.
    pub(super) fn admit(&self, call: &CallRef) -> Result<&Session<X>, Refusal> {
        let session = self.by_client.get(&call.id.client).ok_or(Refusal::SessionClosed)?;
        session.admit(call).map(|()| session)
    }

    /// As [`admit`](Sessions::admit), for a change.
    pub(super) fn admit_mut(&mut self, call: &CallRef) -> Result<&mut Session<X>, Refusal> {
        let session = self.by_client.get_mut(&call.id.client).ok_or(Refusal::SessionClosed)?;
        session.admit(call).map(|()| session)
    }
}

impl<X> Session<X> {
    fn admit(&self, call: &CallRef) -> Result<(), Refusal> {
        match call.incarnation.cmp(&self.incarnation) {
            Ordering::Less if kept(Rule::FenceIncarnations) => Err(Refusal::Fenced),
            // No store has let this life begin.
            Ordering::Greater => Err(Refusal::SessionClosed),
            _ if call.id.seq < self.watermark && kept(Rule::StaleAfterAck) => Err(Refusal::Stale),
            _ => Ok(()),
        }
    }

    /// Takes over what the client acknowledges. Says whether the watermark moved; it never moves
    /// back.
    pub(super) fn acknowledge(&mut self, watermark: Seq) -> bool {
        let moved = watermark > self.watermark;
        if moved {
            self.watermark = watermark;
        }
        moved
    }

    fn extend(&mut self, lease: Lease) -> bool {
        let longer = lease.until > self.lease.until;
        if longer {
            self.lease = lease;
        }
        longer
    }
}

/// What becomes of an admitted call whose record was looked for.
///
/// A call below the watermark that it brings itself is acknowledged by its own client, so it is
/// never executed; its record answers if there is one.
pub(super) fn settle<'a>(call: &CallRef, record: Option<&'a Record>) -> Settled<'a> {
    match record {
        Some(record) if record.hash == call.hash || !kept(Rule::CompareHash) => {
            Settled::Recorded(&record.outcome)
        }
        Some(_) => Settled::Refused(Refusal::IdReused),
        None if call.id.seq < call.watermark && kept(Rule::StaleAfterAck) => {
            Settled::Refused(Refusal::Stale)
        }
        None => Settled::New,
    }
}

/// Compares without a branch on the secret's bytes, so that the time it takes tells nothing.
fn same_secret(one: SessionSecret, other: SessionSecret) -> bool {
    let difference = one.0.iter().zip(other.0).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::CallId;

    const SECRET: SessionSecret = SessionSecret([7; 16]);

    fn lease(until: u64) -> Lease {
        Lease { until: WallTime(until) }
    }

    fn sessions() -> Sessions<()> {
        Sessions::new(ClientId(1), 2)
    }

    fn call(session: SessionId, seq: u64, watermark: u64) -> CallRef {
        CallRef {
            id: CallId { client: session.client, seq: Seq(seq) },
            incarnation: session.incarnation,
            attempt: rpc::id::Attempt::FIRST,
            born: rpc::time::WallTime(0),
            hash: ArgumentHash(1),
            anchor: None,
            watermark: Seq(watermark),
        }
    }

    #[test]
    fn ids_are_never_reused_and_sessions_are_limited() {
        let mut sessions = sessions();
        let one = sessions.open(&Identity::anonymous(), SECRET, lease(0)).unwrap();
        let two = sessions.open(&Identity::anonymous(), SECRET, lease(0)).unwrap();
        assert!(sessions.open(&Identity::anonymous(), SECRET, lease(0)).is_err());
        assert!(sessions.close(one).is_some());
        let three = sessions.open(&Identity::anonymous(), SECRET, lease(0)).unwrap();
        assert_eq!([one, two, three].map(|session| session.client.0), [1, 2, 3]);
    }

    #[test]
    fn calls_are_refused_by_their_session() {
        let mut sessions = sessions();
        let first = sessions.open(&Identity::anonymous(), SECRET, lease(0)).unwrap();
        let second = SessionId { incarnation: Incarnation(2), ..first };
        assert_eq!(sessions.admit(&call(second, 1, 1)).err(), Some(Refusal::SessionClosed));
        sessions.resume(&Identity::anonymous(), SECRET, second, lease(0));
        assert_eq!(sessions.admit(&call(first, 1, 1)).err(), Some(Refusal::Fenced));
        assert!(sessions.get_mut(first.client).unwrap().acknowledge(Seq(5)));
        assert!(!sessions.get_mut(first.client).unwrap().acknowledge(Seq(4)));
        assert_eq!(sessions.admit(&call(second, 4, 1)).err(), Some(Refusal::Stale));
        assert!(sessions.admit(&call(second, 5, 1)).is_ok());
        assert!(sessions.close(first).is_none(), "an earlier life must not close a later one");
        assert!(sessions.close(second).is_some());
        assert_eq!(sessions.admit(&call(second, 5, 1)).err(), Some(Refusal::SessionClosed));
    }

    #[test]
    fn a_record_settles_its_call() {
        let session = SessionId { client: ClientId(1), incarnation: Incarnation::FIRST };
        let outcome = Outcome::Success(crate::store::Encoded::from(b"x"));
        let record = Record { hash: ArgumentHash(1), outcome: outcome.clone() };
        let other = Record { hash: ArgumentHash(2), outcome: outcome.clone() };
        let new = call(session, 3, 1);
        assert_eq!(settle(&new, None), Settled::New);
        assert_eq!(settle(&new, Some(&record)), Settled::Recorded(&outcome));
        assert_eq!(settle(&new, Some(&other)), Settled::Refused(Refusal::IdReused));
        let acknowledged = call(session, 3, 4);
        assert_eq!(settle(&acknowledged, None), Settled::Refused(Refusal::Stale));
        assert_eq!(settle(&acknowledged, Some(&record)), Settled::Recorded(&outcome));
    }

    #[test]
    fn leases_only_grow_and_end_after_the_margin() {
        let mut sessions = sessions();
        let session = sessions.open(&Identity::anonymous(), SECRET, lease(1_000)).unwrap();
        assert!(sessions.renew(session.client, lease(2_000)));
        assert!(!sessions.renew(session.client, lease(1_500)));
        let end = WallTime(2_000) + Lease::MARGIN;
        assert!(sessions.expire(end).is_empty());
        assert_eq!(sessions.expire(WallTime(end.0 + 1)).len(), 1);
    }

    #[test]
    fn secrets_are_compared_in_full() {
        assert!(same_secret(SECRET, SECRET));
        for at in 0..16 {
            let mut other = SECRET;
            other.0[at] ^= 1;
            assert!(!same_secret(SECRET, other));
        }
    }
}
