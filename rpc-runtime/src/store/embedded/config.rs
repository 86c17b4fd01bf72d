//! The settings of the embedded store.

use crate::store::DEFAULT_MAX_SESSIONS;

/// The settings of an [`EmbeddedStore`](super::EmbeddedStore). The defaults suit a server that has
/// a machine for itself.
///
/// ```
/// use rpc::store::embedded::EmbeddedConfig;
///
/// let config = EmbeddedConfig::default().cache_bytes(256 << 20).max_sessions(10_000);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EmbeddedConfig {
    /// See [`EmbeddedConfig::cache_bytes`].
    pub cache_bytes: usize,
    /// See [`EmbeddedConfig::max_undurable_bytes`].
    pub max_undurable_bytes: u32,
    /// See [`EmbeddedConfig::log_bytes`].
    pub log_bytes: usize,
    /// See [`EmbeddedConfig::sync_where_called`].
    pub sync_where_called: bool,
    /// See [`EmbeddedConfig::max_sessions`].
    pub max_sessions: usize,
    /// See [`EmbeddedConfig::check_on_open`].
    pub check_on_open: bool,
}

impl EmbeddedConfig {
    /// How much memory, in bytes, the pages of the file may take.
    ///
    /// Default 64 MiB: the documents in use of a small service, and little beside what the
    /// operating system caches of the file anyway.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> EmbeddedConfig {
        self.cache_bytes = bytes;
        self
    }

    /// How many bytes of commits may be applied in memory and not yet be durable. A commit that
    /// would exceed it waits its turn; one that is larger by itself is taken alone.
    ///
    /// Default 64 MiB: what a slow disk writes in about a second, so that nobody waits much
    /// longer than that for room.
    #[must_use]
    pub fn max_undurable_bytes(mut self, bytes: u32) -> EmbeddedConfig {
        self.max_undurable_bytes = bytes.max(1);
        self
    }

    /// How many bytes of the disk the log may take, where calls become durable before they go to
    /// the tree. What is in the log and not in the tree is in memory, too, up to twice as large.
    ///
    /// Default 128 MiB: the documents of some hundred thousand calls go to the tree together, where
    /// neighbours share pages, and what a crash leaves to do takes seconds at most. With a quarter of
    /// it a write to one of a million documents costs half as much again. A call that is larger than
    /// half of it goes right to the tree.
    #[must_use]
    pub fn log_bytes(mut self, bytes: usize) -> EmbeddedConfig {
        self.log_bytes = bytes;
        self
    }

    /// Whether a commit that comes alone is synced by the thread that waits for it, instead of by the
    /// store's own: for a disk whose sync takes less than to wake a thread and to be woken by it, some
    /// 50 µs. That thread does nothing else meanwhile, and neither does what a runtime has put on
    /// it. Commits that come together are left to the store's own thread.
    ///
    /// Default `false`.
    #[must_use]
    pub fn sync_where_called(mut self, sync: bool) -> EmbeddedConfig {
        self.sync_where_called = sync;
        self
    }

    /// How many sessions may be open; one more is refused. Each takes about 200 bytes of memory.
    ///
    /// Default [`DEFAULT_MAX_SESSIONS`].
    #[must_use]
    pub fn max_sessions(mut self, sessions: usize) -> EmbeddedConfig {
        self.max_sessions = sessions;
        self
    }

    /// Whether opening verifies the checksum of every page in use, so that a damaged file is
    /// refused when it is opened and not met later, by a call.
    ///
    /// Default `true`. It reads the whole file once; after a crash that is done in any case.
    #[must_use]
    pub fn check_on_open(mut self, check: bool) -> EmbeddedConfig {
        self.check_on_open = check;
        self
    }
}

impl Default for EmbeddedConfig {
    fn default() -> EmbeddedConfig {
        EmbeddedConfig {
            cache_bytes: 64 << 20,
            max_undurable_bytes: 64 << 20,
            log_bytes: 128 << 20,
            sync_where_called: false,
            max_sessions: DEFAULT_MAX_SESSIONS,
            check_on_open: true,
        }
    }
}
