//! The conformance suite on the memory store.

use std::sync::Arc;

use rpc::store::{MemoryStore, Store};
use rpc_tests::conformance::Harness;

struct Memory;

impl Harness for Memory {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::new())
    }

    fn is_durable(&self) -> bool {
        false
    }
}

rpc_tests::conformance_suite!(Memory);
