//! The client: typed calls that survive lost messages, cut connections and stopped servers.
//!
//! The way of one call: a generated stub makes a [`Call`]; its first poll encodes the arguments and
//! hands them to the sans-IO core (`crate::protocol::client`), which puts the frame into the
//! output of a connection; `connection.rs` writes it, reads the response and hands it to the core,
//! which wakes the call.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | [`Client`] and its builder |
//! | `call.rs` | [`Call`], the builder that is a future |
//! | `shared.rs` | the core behind its lock, and who must be woken when it has changed |
//! | `driver.rs` | one task for timers and for making connections |
//! | `connection.rs` | one task a connection, for its bytes |
//! | `patience.rs` | whether a connection asks again before it sleeps |
//! | `journal.rs` | one task for the journal, if there is one |

mod call;
mod connection;
mod driver;
mod journal;
mod patience;
mod shared;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

pub use self::call::Call;
use self::shared::{Remembered, Shared};
use crate::error::ConnectError;
use crate::id::MethodId;
use crate::journal::Journal;
use crate::lend::Arguments;
pub use crate::protocol::client::{ClientConfig, ClientStats, Hedge, JournalledCall};
use crate::schema::Message;
use crate::service::{Kind, ServiceSchema};
use crate::time::{WallClock, WallTime};
use crate::transport::{Connector, Tcp};

/// A connected client of one service: one session, shared by all clones.
///
/// Generated stubs wrap one; see [`Client::builder`]. When the last clone is dropped, calls that
/// still run are left to their servers, and the session to its lease. [`Client::shutdown`] ends
/// both in order.
#[derive(Clone, Debug)]
pub struct Client {
    handle: Arc<Handle>,
}

/// A generated client: what the runtime must know of it to connect.
pub trait Stub: Sized {
    /// The service that it calls.
    fn schema() -> ServiceSchema;

    /// Wraps a connected client.
    fn from_client(client: Client) -> Self;

    /// The client inside: for its statistics, and to shut it down.
    fn client(&self) -> &Client;
}

/// Closes the client when the last clone is gone.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

/// A client in the making.
///
/// ```no_run
/// # #[rpc::service] pub trait Hello { async fn hello(&self, name: String) -> String; }
/// # async fn example() -> Result<(), rpc::ConnectError> {
/// use std::time::Duration;
///
/// let hello: HelloClient = rpc::Client::builder()
///     .deadline(Duration::from_secs(5))
///     .connect(["10.0.0.1:4000", "10.0.0.2:4000"])
///     .await?;
/// # Ok(()) }
/// ```
#[must_use = "a client is not made until it is connected"]
pub struct ClientBuilder {
    config: ClientConfig,
    connector: Arc<dyn Connector>,
    connect_limit: Duration,
    journal: Option<Arc<dyn Journal>>,
    wall_clock: WallClock,
}

/// How long [`ClientBuilder::connect`] waits for the first server, unless it is set.
const DEFAULT_CONNECT_LIMIT: Duration = Duration::from_secs(10);

impl Client {
    /// Begins a client with default settings over TCP.
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            config: ClientConfig::default(),
            connector: Arc::new(Tcp),
            connect_limit: DEFAULT_CONNECT_LIMIT,
            journal: None,
            wall_clock: Box::new(WallTime::now),
        }
    }

    /// Prepares a call: what a generated stub calls, `A` being the tuple of its arguments.
    pub fn call<A: Arguments, T: Message, E: Message>(
        &self,
        method: MethodId,
        kind: Kind,
        arguments: A,
    ) -> Call<A, T, E> {
        Call::new(self.clone(), method, kind, arguments)
    }

    /// What the client has done so far.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.shared().with(|core| core.stats())
    }

    /// The calls in the client's journal, the oldest first: those that have not ended, the named ones,
    /// and those of an earlier life whose outcome nobody has heard. Empty without a journal.
    ///
    /// A call without a name is asked for with its method, its arguments and
    /// [`ask_again`](Call::ask_again); if nobody asks, it is settled in the background.
    #[must_use]
    pub fn journalled(&self) -> Vec<JournalledCall> {
        self.shared().with(|core| core.journalled())
    }

    /// Lets go of the outcome of a [named](Call::named) call, and of its name, which a later call may
    /// have. Says whether there was such an outcome; a call that has not ended keeps its name.
    ///
    /// The journal hears of it with the next that is written: after a crash right now the outcome may
    /// still be there.
    pub fn forget(&self, name: &str) -> bool {
        self.shared().with(|core| core.forget_named(name))
    }

    /// Waits until every call is settled, also those that were dropped or given up, but no longer
    /// than `limit`; then closes the session and the connections. Calls made from other clones
    /// meanwhile are waited for; calls made after it fail as `NotExecuted`.
    pub async fn shutdown(self, limit: Duration) {
        let shared = Arc::clone(self.shared());
        let settled = std::future::poll_fn(|context| {
            shared.watch(context.waker(), |core| core.is_settled().then_some(()))
        });
        if tokio::time::timeout(limit, settled).await.is_err() {
            tracing::warn!("the client is closed with calls that are not settled");
        }
        shared.close();
        let driver = shared.take_driver();
        if let Some(driver) = driver {
            let _timed_out = tokio::time::timeout(limit, driver).await;
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl ClientBuilder {
    /// Sets all settings.
    pub fn config(mut self, config: ClientConfig) -> ClientBuilder {
        self.config = config;
        self
    }

    /// Sets how long a call may be tried, unless it says otherwise.
    pub fn deadline(mut self, deadline: Duration) -> ClientBuilder {
        self.config.deadline = deadline;
        self
    }

    /// Connects over another transport than TCP.
    pub fn connector(mut self, connector: impl Connector) -> ClientBuilder {
        self.connector = Arc::new(connector);
        self
    }

    /// Remembers the calls across a crash: see [`crate::journal`]. A client that is connected with the
    /// journal of an earlier one goes on with its session and its open calls, under the next
    /// incarnation; what the earlier one still has on the wire is fenced.
    ///
    /// ```no_run
    /// # #[rpc::service] pub trait Bank { async fn pay(&self, tx: &mut rpc::Tx, from: String, cents: u64) -> u64; }
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let journal = rpc::journal::FileJournal::open("payments.journal")?;
    /// let bank: BankClient = rpc::Client::builder().journal(journal).connect(["10.0.0.1:4000"]).await?;
    ///
    /// // However often the program crashes and comes here again, it pays once.
    /// let left = bank.pay("alice".to_owned(), 100).named("invoice 4711").await?;
    /// # Ok(()) }
    /// ```
    pub fn journal(mut self, journal: impl Journal) -> ClientBuilder {
        self.journal = Some(Arc::new(journal));
        self
    }

    /// Sets where the wall clock is read, once, by which a client with a journal tells how old the calls
    /// of its earlier life are. Default: this machine's. For tests.
    pub fn wall_clock(mut self, clock: impl Fn() -> WallTime + Send + Sync + 'static) -> Self {
        self.wall_clock = Box::new(clock);
        self
    }

    /// Sets how long [`connect`](ClientBuilder::connect) waits for the first server. Default 10 s.
    pub fn connect_limit(mut self, limit: Duration) -> ClientBuilder {
        self.connect_limit = limit;
        self
    }

    /// Connects to the servers of a service and waits until one of them has taken the session. The
    /// others, and all that fail later, are connected in the background. Name each server once: two
    /// names of one server would push out each other's connection.
    ///
    /// # Errors
    /// If no address was given, the journal cannot be used, no server was reached in time, or all of
    /// them refuse this client for good (another service, a method that differs).
    pub async fn connect<C: Stub>(
        self,
        servers: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<C, ConnectError> {
        let mut addresses: Vec<String> = Vec::new();
        for address in servers.into_iter().map(Into::into) {
            // A session has one connection to a server: a second would push out the first.
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(ConnectError::NoAddress);
        }
        let (schema, is_journalled) = (C::schema(), self.journal.is_some());
        let remembered = match self.journal {
            Some(journal) => {
                let restored = journal::open(&*journal, &schema).await?;
                Some(Remembered { journal, restored, now: (self.wall_clock)() })
            }
            None => None,
        };
        let shared = Shared::start(self.config, schema, addresses, self.connector, remembered);
        let client = Client { handle: Arc::new(Handle { shared: Arc::clone(&shared) }) };
        let connected = std::future::poll_fn(|context| {
            let polled = shared.watch(context.waker(), |core| {
                if core.is_up() {
                    return Some(Ok(()));
                }
                core.rejection().map(|(address, reject)| {
                    Err(ConnectError::Rejected {
                        address: address.to_owned(),
                        reason: reject.reason,
                        message: reject.message.clone(),
                    })
                })
            });
            if polled.is_ready() { polled } else { Poll::Pending }
        });
        let connected = match tokio::time::timeout(self.connect_limit, connected).await {
            Ok(connected) => connected,
            Err(_) => Err(ConnectError::Unreachable {
                limit: self.connect_limit,
                detail: shared.with(|core| core.troubles()),
            }),
        };
        if is_journalled && let Err(error) = connected {
            // Whoever tries again may open the journal at once.
            shared.close();
            if let Some(driver) = shared.take_driver() {
                let _panicked = driver.await;
            }
            return Err(error);
        }
        connected.map(|()| C::from_client(client))
    }
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}
