//! The settings of a client, each with a name, a default and its reason.

use std::time::Duration;

/// The settings of a client. Start from [`ClientConfig::default`] and set what you need:
///
/// ```
/// use std::time::Duration;
///
/// let config = rpc::ClientConfig::default().deadline(Duration::from_secs(5));
/// assert_eq!(config.deadline, Duration::from_secs(5));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// How long a call may be tried, unless it says otherwise. Default 30 seconds.
    pub deadline: Duration,
    /// How much longer than its deadline a call may take to learn how it ended. Default 2 seconds:
    /// enough to ask every server once. After it the outcome is unknown.
    pub settle_grace: Duration,
    /// The largest frame that is taken, in bytes. Default 4 MiB, as on the server.
    pub max_frame_bytes: usize,
    /// The most writes of one session; at least 1. Then the client opens a new session and closes
    /// the old one. Default 65,536: some writes leave something in the store until their session is
    /// over (one without an anchor a document of its own, one with an anchor an entry there), and a
    /// client that is never silent would never let go of it; a new session for so many writes costs
    /// nothing. At half of them the client moves as soon as nothing is pending; when all are used up,
    /// calls wait until nothing is.
    pub max_session_writes: u64,
    /// The most calls in flight; more wait for their turn. Default 4,096. The server's window
    /// limits it too.
    pub max_in_flight: u32,
    /// How long to wait for an answer before the first one was measured. Default 1 second.
    pub initial_timeout: Duration,
    /// The least that is waited for an answer. Default 50 ms: what a busy machine may take to
    /// schedule a process.
    pub min_timeout: Duration,
    /// The most that is waited for an answer before the call is sent again. Default 5 seconds.
    pub max_timeout: Duration,
    /// Re-sends per hundred calls. Default 20: more would storm servers that are already sick.
    pub retry_percent: u32,
    /// Re-sends per second beside that, so that a quiet client can retry too. Default 10.
    pub retries_per_second: u32,
    /// How long an acknowledgement waits for a message to travel with. Default 5 seconds: a client that
    /// makes a call in so long pays for none that travels alone. Servers keep an answer as long, within
    /// their own limits.
    pub ack_delay: Duration,
    /// How long a connection may be silent before it is looked after. Default 15 seconds, which
    /// also keeps the session's lease.
    pub keepalive: Duration,
    /// How often a suspect server is probed at first; the interval doubles up to
    /// [`max_backoff`](ClientConfig::max_backoff). Default 100 ms.
    pub probe_interval: Duration,
    /// How long a server may stay silent on a connection before a new one is made. Default 10 s.
    pub silence_limit: Duration,
    /// How long a connection and its handshake may take. Default 2 seconds.
    pub connect_timeout: Duration,
    /// The first pause before connecting again; it doubles with each failure. Default 20 ms.
    pub min_backoff: Duration,
    /// The longest pause before connecting, probing or settling again. Default 2 seconds.
    pub max_backoff: Duration,
    /// Outcomes kept for callers that gave up and may ask again. Default 1,024; beyond it the
    /// oldest is dropped, and asking for it says so.
    pub max_kept_outcomes: usize,
    /// What a journal may hold, in bytes: open calls, and the outcomes of named ones. Default 16 MiB,
    /// all of which is also in memory; beyond it no new writes are made.
    pub max_journal_bytes: usize,
    /// What random choices (jitter) start from; `None` draws it. Set it to repeat a run.
    pub seed: Option<u64>,
}

impl Default for ClientConfig {
    fn default() -> ClientConfig {
        ClientConfig {
            deadline: Duration::from_secs(30),
            settle_grace: Duration::from_secs(2),
            max_frame_bytes: 4 << 20,
            max_session_writes: 65_536,
            max_in_flight: 4096,
            initial_timeout: Duration::from_secs(1),
            min_timeout: Duration::from_millis(50),
            max_timeout: Duration::from_secs(5),
            retry_percent: 20,
            retries_per_second: 10,
            ack_delay: Duration::from_secs(5),
            keepalive: Duration::from_secs(15),
            probe_interval: Duration::from_millis(100),
            silence_limit: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(2),
            min_backoff: Duration::from_millis(20),
            max_backoff: Duration::from_secs(2),
            max_kept_outcomes: 1024,
            max_journal_bytes: 16 << 20,
            seed: None,
        }
    }
}

macro_rules! setters {
    ($($name:ident: $type:ty),* $(,)?) => {
        impl ClientConfig {$(
            #[doc = concat!("Sets [`", stringify!($name), "`](ClientConfig::", stringify!($name), ").")]
            #[must_use]
            pub fn $name(mut self, $name: $type) -> ClientConfig {
                self.$name = $name;
                self
            }
        )*}
    };
}

setters! {
    deadline: Duration,
    settle_grace: Duration,
    max_frame_bytes: usize,
    max_session_writes: u64,
    max_in_flight: u32,
    initial_timeout: Duration,
    min_timeout: Duration,
    max_timeout: Duration,
    retry_percent: u32,
    retries_per_second: u32,
    ack_delay: Duration,
    keepalive: Duration,
    probe_interval: Duration,
    silence_limit: Duration,
    connect_timeout: Duration,
    min_backoff: Duration,
    max_backoff: Duration,
    max_kept_outcomes: usize,
    max_journal_bytes: usize,
    seed: Option<u64>,
}
