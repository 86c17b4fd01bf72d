//! One connection of a client: moves bytes between the transport and the core.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::patience::Patience;
use super::shared::{Order, Shared};
use crate::io_buffer;
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
    let current = shared.with_state(|state| {
        let current = state.is_current(order);
        if current {
            state.core.handle_connected(shared.clock.now(), order.endpoint);
        }
        current
    });
    if !current {
        return None;
    }
    let mut connection = Connection {
        shared,
        order,
        io,
        writing: Vec::new(),
        written: 0,
        in_flight: 0,
        patience: Patience::here(),
    };
    std::future::poll_fn(|context| connection.poll(context)).await
}

struct Connection<'a> {
    shared: &'a Shared,
    order: Order,
    io: Box<dyn Io>,
    /// What is being written, from `written` on.
    writing: Vec<u8>,
    written: usize,
    /// How many calls were in flight when it looked last.
    in_flight: u64,
    patience: Patience,
}

impl Connection<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<String>> {
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
            let done = self.written == self.writing.len();
            if done {
                self.writing.clear();
                self.written = 0;
                io_buffer::shed(&mut self.writing);
            }
            let (order, writing, in_flight) = (self.order, &mut self.writing, &mut self.in_flight);
            let turn = self.shared.with_state(|state| {
                if !state.register(order, context.waker()) {
                    return Some(Turn::GivenUp);
                }
                if state.core.has_untimed() {
                    state.core.handle_time(self.shared.clock.now());
                }
                *in_flight = state.core.in_flight();
                if done && !state.core.poll_transmit(order.endpoint, writing) {
                    return Some(if state.closed { Turn::Closed } else { Turn::GoOn });
                }
                None
            });
            if let Some(turn) = turn {
                return Poll::Ready(Ok(turn));
            }
            let rest = &self.writing[self.written..];
            match ready!(Pin::new(&mut self.io).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                count => self.written += count,
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
            Poll::Ready(Ok(())) => Poll::Ready(self.handle_bytes(&scratch[..len])),
        };
        io_buffer::put(scratch);
        handled
    }

    fn handle_bytes(&self, bytes: &[u8]) -> Result<(), String> {
        let now = self.shared.clock.now();
        self.shared.with_state(|state| {
            if !state.is_current(self.order) {
                return Ok(());
            }
            let handled = state.core.handle_bytes(now, self.order.endpoint, bytes);
            state.put_off_timer(now);
            handled.map_err(|error| format!("the server does not keep to the protocol: {error}"))
        })
    }
}

/// What a connection does after it has written what there was.
enum Turn {
    GoOn,
    /// The core has given the connection up.
    GivenUp,
    /// The client is closed, and its last words are written.
    Closed,
}
