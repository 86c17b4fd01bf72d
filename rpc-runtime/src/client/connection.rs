//! One connection of a client: moves bytes between the transport and the core.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::patience::Patience;
use super::shared::{Order, Shared, State};
use crate::io_buffer;
use crate::outgoing::Outgoing;
use crate::transport::Io;

/// Reads and writes in one go before other tasks get their turn.
const ROUNDS_PER_WAKE_UP: usize = 16;

/// Connects, then moves bytes until the connection ends, and tells the core.
pub(super) async fn run(shared: Arc<Shared>, order: Order) {
    let trouble = match connect(&shared, order).await {
        Ok(io) => match exchange(&shared, order, io).await {
            Some(trouble) => trouble,
            None => return,
        },
        Err(trouble) => trouble,
    };
    tracing::debug!(endpoint = order.endpoint.0, trouble, "a connection has ended");
    shared.with_state(|state| {
        if state.is_current(order) {
            state.core.handle_disconnected(shared.clock.now(), order.endpoint, trouble);
        }
    });
}

async fn connect(shared: &Shared, order: Order) -> Result<Box<dyn Io>, String> {
    let address = shared.with(|core| core.address(order.endpoint).to_owned());
    let limit = shared.config.connect_timeout;
    match tokio::time::timeout(limit, shared.connector.connect(&address)).await {
        Ok(Ok(io)) => Ok(io),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no connection within {limit:?}")),
    }
}

/// Moves bytes until the connection ends, and says why; `None` if the core has given it up.
async fn exchange(shared: &Shared, order: Order, io: Box<dyn Io>) -> Option<String> {
    let called = shared.with_state(|state| {
        let called = state.called(order)?;
        state.core.handle_connected(shared.clock.now(), order.endpoint);
        Some(called)
    })?;
    let mut connection = Connection {
        shared,
        order,
        io,
        called,
        outgoing: Outgoing::new(),
        turn: Turn::GoOn,
        in_flight: 0,
        patience: Patience::here(),
    };
    std::future::poll_fn(|context| connection.poll(context)).await
}

struct Connection<'a> {
    shared: &'a Shared,
    order: Order,
    io: Box<dyn Io>,
    /// Whether it was the core that woke it, and not its peer.
    called: Arc<AtomicBool>,
    outgoing: Outgoing,
    /// What is to be done once that is written.
    turn: Turn,
    /// How many calls were in flight when it looked last.
    in_flight: u64,
    patience: Patience,
}

impl Connection<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<String>> {
        if self.called.swap(false, Ordering::Acquire) {
            self.outgoing.note_more();
        }
        for _ in 0..ROUNDS_PER_WAKE_UP {
            match self.poll_write(context) {
                Poll::Ready(Ok(Turn::GoOn)) | Poll::Pending => {}
                Poll::Ready(Ok(Turn::GivenUp)) => return Poll::Ready(None),
                Poll::Ready(Ok(Turn::Closed)) => {
                    let _ = ready!(Pin::new(&mut self.io).poll_shutdown(context));
                    return Poll::Ready(None);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Some(error.to_string())),
            }
            match self.poll_read(context) {
                Poll::Ready(Ok(())) => self.patience.was_answered(),
                Poll::Ready(Err(trouble)) => return Poll::Ready(Some(trouble)),
                Poll::Pending => {
                    if self.patience.asks_again(self.in_flight) {
                        context.waker().wake_by_ref();
                    }
                    return Poll::Pending;
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<Turn>> {
        loop {
            if self.outgoing.is_stale() {
                let shared = self.shared;
                shared.with_state(|state| {
                    if state.core.has_untimed() {
                        state.core.handle_time(shared.clock.now());
                    }
                    self.look_at(state, context);
                });
            }
            if self.turn == Turn::GivenUp {
                return Poll::Ready(Ok(Turn::GivenUp));
            }
            ready!(self.outgoing.poll_write(&mut self.io, context))?;
            if !self.outgoing.is_stale() {
                return Poll::Ready(Ok(self.turn));
            }
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), String>> {
        let mut scratch = io_buffer::take();
        let mut buffer = ReadBuf::new(&mut scratch);
        let polled = Pin::new(&mut self.io).poll_read(context, &mut buffer);
        let len = buffer.filled().len();
        let handled = match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.to_string())),
            Poll::Ready(Ok(())) if len == 0 => {
                Poll::Ready(Err("the server closed the connection".to_owned()))
            }
            Poll::Ready(Ok(())) => Poll::Ready(self.handle_bytes(&scratch[..len], context)),
        };
        io_buffer::put(scratch);
        handled
    }

    fn handle_bytes(&mut self, bytes: &[u8], context: &mut Context<'_>) -> Result<(), String> {
        let shared = self.shared;
        let now = shared.clock.now();
        shared.with_state(|state| {
            if !state.is_current(self.order) {
                self.turn = Turn::GivenUp;
                return Ok(());
            }
            let handled = state.core.handle_bytes(now, self.order.endpoint, bytes);
            state.put_off_timer(now);
            self.look_at(state, context);
            handled.map_err(|error| format!("the server does not keep to the protocol: {error}"))
        })
    }

    /// Takes what is to be sent; the core wakes the connection once there is more.
    fn look_at(&mut self, state: &mut State, context: &Context<'_>) {
        if !state.register(self.order, context.waker()) {
            self.turn = Turn::GivenUp;
            return;
        }
        self.in_flight = state.core.in_flight();
        self.outgoing.take(|bytes| state.core.poll_transmit(self.order.endpoint, bytes));
        self.turn = if state.closed { Turn::Closed } else { Turn::GoOn };
    }
}

/// What a connection does after it has written what there was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    GoOn,
    /// The core has given the connection up.
    GivenUp,
    /// The client is closed, and its last words are written.
    Closed,
}
