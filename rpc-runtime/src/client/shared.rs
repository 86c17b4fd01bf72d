//! The core behind its lock, and who must be woken when it has changed.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinHandle};

use super::{driver, journal};
use crate::clock::Clock;
use crate::id::MethodId;
use crate::journal::Journal;
use crate::protocol::client::{ClientConfig, Core, EndpointId, Event, Restored};
use crate::service::ServiceSchema;
use crate::time::{Time, WallTime, micros};
use crate::transport::Connector;

/// What calls, connections and the driver share.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) config: ClientConfig,
    /// The usual deadline of a call, in microseconds.
    pub(super) deadline: u64,
    pub(super) connector: Arc<dyn Connector>,
    /// By method id.
    method_names: Vec<&'static str>,
    state: Mutex<State>,
    driver: Mutex<Option<JoinHandle<()>>>,
}

/// What a client with a journal begins with.
pub(super) struct Remembered {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) restored: Restored,
    /// What the wall clock says.
    pub(super) now: WallTime,
}

/// The part behind the lock. Whoever has used the core calls [`State::settle`] before it lets go.
pub(super) struct State {
    pub(super) core: Core,
    links: Vec<Link>,
    /// Connections that the driver is to make.
    pub(super) orders: Vec<Order>,
    pub(super) driver_waker: Option<Waker>,
    /// Who writes the journal, while there is nothing to write.
    pub(super) journal_waker: Option<Waker>,
    /// The time that the driver's timer is set to.
    pub(super) armed: Time,
    /// How long before it fires it is looked at.
    lead: Duration,
    /// The time that it was set to when it was looked at last.
    looked_at: Time,
    /// The driver is to look at it now.
    pub(super) is_early: bool,
    pub(super) closed: bool,
    /// Those who wait for something about the client as a whole.
    watchers: Vec<Waker>,
}

/// A connection that the driver is to make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) endpoint: EndpointId,
    /// Tells the connection from those before it.
    pub(super) number: u64,
}

/// The connection of one endpoint.
#[derive(Debug, Default)]
struct Link {
    number: u64,
    waker: Option<Waker>,
    /// Tells a connection that is woken that it was the core.
    called: Arc<AtomicBool>,
    task: Option<AbortHandle>,
}

thread_local! {
    /// A list of wakers to reuse.
    static WOKEN: Cell<Vec<Waker>> = const { Cell::new(Vec::new()) };
}

impl Shared {
    /// Makes the core and starts the driver. A client with a journal goes on with what was in it.
    pub(super) fn start(
        config: ClientConfig,
        schema: ServiceSchema,
        addresses: Vec<String>,
        connector: Arc<dyn Connector>,
        remembered: Option<Remembered>,
    ) -> Arc<Shared> {
        let ids = schema.methods.iter().map(|method| usize::from(method.id.0));
        let mut method_names = vec!["?"; ids.max().map_or(0, |last| last + 1)];
        for method in &schema.methods {
            method_names[usize::from(method.id.0)] = method.name;
        }
        let seed = config.seed.unwrap_or_else(|| fastrand::u64(..));
        let links = addresses.iter().map(|_| Link::default()).collect();
        let mut core = Core::new(config.clone(), schema, addresses, seed);
        let (clock, journal) = match remembered {
            Some(Remembered { journal, restored, now }) => {
                core.restore(restored);
                (Clock::from_the_epoch(now), Some(journal))
            }
            None => (Clock::new(), None),
        };
        let state = State {
            core,
            links,
            orders: Vec::new(),
            driver_waker: None,
            journal_waker: None,
            armed: Time::ZERO,
            lead: config.min_timeout / 2,
            looked_at: Time::ZERO,
            is_early: false,
            closed: false,
            watchers: Vec::new(),
        };
        let shared = Arc::new(Shared {
            clock,
            deadline: micros(config.deadline),
            config,
            connector,
            method_names,
            state: Mutex::new(state),
            driver: Mutex::new(None),
        });
        let keeper = journal.map(|journal| journal::keep(Arc::clone(&shared), journal));
        let driver = tokio::spawn(driver::drive(Arc::clone(&shared), keeper.map(tokio::spawn)));
        *shared.driver.lock().unwrap_or_else(PoisonError::into_inner) = Some(driver);
        shared
    }

    /// Uses the core, then wakes whom that concerns.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        self.with_state(|state| act(&mut state.core))
    }

    /// Uses the core for what leaves nothing to be carried out, and wakes nobody.
    #[inline]
    pub(super) fn look<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        let mut state = self.lock();
        let done = act(&mut state.core);
        debug_assert!(!state.core.has_news(), "it would be carried out late");
        done
    }

    /// As [`with`](Shared::with), with what lies around the core.
    #[inline]
    pub(super) fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let done = act(&mut state);
        if state.is_settled() {
            return done;
        }
        self.settle(state);
        done
    }

    /// Carries out what the core asks for, then wakes whom that concerns.
    fn settle(&self, mut state: MutexGuard<'_, State>) {
        let mut woken = WOKEN.take();
        state.settle(&mut woken);
        drop(state);
        // After the lock is released: a waker may do anything.
        woken.drain(..).for_each(Waker::wake);
        WOKEN.set(woken);
    }

    /// Waits until `look` finds something.
    pub(super) fn watch<T>(
        &self,
        waker: &Waker,
        look: impl FnOnce(&mut Core) -> Option<T>,
    ) -> Poll<T> {
        let mut state = self.lock();
        match look(&mut state.core) {
            Some(found) => Poll::Ready(found),
            None => {
                state.watchers.push(waker.clone());
                Poll::Pending
            }
        }
    }

    /// Ends the client.
    pub(super) fn close(&self) {
        self.with_state(|state| {
            state.closed = true;
            state.core.handle_close();
            for link in &mut state.links {
                state.watchers.extend(link.call());
            }
            state.watchers.extend(state.driver_waker.take());
            state.watchers.extend(state.journal_waker.take());
        });
    }

    pub(super) fn take_driver(&self) -> Option<JoinHandle<()>> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn method_name(&self, method: MethodId) -> &'static str {
        self.method_names.get(usize::from(method.0)).copied().unwrap_or("?")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// From now on it is that of another connection, and shares nothing with the one before.
    fn renew(&mut self) {
        self.number += 1;
        self.waker = None;
        self.called = Arc::default();
    }

    /// Takes the connection's waker, if it has looked at the core since it was woken last.
    fn call(&mut self) -> Option<Waker> {
        let waker = self.waker.take()?;
        self.called.store(true, Ordering::Release);
        Some(waker)
    }
}

impl State {
    /// Whether this connection is still the one of its endpoint. If so, it is woken for output.
    pub(super) fn register(&mut self, order: Order, waker: &Waker) -> bool {
        let link = &mut self.links[usize::from(order.endpoint.0)];
        if link.number != order.number {
            return false;
        }
        if !link.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            link.waker = Some(waker.clone());
        }
        true
    }

    /// Answers have come in: those that the timer was set for may be among them. To let it fire is a
    /// wake-up for nothing, and to set it earlier again, for the next call, is a system call. To set
    /// it later while it runs is neither, so the driver does that in time, once for each setting.
    pub(super) fn put_off_timer(&mut self, now: Time) {
        let is_due_soon = now + self.lead >= self.armed && self.looked_at != self.armed;
        if is_due_soon && let Some(driver) = self.driver_waker.take() {
            (self.is_early, self.looked_at) = (true, self.armed);
            self.watchers.push(driver);
        }
    }

    /// Where this connection learns that it was woken by the core; `None` if it is no longer the one
    /// of its endpoint.
    pub(super) fn called(&self, order: Order) -> Option<Arc<AtomicBool>> {
        self.is_current(order)
            .then(|| Arc::clone(&self.links[usize::from(order.endpoint.0)].called))
    }

    /// Whether this connection is still the one of its endpoint.
    pub(super) fn is_current(&self, order: Order) -> bool {
        self.links[usize::from(order.endpoint.0)].number == order.number
    }

    /// Lets the core stop the connection by stopping its task.
    pub(super) fn set_task(&mut self, order: Order, task: AbortHandle) {
        if self.is_current(order) {
            self.links[usize::from(order.endpoint.0)].task = Some(task);
        } else {
            task.abort();
        }
    }

    /// Whether [`settle`](State::settle) would do nothing, as for all but the first of the calls
    /// that are made in a row.
    #[inline]
    fn is_settled(&self) -> bool {
        !self.core.has_news()
            && self.watchers.is_empty()
            && (self.core.poll_timeout() >= self.armed || self.driver_waker.is_none())
    }

    /// Carries out what the core asks for, and collects who must be woken.
    fn settle(&mut self, woken: &mut Vec<Waker>) {
        while let Some(event) = self.core.poll_event() {
            match event {
                Event::Transmit(endpoint) => {
                    woken.extend(self.links[usize::from(endpoint.0)].call());
                }
                Event::Journal => woken.extend(self.journal_waker.take()),
                Event::Connect(endpoint) => {
                    let link = &mut self.links[usize::from(endpoint.0)];
                    link.renew();
                    self.orders.push(Order { endpoint, number: link.number });
                    woken.extend(self.driver_waker.take());
                }
                Event::Close(endpoint) => {
                    let link = &mut self.links[usize::from(endpoint.0)];
                    link.renew();
                    if let Some(task) = link.task.take() {
                        task.abort();
                    }
                }
            }
        }
        self.core.poll_wakers(woken);
        if self.core.poll_timeout() < self.armed {
            woken.extend(self.driver_waker.take());
        }
        woken.append(&mut self.watchers);
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}
