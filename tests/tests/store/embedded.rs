//! The conformance suite on the embedded store, on real files and on a simulated disk.

use std::sync::Arc;

use rpc::store::Store;
use rpc::store::embedded::{EmbeddedConfig, EmbeddedStore};
use rpc_tests::conformance::Harness;
use tempfile::TempDir;

struct Embedded {
    directory: TempDir,
    config: EmbeddedConfig,
}

impl Embedded {
    fn new(config: EmbeddedConfig) -> Embedded {
        Embedded { directory: tempfile::tempdir().expect("a temporary directory"), config }
    }

    fn store(&self) -> Arc<dyn Store> {
        let store = EmbeddedStore::open(self.directory.path(), self.config.clone());
        Arc::new(store.expect("the store opens"))
    }
}

impl Harness for Embedded {
    async fn open(&self) -> Arc<dyn Store> {
        self.store()
    }

    fn is_durable(&self) -> bool {
        true
    }

    async fn reopen(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        assert_eq!(Arc::strong_count(&store), 1, "only the last handle can be closed");
        drop(store);
        Some(self.store())
    }
}

rpc_tests::conformance_suite!(Embedded::new(EmbeddedConfig::default()));

mod synced_where_called {
    use super::*;

    rpc_tests::conformance_suite!(Embedded::new(EmbeddedConfig::default().sync_where_called(true)));
}

mod on_a_simulated_disk {
    use rpc_tests::conformance::stores::OnDisk;

    rpc_tests::conformance_suite!(OnDisk::default());
}
