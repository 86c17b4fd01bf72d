//! The conformance suite on the memory store.

use rpc_tests::conformance::stores::Memory;

rpc_tests::conformance_suite!(Memory);
