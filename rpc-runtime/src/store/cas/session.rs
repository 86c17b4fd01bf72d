//! Session documents, client ids, leases.
//!
//! A session is a document of its own. A server that has seen its lease executes calls for it until
//! that lease ends, without asking again; whoever closes a session marks it first, and lets nothing
//! be collected before the lease that was seen last has ended, and a margin beside.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::load::{Loaded, Written};
use super::meta::Meta;
use super::{CasBackend, Inner};
use crate::id::{ClientId, Identity, Incarnation, Seq, SessionId, SessionSecret};
use crate::rule::{Rule, kept};
use crate::store::{CallRef, DocKey, Lease, Refusal, Resume, StoreError};
use crate::time::WallTime;

/// A session as it lies in its document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SessionBody {
    identity: String,
    secret: String,
    incarnation: u32,
    /// When the lease ends, in milliseconds of the Unix epoch.
    until: u64,
    closed: bool,
}

/// The document that client ids come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct IdsBody {
    next: u64,
}

/// What this process knows of sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    known: Mutex<HashMap<ClientId, Known>>,
    /// Ids that were allotted to this process and not given out yet.
    ids: Mutex<std::ops::Range<u64>>,
    /// The next session to look at for an ended lease.
    cursor: Mutex<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    incarnation: Incarnation,
    until: WallTime,
    closed: bool,
}

/// Client ids are allotted by the block, so that clients that come together do not queue for one
/// document. What is left of a block when a process ends is never used.
const ID_BLOCK: u64 = 64;
/// Sessions looked at by one search for ended leases: a read each.
const EXPIRY_SHARE: u64 = 256;
/// Sessions remembered by one process; beyond it they are forgotten, which costs a read.
const MAX_KNOWN: usize = 1_000_000;
/// How often a document that others change too is tried to be changed.
const CHANGE_TRIES: usize = 64;

impl<B: CasBackend> Inner<B> {
    pub(super) async fn open_session(
        &self,
        identity: &Identity,
        secret: SessionSecret,
        lease: Lease,
    ) -> Result<SessionId, StoreError> {
        loop {
            let client = self.new_client_id().await?;
            let body = SessionBody {
                identity: identity.name().to_owned(),
                secret: STANDARD_NO_PAD.encode(secret.0),
                incarnation: Incarnation::FIRST.0,
                until: lease.until.0,
                closed: false,
            };
            // An id whose document is there already was given out by somebody: take the next.
            let is_new = self.write_body(&session_key(client), None, &body).await?;
            if is_new || !kept(Rule::NeverReuseClientIds) {
                self.sessions.note(client, &body);
                return Ok(SessionId { client, incarnation: Incarnation::FIRST });
            }
        }
    }

    pub(super) async fn resume_session(
        &self,
        identity: &Identity,
        secret: SessionSecret,
        session: SessionId,
        lease: Lease,
    ) -> Result<Resume, StoreError> {
        let key = session_key(session.client);
        for _ in 0..CHANGE_TRIES {
            let loaded = self.load(&key).await?;
            let Some(mut body) = session_of(&loaded)? else { return Ok(Resume::Closed) };
            let known_secret = STANDARD_NO_PAD.decode(&body.secret).unwrap_or_default();
            let is_its_own = body.identity == identity.name() && same(&known_secret, &secret.0);
            let is_its_own = is_its_own || !kept(Rule::IdentityOfPeer);
            if !is_its_own || body.closed || self.has_expired(&body) {
                return Ok(Resume::Closed);
            }
            if session.incarnation.0 < body.incarnation && kept(Rule::FenceIncarnations) {
                let current = Incarnation(body.incarnation);
                return Ok(Resume::Fenced { current });
            }
            body.incarnation = session.incarnation.0;
            body.until = body.until.max(lease.until.0);
            if self.write_body(&key, loaded.cas, &body).await? {
                self.sessions.note(session.client, &body);
                return Ok(Resume::Resumed { watermark: Seq::FIRST });
            }
        }
        Err(super::busy(&key))
    }

    pub(super) async fn renew_session(
        &self,
        client: ClientId,
        lease: Lease,
    ) -> Result<(), StoreError> {
        self.change_session(client, |body| {
            let later = !body.closed && lease.until.0 > body.until;
            if later {
                body.until = lease.until.0;
            }
            later
        })
        .await
    }

    pub(super) async fn close_session(&self, session: SessionId) -> Result<(), StoreError> {
        self.change_session(session.client, |body| {
            let ours = body.incarnation == session.incarnation.0 && !body.closed;
            body.closed |= ours;
            ours
        })
        .await
    }

    /// Closes the sessions whose lease has ended, and removes the documents of those that have been
    /// over for as long again. Looks at a share of all sessions each time, and goes on from there.
    pub(super) async fn expire_sessions(&self, now: WallTime) -> Result<usize, StoreError> {
        let ids: IdsBody = body_of(&self.load(&ids_key()).await?)?.unwrap_or_default();
        let mut expired = 0;
        let share = self.sessions.next_share(ids.next);
        for client in share.map(ClientId) {
            let key = session_key(client);
            let loaded = self.load(&key).await?;
            let (Some(body), Some(cas)) = (session_of(&loaded)?, loaded.cas) else { continue };
            if WallTime(body.until) + Lease::MARGIN >= now {
                continue;
            }
            if body.closed {
                if WallTime(body.until) + Lease::MARGIN + Lease::DEFAULT < now {
                    self.remove(&key, cas).await;
                }
                continue;
            }
            let mut closed = false;
            self.change_session(client, |body| {
                closed = !body.closed && WallTime(body.until) + Lease::MARGIN < now;
                body.closed |= closed;
                closed
            })
            .await?;
            expired += usize::from(closed);
        }
        Ok(expired)
    }

    /// Whether calls of this session may be executed now. Asks the store only if this process does
    /// not know of a lease that lasts.
    pub(super) async fn check_session(
        &self,
        call: &CallRef,
    ) -> Result<Result<(), Refusal>, StoreError> {
        let now = (self.clock)();
        let known = self.sessions.lock().get(&call.id.client).copied();
        let known = match known {
            Some(known) if known.closed => known,
            Some(known) if known.until > now && call.incarnation <= known.incarnation => known,
            _ => {
                let loaded = self.load(&session_key(call.id.client)).await?;
                let Some(body) = session_of(&loaded)? else {
                    return Ok(Err(Refusal::SessionClosed));
                };
                self.sessions.note(call.id.client, &body)
            }
        };
        // An incarnation that never began is nobody's.
        let is_over = known.closed || known.until <= now;
        Ok(if is_over || call.incarnation > known.incarnation {
            Err(Refusal::SessionClosed)
        } else if call.incarnation < known.incarnation && kept(Rule::FenceIncarnations) {
            Err(Refusal::Fenced)
        } else {
            Ok(())
        })
    }

    /// Whether nothing can come of a client's calls any more, so that its records may go. Closes the
    /// session first if its lease has ended.
    pub(super) async fn is_over(&self, client: ClientId) -> Result<bool, StoreError> {
        let now = (self.clock)();
        let loaded = self.load(&session_key(client)).await?;
        let Some(body) = session_of(&loaded)? else { return Ok(true) };
        if WallTime(body.until) + Lease::MARGIN >= now {
            return Ok(false);
        }
        if !body.closed {
            self.change_session(client, |body| {
                let ended = WallTime(body.until) + Lease::MARGIN < now;
                body.closed |= ended;
                ended
            })
            .await?;
            // A renewal may have come between: the next look will tell.
            return Ok(false);
        }
        Ok(true)
    }

    /// Changes a session's document, unless `change` says that there is nothing to change.
    async fn change_session(
        &self,
        client: ClientId,
        mut change: impl FnMut(&mut SessionBody) -> bool,
    ) -> Result<(), StoreError> {
        let key = session_key(client);
        for _ in 0..CHANGE_TRIES {
            let loaded = self.load(&key).await?;
            let Some(mut body) = session_of(&loaded)? else { return Ok(()) };
            if !change(&mut body) {
                self.sessions.note(client, &body);
                return Ok(());
            }
            if self.write_body(&key, loaded.cas, &body).await? {
                self.sessions.note(client, &body);
                return Ok(());
            }
        }
        Err(super::busy(&key))
    }

    async fn new_client_id(&self) -> Result<ClientId, StoreError> {
        let key = ids_key();
        for _ in 0..CHANGE_TRIES {
            let next = self.sessions.lock_ids().next();
            if let Some(id) = next {
                return Ok(ClientId(id));
            }
            let loaded = self.load(&key).await?;
            let body: IdsBody = body_of(&loaded)?.unwrap_or_default();
            // Zero names no client.
            let first = body.next.max(1);
            let block = if kept(Rule::NeverReuseClientIds) { ID_BLOCK } else { 0 };
            let taken = IdsBody { next: first + block };
            if self.write_body(&key, loaded.cas, &taken).await? {
                *self.sessions.lock_ids() = first..first + ID_BLOCK;
            }
        }
        Err(super::busy(&key))
    }

    /// Writes one of our own documents over the state that was read; `false` if that has changed.
    /// The write's own mark lies in the metadata, where an ambiguous write is looked for.
    async fn write_body<T: Serialize>(
        &self,
        key: &DocKey,
        over: Option<super::Cas>,
        body: &T,
    ) -> Result<bool, StoreError> {
        let encoded = serde_json::to_vec(body).expect("our own bodies are JSON");
        let token = self.new_token();
        let meta = Meta { mark: Some(token), ..Meta::default() };
        let is_ours = |meta: &Meta| meta.mark == Some(token);
        let written = self.write(key, over, Some(Bytes::from(encoded)), &meta, is_ours).await?;
        Ok(matches!(written, Written::Done(_)))
    }

    fn has_expired(&self, body: &SessionBody) -> bool {
        WallTime(body.until) + Lease::MARGIN < (self.clock)()
    }
}

impl Sessions {
    /// The next share of all client ids below `end`, round and round.
    fn next_share(&self, end: u64) -> std::ops::Range<u64> {
        let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let first = if *cursor >= end { 1 } else { (*cursor).max(1) };
        let last = end.min(first + EXPIRY_SHARE);
        *cursor = last;
        first..last
    }

    fn note(&self, client: ClientId, body: &SessionBody) -> Known {
        let mut known = self.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        let seen = Known {
            incarnation: Incarnation(body.incarnation),
            until: WallTime(body.until),
            closed: body.closed,
        };
        known.insert(client, seen);
        seen
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_ids(&self) -> MutexGuard<'_, std::ops::Range<u64>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn session_key(client: ClientId) -> DocKey {
    DocKey::new("rpc_session", &client).expect("a client id is a short name")
}

fn ids_key() -> DocKey {
    DocKey::stored("rpc_ids:client")
}

fn session_of(loaded: &Loaded) -> Result<Option<SessionBody>, StoreError> {
    body_of(loaded)
}

fn body_of<T: for<'de> Deserialize<'de>>(loaded: &Loaded) -> Result<Option<T>, StoreError> {
    if loaded.cas.is_none() {
        return Ok(None);
    }
    serde_json::from_slice(&loaded.body)
        .map(Some)
        .map_err(|error| StoreError::Unavailable { cause: Arc::new(error) })
}

/// Compares secrets in a time that does not tell how much of them is right.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_the_same_only_in_every_byte() {
        assert!(same(b"secret", b"secret"));
        assert!(!same(b"secret", b"secre"));
        assert!(!same(b"secret", b"tecret"));
        assert!(!same(b"secret", b"rdcret"), "what differs does not cancel out");
    }

    #[test]
    fn the_search_for_ended_leases_goes_round() {
        let sessions = Sessions::default();
        let share = EXPIRY_SHARE;
        let end = 2 * share + 10;
        assert_eq!(sessions.next_share(end), 1..share + 1);
        assert_eq!(sessions.next_share(end), share + 1..2 * share + 1);
        assert_eq!(sessions.next_share(end), 2 * share + 1..end);
        assert_eq!(sessions.next_share(end), 1..share + 1);
        assert!(Sessions::default().next_share(0).is_empty(), "nobody was there yet");
    }
}
