//! One connection after its handshake: reads frames, runs calls, writes responses.
//!
//! A call's business is polled once, here, as soon as its request is decoded; most end there, and
//! cost neither a task nor an allocation of ours. One that must wait is moved to a task of its own,
//! but for one that has done its work and only waits until that is durable: many become so at once,
//! so they wait here, and one wake-up answers them all.
//! All responses of one wake-up leave in one write, but for the first ones of many.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | bytes in, bytes out, and the time |
//! | `request.rs` | what becomes of a request |
//! | `batch.rs` | requests that are admitted and answered together |
//! | `deferred.rs` | answers that wait until they are durable |

mod batch;
mod deferred;
mod request;

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::time::Sleep;

use self::batch::Batch;
use self::deferred::DeferredAnswers;
use super::Shared;
use super::execute::Job;
use super::sessions::{Run, Session, State};
use super::stats::Tally;
use crate::id::Identity;
use crate::io_buffer::{self, READ_BYTES};
use crate::outgoing::Outgoing;
use crate::protocol::server::{Agreement, Duty};
use crate::service::Service;
use crate::time::{Time, WallClock, WallTime};
use crate::transport::Io;
use crate::tx::Scope;
use crate::wire::WireError;
use crate::wire::frame::FrameDecoder;
use crate::wire::request::ClientFrame;
use crate::wire::response::ServerFrame;

/// Reads and writes in one go before other connections get their turn.
const ROUNDS_PER_WAKE_UP: usize = 16;
/// Calls that are admitted under one lock of the session, before they are run: many enough that the
/// lock costs each of them little, few enough that what is known of them stays in the nearest cache.
/// With 64 calls in flight, half of them or somewhat less is best: the answers are written when
/// so many are there, and the client goes on meanwhile.
const CALLS_TOGETHER: usize = 30;
/// What of a batch must be answered since the last write for its answers to be written ahead of the
/// others, and what of it must be left: one part in so many.
const ANSWERED: usize = 6;
const LEFT: usize = 5;

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The peer closed it, or it broke.
    Disconnected,
    /// The session has a later connection, or a later incarnation.
    Superseded,
    /// The client has closed its session.
    SessionOver,
    /// The server is being shut down, and nothing runs here any more.
    Drained,
    /// The peer does not keep to the protocol.
    Misbehaved(WireError),
}

/// A connection that speaks for a session. `F` is the future of a running write or read, `P` that of
/// a plain call; `M` and `N` make them, as types of their own so that the futures are made where
/// they lie.
pub(super) struct Connection<S: Service, F, P, M, N> {
    server: Arc<Shared<S>>,
    session: Arc<Session>,
    number: u64,
    agreement: Agreement,
    io: Box<dyn Io>,
    decoder: FrameDecoder,
    outgoing: Outgoing,
    /// The peer takes responses so slowly that no more requests are read from it.
    is_choked: bool,
    timer: Option<Pin<Box<Sleep>>>,
    timer_at: Time,
    /// Where calls are polled first; reused for every call that ends at once.
    stage: Pin<Box<Option<F>>>,
    plain_stage: Pin<Box<Option<P>>>,
    /// Lent to each call and taken back: to count them up and down for every call is not free.
    lent_service: Option<Arc<S>>,
    lent_scope: Option<Arc<Scope>>,
    scope: Arc<Scope>,
    make: M,
    make_plain: N,
    deferred: DeferredAnswers<S>,
    /// What was counted since the server's counters were told.
    tally: Tally,
}

impl<S, F, P, M, N> Connection<S, F, P, M, N>
where
    S: Service,
    F: Future<Output = Job<S>> + Send + 'static,
    P: Future<Output = Job<S>> + Send + 'static,
    M: Fn(Job<S>) -> F,
    N: Fn(Job<S>) -> P,
{
    pub(super) fn new(
        server: Arc<Shared<S>>,
        caller: Identity,
        (session, number): (Arc<Session>, u64),
        agreement: Agreement,
        io: Box<dyn Io>,
        decoder: FrameDecoder,
        (make, make_plain): (M, N),
    ) -> Connection<S, F, P, M, N> {
        let scope = Arc::new(Scope { store: Arc::clone(&server.store), caller });
        Connection {
            server,
            session,
            number,
            agreement,
            io,
            decoder,
            outgoing: Outgoing::new(),
            is_choked: false,
            timer: None,
            timer_at: Time::NEVER,
            stage: Box::pin(None),
            plain_stage: Box::pin(None),
            lent_service: None,
            lent_scope: None,
            scope,
            make,
            make_plain,
            deferred: DeferredAnswers::default(),
            tally: Tally::default(),
        }
    }

    /// Serves the connection to its end. `rest` is what came in behind the hello.
    pub(super) async fn run(mut self, rest: Vec<u8>) -> (Ended, Box<dyn Io>) {
        let mut rest = Some(rest).filter(|rest| !rest.is_empty());
        let ended = std::future::poll_fn(|context| {
            if let Some(rest) = rest.take()
                && let Err(ended) = self.handle_batch(context, &rest)
            {
                return Poll::Ready(ended);
            }
            self.poll(context)
        })
        .await;
        self.session.detach(self.number, self.server.clock.now());
        self.deferred.leave_to_a_task(&self.server, &self.session);
        (ended, self.io)
    }

    /// Reads first, since that is what it mostly was woken for; then writes what came of it.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        for round in 0..ROUNDS_PER_WAKE_UP {
            let read = if self.is_choked { None } else { Some(self.poll_read(context)) };
            match read {
                Some(Poll::Ready(Err(ended))) => return Poll::Ready(ended),
                Some(Poll::Ready(Ok(()))) => {}
                Some(Poll::Pending) if round > 0 => return Poll::Pending,
                // The table, the timer or the store has woken it.
                Some(Poll::Pending) | None => {
                    if let Err(ended) = self.handle_wake_up(context) {
                        return Poll::Ready(ended);
                    }
                }
            }
            match self.poll_write(context) {
                Poll::Ready(Ok(())) => self.is_choked = false,
                Poll::Ready(Err(_)) => return Poll::Ready(Ended::Disconnected),
                Poll::Pending => self.is_choked = self.has_too_much_output(),
            }
            if self.is_drained() {
                return Poll::Ready(Ended::Drained);
            }
            if self.is_choked || read.is_some_and(|read| read.is_pending()) {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Something but the peer has woken the connection.
    fn handle_wake_up(&mut self, context: &mut Context<'_>) -> Result<(), Ended> {
        let timer_fired = match &mut self.timer {
            Some(timer) if self.timer_at < Time::NEVER => timer.as_mut().poll(context).is_ready(),
            _ => false,
        };
        self.deferred.poll_ended(context, &self.server, &self.session);
        let due = timer_fired.then(|| self.server.clock.now());
        let session = Arc::clone(&self.session);
        let turn = self.take_turn(&mut session.lock(), context, due)?;
        self.carry_out_turn(turn, context);
        Ok(())
    }

    /// Registers for output, tells the time if it is `due`, and takes what the table asks for.
    fn take_turn(
        &mut self,
        state: &mut State,
        context: &Context<'_>,
        due: Option<Time>,
    ) -> Result<Turn, Ended> {
        if !state.register(self.number, context.waker()) {
            return Err(Ended::Superseded);
        }
        if let Some(now) = due {
            self.timer_at = Time::NEVER;
            state.table.handle_timeout(now);
        }
        let mut duties = Vec::new();
        while let Some(duty) = state.next_duty(&self.server.counters) {
            duties.push(duty);
        }
        self.outgoing.take(|bytes| state.table.poll_transmit(bytes));
        Ok(Turn { duties, next: state.table.poll_timeout() })
    }

    fn carry_out_turn(&mut self, turn: Turn, context: &mut Context<'_>) {
        for duty in turn.duties {
            self.server.perform(&self.session, duty);
        }
        self.arm(turn.next, context);
    }

    /// Sets the timer if it must fire earlier than it would. One that fires too early does no harm.
    fn arm(&mut self, next: Time, context: &mut Context<'_>) {
        if next >= self.timer_at {
            return;
        }
        self.timer_at = next;
        let at = self.server.clock.instant(next);
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(at),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(at))),
        }
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(context).is_ready()
        {
            context.waker().wake_by_ref();
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        let mut scratch = io_buffer::take();
        let mut buffer = ReadBuf::new(&mut scratch);
        let polled = Pin::new(&mut self.io).poll_read(context, &mut buffer);
        let len = buffer.filled().len();
        let handled = match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => Poll::Ready(Err(Ended::Disconnected)),
            Poll::Ready(Ok(())) if len == 0 => Poll::Ready(Err(Ended::Disconnected)),
            Poll::Ready(Ok(())) => Poll::Ready(self.handle_batch(context, &scratch[..len])),
        };
        io_buffer::put(scratch);
        handled
    }

    fn handle_batch(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Result<(), Ended> {
        let handled = self.handle_bytes(context, bytes);
        self.server.counters.add(&std::mem::take(&mut self.tally));
        handled
    }

    /// Takes what came in. The session stays locked meanwhile, but for the runs of the business:
    /// some calls are admitted together, then run, then answered together.
    fn handle_bytes(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Result<(), Ended> {
        let now = self.server.clock.now();
        let deadline = self.agreement.default_deadline.min(self.server.config.max_deadline);
        let moment = Moment { now, default_deadline: now + deadline, wall: Cell::new(None) };
        let session = Arc::clone(&self.session);
        let (mut input, mut finished) = (bytes, Vec::new());
        // What of the batch was left when answers were written last.
        let mut unwritten = bytes.len();
        let mut state = session.lock();
        if !state.is_current(self.number) {
            return Err(Ended::Superseded);
        }
        state.note_traffic(moment.now);
        let mut batch = Batch::take();
        let mut next = self.decoder.next(&mut input, &mut finished);
        let ended = loop {
            let frame = match next {
                Ok(Some(frame)) => frame,
                Ok(None) => break Ok(()),
                Err(error) => break Err(Ended::Misbehaved(error)),
            };
            match ClientFrame::decode(frame) {
                Ok(ClientFrame::Request(header, arguments)) => {
                    if batch.len() >= CALLS_TOGETHER || state.table.is_full() {
                        state = self.carry_out(context, &session, state, &moment, &mut batch);
                        if is_time_to_write(bytes, unwritten, input) {
                            unwritten = input.len();
                            self.outgoing.take(|bytes| state.table.poll_transmit(bytes));
                            drop(state);
                            if let Poll::Ready(Err(_)) = self.poll_write(context) {
                                return Err(Ended::Disconnected);
                            }
                            state = session.lock();
                        }
                    }
                    self.admit(&mut state, &moment, &header, arguments, &mut batch);
                }
                Ok(ClientFrame::Ack(ack)) => state.table.handle_ack(ack),
                Ok(ClientFrame::Cancel(seq)) => state.table.handle_cancel(seq),
                Ok(ClientFrame::Ping) => state.table.send(ServerFrame::Pong),
                Ok(ClientFrame::Bye) => break Err(Ended::SessionOver),
                Err(error) => break Err(Ended::Misbehaved(error)),
            }
            next = self.decoder.next_lent(&mut input);
        };
        // However the connection ends, what was admitted is run: its retry would wait for it.
        let mut state = self.carry_out(context, &session, state, &moment, &mut batch);
        batch.put();
        let due = Some(moment.now).filter(|now| *now >= self.timer_at);
        let turn = ended.and_then(|()| self.take_turn(&mut state, context, due));
        drop(state);
        self.carry_out_turn(turn?, context);
        if self.deferred.poll_ended(context, &self.server, &self.session) {
            self.outgoing.note_more();
        }
        Ok(())
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        loop {
            ready!(self.outgoing.poll_write(&mut self.io, context))?;
            if !self.outgoing.is_stale() {
                return Poll::Ready(Ok(()));
            }
            let mut state = self.session.lock();
            self.outgoing.take(|bytes| state.table.poll_transmit(bytes));
        }
    }

    fn has_too_much_output(&self) -> bool {
        let waiting = self.session.with(|state| state.table.output_len());
        waiting > self.server.config.max_output_bytes
    }

    fn is_drained(&self) -> bool {
        self.server.draining.load(Ordering::Acquire)
            && self.outgoing.is_written()
            && self.session.with(|state| state.table.running() == 0 && !state.table.has_output())
    }
}

/// Whether answers are written before all of their batch are there, in a few parts of it: the client
/// then goes on while the server does, and neither falls asleep; in turns they are half as fast. A
/// read that has filled its buffer shows that the client has enough to do.
fn is_time_to_write(batch: &[u8], unwritten: usize, left: &[u8]) -> bool {
    batch.len() < READ_BYTES
        && ANSWERED * (unwritten - left.len()) >= batch.len()
        && LEFT * left.len() >= batch.len()
}

/// What a connection is to do for its table.
struct Turn {
    duties: Vec<Duty<Run>>,
    /// When the table wants to be told the time.
    next: Time,
}

/// When a batch of frames came in: each clock is read once for all of them, the wall clock only if
/// there is a write among them.
struct Moment {
    now: Time,
    /// The deadline of a request that names none.
    default_deadline: Time,
    wall: Cell<Option<WallTime>>,
}

impl Moment {
    fn wall(&self, clock: &WallClock) -> WallTime {
        let wall = self.wall.get().unwrap_or_else(clock);
        self.wall.set(Some(wall));
        wall
    }
}

/// Who the connection's peer is and where it comes from, for logs.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) identity: Identity,
    pub(super) address: String,
}
