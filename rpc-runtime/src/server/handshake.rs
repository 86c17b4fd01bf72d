//! A connection's first frames: hello in, welcome or reject out, and the session that follows.
//!
//! What comes before the session and after it is boxed, and made in functions of its own: a connection would
//! hold the room for all its life, and its task need it on the stack at each wake-up.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::Shared;
use super::connection::{Connection, Ended, Peer};
use super::execute::Job;
use super::sessions::Session;
use super::stats::add;
use crate::id::{Identity, Seq, SessionId, SessionSecret};
use crate::protocol::server::handshake::{negotiate, reject_of};
use crate::protocol::server::{Agreement, TableLimits};
use crate::service::Service;
use crate::store::{Lease, Resume, StoreError};
use crate::transport::{Accepted, Authenticated, Io};
use crate::wire::WireError;
use crate::wire::frame::FrameDecoder;
use crate::wire::handshake::{Hello, MAX_HANDSHAKE_FRAME, Reject, RejectReason, Welcome};

/// How long a peer may take to receive our last word.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(1);

/// A part of a connection's life.
type Part<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Serves one connection from its first byte to its last.
pub(super) async fn serve<S: Service>(server: Arc<Shared<S>>, accepted: Accepted, full: bool) {
    let is_draining = || server.draining.load(Ordering::Acquire);
    let is_refused = full || is_draining();
    let limit = if is_refused { FAREWELL } else { server.config.handshake_timeout };
    let until = Instant::now() + limit;
    let Some((mut io, peer)) = identifying(&server, accepted, until).await else { return };
    if is_refused || is_draining() {
        let (reason, message) = if full {
            (RejectReason::Overloaded, "the server has as many connections as its limits allow")
        } else {
            (RejectReason::ShuttingDown, "the server is being shut down")
        };
        let reject = Reject { reason, message: message.to_owned() };
        return send_reject(&server, io, &peer, &reject).await;
    }
    let entered = tokio::select! {
        biased;
        entered = tokio::time::timeout_at(until, entering(&server, &mut io, &peer)) => entered,
        () = server.drain.notified() => return,
    };
    let entered = match entered {
        Ok(Ok(entered)) => entered,
        Ok(Err(Some(reject))) => return send_reject(&server, io, &peer, &reject).await,
        Ok(Err(None)) => return,
        Err(_) => {
            let message = format!("no hello came within {limit:?}");
            let reject = Reject { reason: RejectReason::BadHello, message };
            return send_reject(&server, io, &peer, &reject).await;
        }
    };
    let Entered { session, agreement, decoder, rest } = entered;
    let known = Arc::clone(&session.0);
    let connection = Connection::new(
        Arc::clone(&server),
        peer.identity.clone(),
        session,
        agreement,
        io,
        decoder,
        (Job::run, Job::run_plain),
    );
    let broken = ForgetOnPanic { server: &server, peer: &peer, session: known.id };
    let (ended, io) = connection.run(rest).await;
    drop(broken);
    match ended {
        Ended::Disconnected | Ended::Superseded | Ended::Drained => {}
        Ended::SessionOver => close_session(&server, &peer, known.id).await,
        Ended::Misbehaved(error) => {
            let message = format!("the connection was closed: {error}");
            let reject = Reject { reason: RejectReason::Misbehaved, message };
            send_reject(&server, io, &peer, &reject).await;
        }
    }
}

/// Forgets the session of a connection whose task panics, be it a mistake of ours or of the transport:
/// calls that its table says are running may have nobody left to end them. The client connects anew,
/// and the store knows what became of its calls.
struct ForgetOnPanic<'a, S: Service> {
    server: &'a Shared<S>,
    peer: &'a Peer,
    session: SessionId,
}

impl<S: Service> Drop for ForgetOnPanic<'_, S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(session = ?self.session, peer = self.peer.address, "a connection has panicked");
            self.server.sessions.remove(&self.peer.identity, self.session);
        }
    }
}

/// Learns who the peer is. `None`: it did not say in time, or could not prove it.
#[inline(never)]
fn identifying<'a, S: Service>(
    server: &'a Shared<S>,
    accepted: Accepted,
    until: Instant,
) -> Part<'a, Option<(Box<dyn Io>, Peer)>> {
    Box::pin(async move {
        let address = accepted.peer().to_owned();
        let authenticated = tokio::select! {
            biased;
            authenticated = tokio::time::timeout_at(until, accepted.authenticate()) => authenticated,
            () = server.drain.notified() => return None,
        };
        let cause = match authenticated {
            Ok(Ok(Authenticated { io, identity }))
                if identity.name().len() <= Identity::MAX_LEN =>
            {
                return Some((io, Peer { identity, address }));
            }
            Ok(Ok(_)) => format!("its name is longer than {} bytes", Identity::MAX_LEN),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the peer was too slow to show who it is".to_owned(),
        };
        add(&server.counters.rejected, 1);
        tracing::info!(peer = address, cause, "refused: the peer has not proved who it is");
        None
    })
}

struct Entered {
    session: (Arc<Session>, u64),
    agreement: Agreement,
    decoder: FrameDecoder,
    /// What came in behind the hello.
    rest: Vec<u8>,
}

#[inline(never)]
fn entering<'a, S: Service>(
    server: &'a Arc<Shared<S>>,
    io: &'a mut Box<dyn Io>,
    peer: &'a Peer,
) -> Part<'a, Result<Entered, Option<Reject>>> {
    Box::pin(enter(server, io, peer))
}

/// Reads the hello, opens the session, says welcome. `Err(None)`: the peer has gone.
async fn enter<S: Service>(
    server: &Arc<Shared<S>>,
    io: &mut Box<dyn Io>,
    peer: &Peer,
) -> Result<Entered, Option<Reject>> {
    let mut decoder = FrameDecoder::new(MAX_HANDSHAKE_FRAME);
    let (hello, rest) = read_hello(io, &mut decoder).await?;
    decoder.set_max_frame(server.config.max_frame_bytes);
    let agreement = negotiate(&hello, &server.schema)?;
    let (id, secret, watermark) = open_session(server, peer, &hello).await?;
    let config = &server.config;
    let limits = TableLimits {
        window: config.window,
        max_running: config.max_running_per_session,
        max_held_bytes: config.max_held_bytes_per_session,
    };
    let max_sessions = config.max_sessions_per_identity;
    let now = server.clock.now();
    let session = server
        .sessions
        .attach(&peer.identity, id, watermark, limits, max_sessions, now)
        .map_err(|_| Reject {
            reason: RejectReason::Overloaded,
            message: "this identity has as many sessions here as it may have".to_owned(),
        })?;
    let welcome = Welcome {
        session: id,
        secret,
        lease: config.lease,
        window: config.window,
        max_frame: config.max_frame_bytes,
    };
    let mut out = Vec::new();
    welcome.put(&mut out);
    if io.write_all(&out).await.is_err() || io.flush().await.is_err() {
        session.0.detach(session.1, server.clock.now());
        return Err(None);
    }
    tracing::debug!(session = %id.client, peer = peer.address, "a client is connected");
    Ok(Entered { session, agreement, decoder, rest })
}

async fn read_hello(
    io: &mut Box<dyn Io>,
    decoder: &mut FrameDecoder,
) -> Result<(Hello, Vec<u8>), Option<Reject>> {
    let mut chunk = [0; 4096];
    loop {
        let count = io.read(&mut chunk).await.map_err(|_| None)?;
        if count == 0 {
            return Err(None);
        }
        let mut input = &chunk[..count];
        let mut finished = Vec::new();
        let decoded = decoder.next(&mut input, &mut finished).and_then(|frame| match frame {
            Some(frame) => Hello::decode(frame).map(Some),
            None => Ok(None),
        });
        match decoded {
            Ok(Some(hello)) => return Ok((hello, input.to_vec())),
            Ok(None) => {}
            Err(WireError::FrameTooLarge { .. } | WireError::BadInteger(_)) => {
                return Err(Some(reject_of(&WireError::NotOurProtocol)));
            }
            Err(error) => return Err(Some(reject_of(&error))),
        }
    }
}

/// Opens a new session or goes on with the one that the hello names.
async fn open_session<S: Service>(
    server: &Shared<S>,
    peer: &Peer,
    hello: &Hello,
) -> Result<(SessionId, SessionSecret, Seq), Reject> {
    let lease = Lease::from((server.wall_clock)(), server.config.lease);
    let Some((id, secret)) = hello.session else {
        let secret =
            new_secret().map_err(|message| Reject { reason: RejectReason::Overloaded, message })?;
        let opened = server.store.open_session(&peer.identity, secret, lease).await;
        return Ok((opened.map_err(|error| unavailable(&error))?, secret, Seq::FIRST));
    };
    let resumed = server.store.resume_session(&peer.identity, secret, id, lease).await;
    match resumed.map_err(|error| unavailable(&error))? {
        Resume::Resumed { watermark } => Ok((id, secret, watermark)),
        Resume::Fenced { current } => Err(Reject {
            reason: RejectReason::Fenced,
            message: format!(
                "incarnation {} of client {} is over, {current} has taken over",
                id.incarnation, id.client
            ),
        }),
        Resume::Closed => Err(Reject {
            reason: RejectReason::SessionClosed,
            message: format!(
                "session {} is closed, has expired, or is another's: open a new one",
                id.client
            ),
        }),
    }
}

#[inline(never)]
fn close_session<'a, S: Service>(
    server: &'a Shared<S>,
    peer: &'a Peer,
    id: SessionId,
) -> Part<'a, ()> {
    Box::pin(async move {
        server.sessions.remove(&peer.identity, id);
        if let Err(error) = server.store.close_session(id).await {
            // Its lease will end it.
            tracing::warn!(%error, session = %id.client, "a session could not be closed");
        }
    })
}

#[inline(never)]
fn send_reject<'a, S: Service>(
    server: &'a Shared<S>,
    mut io: Box<dyn Io>,
    peer: &'a Peer,
    reject: &'a Reject,
) -> Part<'a, ()> {
    Box::pin(async move {
        add(&server.counters.rejected, 1);
        tracing::info!(peer = peer.address, reason = ?reject.reason, reject.message, "refused");
        let mut out = Vec::new();
        reject.put(&mut out);
        let farewell = async {
            if io.write_all(&out).await.is_ok() && io.shutdown().await.is_ok() {
                // Closing with unread bytes would reset the connection, and take our words with it.
                let mut scrap = [0; 1024];
                while io.read(&mut scrap).await.is_ok_and(|count| count > 0) {}
            }
        };
        let _peer_may_be_slow = tokio::time::timeout(FAREWELL, farewell).await;
    })
}

fn unavailable(error: &StoreError) -> Reject {
    Reject { reason: RejectReason::StoreUnavailable, message: error.to_string() }
}

fn new_secret() -> Result<SessionSecret, String> {
    let mut secret = [0; 16];
    getrandom::fill(&mut secret)
        .map_err(|error| format!("the server has no random numbers now: {error}"))?;
    Ok(SessionSecret(secret))
}
