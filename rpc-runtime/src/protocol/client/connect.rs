//! Connections: hello, welcome, reject, and what their loss means for calls.

use std::time::Duration;

use super::call::CallState;
use super::endpoint::{EndpointId, Link};
use super::{Core, Event, Session};
use crate::error::{NotExecuted, Unknown};
use crate::id::Seq;
use crate::time::Time;
use crate::wire::WireError;
use crate::wire::handshake::{Hello, HelloMethod, Reject, RejectReason, Welcome};
use crate::wire::request::ClientFrame;

impl Core {
    /// The driver has connected to an endpoint.
    pub(crate) fn handle_connected(&mut self, now: Time, id: EndpointId) {
        self.handle_time(now);
        if self.closed {
            return self.events.push_back(Event::Close(id));
        }
        let endpoint = self.endpoint_mut(id);
        endpoint.handle_connected();
        endpoint.last_byte = now;
        // Only one endpoint opens the session; the others go on with what it was given.
        let is_opened_elsewhere =
            self.is_entering_session() || self.opener.is_some_and(|opener| opener != id);
        if self.session.is_none() && is_opened_elsewhere {
            self.set_link(id, Link::AwaitingSession);
        } else {
            self.greet(now, id);
        }
    }

    /// The connection to an endpoint is gone, or could not be made. Its calls go elsewhere.
    pub(crate) fn handle_disconnected(&mut self, now: Time, id: EndpointId, trouble: String) {
        self.handle_time(now);
        let was_up = self.endpoint(id).link == Link::Up;
        let was_left = matches!(self.endpoint(id).link, Link::Leaving { .. });
        let endpoint = self.endpoint_mut(id);
        endpoint.out.clear();
        endpoint.suspicion = None;
        endpoint.failures = if was_up { 0 } else { endpoint.failures.saturating_add(1) };
        endpoint.trouble = Some(trouble);
        let failures = self.endpoint(id).failures;
        let rejected = self.endpoint(id).reject.as_ref();
        // A server that said no for good is asked again only in case it is replaced.
        let for_good = rejected.is_some_and(|reject| !reject.reason.is_passing());
        let pause = if was_left {
            Duration::ZERO
        } else if for_good {
            self.config.max_backoff
        } else {
            backoff(self.config.min_backoff, self.config.max_backoff, failures)
        };
        let retry_at = now + self.jittered(pause);
        self.set_link(id, Link::Down { retry_at });
        // A session that was opened is entered all the same.
        if self.opener == Some(id) && !self.is_entering_session() {
            self.opener = None;
            self.pass_on_opening(now);
        }
        self.move_calls_away(now, id);
    }

    /// Connections to make now.
    pub(super) fn connect_due(&mut self, now: Time) {
        for index in 0..self.endpoints.len() {
            let id = EndpointId(index as u16);
            let limit = self.config.connect_timeout;
            match self.endpoint(id).link {
                Link::Down { retry_at } if retry_at <= now && !self.closed => {
                    self.set_link(id, Link::Connecting { since: now });
                    self.events.push_back(Event::Connect(id));
                }
                Link::Connecting { since } | Link::Greeting { since } | Link::Leaving { since }
                    if now >= since + limit =>
                {
                    self.drop_link(now, id, "it did not answer in time");
                }
                _ => {}
            }
        }
    }

    /// Gives a connection up.
    pub(super) fn drop_link(&mut self, now: Time, id: EndpointId, trouble: &str) {
        self.events.push_back(Event::Close(id));
        self.handle_disconnected(now, id, trouble.to_owned());
    }

    /// When [`connect_due`](Core::connect_due) has something to do for this endpoint.
    pub(super) fn connect_at(&self, id: EndpointId) -> Time {
        match self.endpoint(id).link {
            Link::Down { retry_at } if !self.closed => retry_at,
            Link::Connecting { since } | Link::Greeting { since } | Link::Leaving { since } => {
                since + self.config.connect_timeout
            }
            _ => Time::NEVER,
        }
    }

    pub(super) fn handle_welcome(
        &mut self,
        now: Time,
        id: EndpointId,
        welcome: &Welcome,
    ) -> Result<(), WireError> {
        match self.session {
            None if self.journal.is_some() => {
                self.journal_session(id, welcome);
                self.set_link(id, Link::Welcomed);
                return Ok(());
            }
            None => self.begin_session(
                now,
                Session { id: welcome.session, secret: welcome.secret, window: welcome.window },
            ),
            Some(session) if session.id != welcome.session => {
                return Err(WireError::UnknownValue("session"));
            }
            Some(ref mut session) => session.window = session.window.min(welcome.window),
        }
        let max_frame = self.config.max_frame_bytes;
        self.endpoint_mut(id).decoder.set_max_frame(max_frame);
        self.set_link(id, Link::Welcomed);
        self.come_up(now, id, welcome.max_frame);
        Ok(())
    }

    /// A session was opened for this client, which is its own from now on.
    pub(super) fn begin_session(&mut self, now: Time, session: Session) {
        self.client = session.id.client;
        self.session = Some(session);
        self.opener = None;
        self.stats.sessions += 1;
        self.greet_waiting(now);
    }

    /// Calls can be sent to an endpoint that has said welcome, if its connection still stands.
    pub(super) fn come_up(&mut self, now: Time, id: EndpointId, max_frame: usize) {
        if self.endpoint(id).link != Link::Welcomed {
            return;
        }
        self.stats.connections += 1;
        let endpoint = self.endpoint_mut(id);
        endpoint.failures = 0;
        endpoint.reject = None;
        endpoint.trouble = None;
        endpoint.max_frame = max_frame;
        endpoint.last_sent = now;
        self.set_link(id, Link::Up);
        self.send_queued(now);
        self.wakers.extend(self.window_waiters.drain(..).map(|(_, waker)| waker));
    }

    pub(super) fn handle_reject(&mut self, now: Time, id: EndpointId, reject: Reject) {
        let reason = reject.reason;
        self.endpoint_mut(id).reject = Some(reject);
        self.drop_link(now, id, "it refused the connection");
        if matches!(reason, RejectReason::SessionClosed | RejectReason::Fenced)
            && self.session.is_some()
        {
            self.lose_session(now);
        }
    }

    /// The session has ended: nothing can be learnt about its calls any more. New calls go into a
    /// new session; their numbers go on from the old ones, so that none is ever used twice.
    pub(super) fn lose_session(&mut self, now: Time) {
        self.session = None;
        self.session_writes = 0;
        self.opener = None;
        self.journal_no_session();
        self.fail_pending(&Unknown::SessionClosed, &NotExecuted::SessionClosed);
        for index in 0..self.endpoints.len() {
            let id = EndpointId(index as u16);
            if !matches!(self.endpoint(id).link, Link::Down { .. } | Link::Connecting { .. }) {
                self.drop_link(now, id, "the session has ended");
                self.set_link(id, Link::Down { retry_at: now });
            }
        }
    }

    /// Whether enough writes were made in the session to look for a moment to leave it.
    #[inline]
    pub(super) fn is_session_used(&self) -> bool {
        self.session_writes >= (self.config.max_session_writes / 2).max(1)
    }

    /// Ends the session in order once it has had about as many writes as it may have, if nothing is
    /// pending: then nothing of it can be asked for any more. The next one begins with the next
    /// connection; numbers go on, so that none is ever used twice.
    pub(super) fn leave_used_session(&mut self, now: Time) {
        if !self.is_session_used() || !self.is_settled() {
            return;
        }
        self.session_writes = 0;
        if self.session.take().is_none() {
            return;
        }
        self.journal_no_session();
        for index in 0..self.endpoints.len() {
            let id = EndpointId(index as u16);
            match self.endpoint(id).link {
                Link::Up => {
                    self.send_ack(id);
                    self.put(id, ClientFrame::Bye);
                    self.set_link(id, Link::Leaving { since: now });
                }
                // Its hello names the session that is over.
                Link::Greeting { .. } => {
                    self.drop_link(now, id, "the session has ended");
                    self.set_link(id, Link::Down { retry_at: now });
                }
                Link::Down { .. }
                | Link::Connecting { .. }
                | Link::AwaitingSession
                | Link::Welcomed
                | Link::Leaving { .. } => {}
            }
        }
    }

    fn greet(&mut self, now: Time, id: EndpointId) {
        if self.session.is_none() {
            self.opener = Some(id);
        }
        let methods = self.schema.methods.iter().map(|method| HelloMethod {
            id: method.id,
            name: method.name.to_owned(),
            fingerprint: method.fingerprint,
        });
        let hello = Hello {
            service: self.schema.name.to_owned(),
            session: self.session.map(|session| (session.id, session.secret)),
            default_deadline: self.config.deadline,
            max_frame: self.config.max_frame_bytes,
            methods: methods.collect(),
        };
        hello.put(&mut self.endpoint_mut(id).out);
        self.set_link(id, Link::Greeting { since: now });
        self.events.push_back(Event::Transmit(id));
    }

    fn set_link(&mut self, id: EndpointId, link: Link) {
        self.endpoint_mut(id).link = link;
        self.note_care(id);
    }

    fn greet_waiting(&mut self, now: Time) {
        for index in 0..self.endpoints.len() {
            let id = EndpointId(index as u16);
            if self.endpoint(id).link == Link::AwaitingSession {
                self.greet(now, id);
            }
        }
    }

    /// The endpoint that was opening the session has failed: the next one does it.
    fn pass_on_opening(&mut self, now: Time) {
        let waiting = |link: Link| link == Link::AwaitingSession;
        let next = self.endpoints.iter().position(|endpoint| waiting(endpoint.link));
        if let Some(index) = next
            && self.session.is_none()
        {
            self.greet(now, EndpointId(index as u16));
        }
    }

    /// Sends the calls of a lost or suspect endpoint to another.
    pub(super) fn move_calls_away(&mut self, now: Time, id: EndpointId) {
        let stranded: Vec<Seq> = self
            .ring
            .iter()
            .filter(|(_, call)| call.state == CallState::Sent && call.endpoint == id)
            .map(|(seq, _)| seq)
            .collect();
        for seq in stranded {
            self.resend(now, seq, Some(id));
        }
    }
}

/// The pause after this many failures: doubled with each, up to `most`.
pub(super) fn backoff(least: Duration, most: Duration, failures: u32) -> Duration {
    (least * (1 << failures.saturating_sub(1).min(16))).min(most)
}
