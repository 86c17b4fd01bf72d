//! The limits of a server, each with a name, a default and its reason.

use std::time::Duration;

use crate::store::Lease;

/// The limits of a server. Start from [`ServerConfig::default`] and set what you need:
///
/// ```
/// let config = rpc::ServerConfig::default().max_connections(100);
/// assert_eq!(config.max_connections, 100);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The largest frame that is taken, in bytes. Default 4 MiB: far above a call's usual size,
    /// small enough that a connection cannot hold much.
    pub max_frame_bytes: usize,
    /// How many calls beyond its watermark a client may make. Default 4,096: four times what keeps
    /// a core busy, so that a single slow call does not hold up the others.
    pub window: u32,
    /// Calls that run at once for one session. Default 4,096, the window.
    pub max_running_per_session: usize,
    /// Calls that run at once in the process. Default 65,536; beyond it calls are refused early,
    /// while those that run still keep their deadlines.
    pub max_running: usize,
    /// Bytes of responses kept for one session until they are acknowledged. Default 8 MiB; beyond
    /// it the oldest are forgotten, and a retry of theirs costs a look-up in the store.
    pub max_held_bytes_per_session: usize,
    /// Bytes that wait to be sent on one connection before no more is read from it. Default 1 MiB.
    pub max_output_bytes: usize,
    /// Connections at once. Default 16,384.
    pub max_connections: usize,
    /// Sessions of one identity that are kept at once, connected or not. Default 65,536.
    pub max_sessions_per_identity: usize,
    /// How long a connection may take to show who it is, where it must, and to say hello. Default 10
    /// seconds.
    pub handshake_timeout: Duration,
    /// How long a connection may be silent. Default 2 minutes: clients send something every 15
    /// seconds, so one that has not for so long is gone, and its connection is given up.
    pub idle_timeout: Duration,
    /// The longest deadline that is granted to a call; a longer one is cut to it. Default 10 min.
    pub max_deadline: Duration,
    /// How long a session lives in the store without traffic. Default 30 minutes.
    pub lease: Duration,
    /// How long the table of a session without connection is kept. Default 60 seconds: the time to
    /// come back after a cut; later a retry asks the store.
    pub detached_ttl: Duration,
    /// How long a graceful shutdown waits for the calls that run. Default 10 seconds.
    pub shutdown_limit: Duration,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            max_frame_bytes: 4 << 20,
            window: 4096,
            max_running_per_session: 4096,
            max_running: 65_536,
            max_held_bytes_per_session: 8 << 20,
            max_output_bytes: 1 << 20,
            max_connections: 16_384,
            max_sessions_per_identity: 65_536,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
            max_deadline: Duration::from_secs(600),
            lease: Lease::DEFAULT,
            detached_ttl: Duration::from_secs(60),
            shutdown_limit: Duration::from_secs(10),
        }
    }
}

macro_rules! setters {
    ($($name:ident: $type:ty),* $(,)?) => {
        impl ServerConfig {$(
            #[doc = concat!("Sets [`", stringify!($name), "`](ServerConfig::", stringify!($name), ").")]
            #[must_use]
            pub fn $name(mut self, $name: $type) -> ServerConfig {
                self.$name = $name;
                self
            }
        )*}
    };
}

setters! {
    max_frame_bytes: usize,
    window: u32,
    max_running_per_session: usize,
    max_running: usize,
    max_held_bytes_per_session: usize,
    max_output_bytes: usize,
    max_connections: usize,
    max_sessions_per_identity: usize,
    handshake_timeout: Duration,
    idle_timeout: Duration,
    max_deadline: Duration,
    lease: Duration,
    detached_ttl: Duration,
    shutdown_limit: Duration,
}
