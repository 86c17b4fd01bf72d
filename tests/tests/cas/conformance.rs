//! The conformance suite on the compare-and-swap store, over a simulated backend.

use rpc_tests::conformance::stores::Simulated;

rpc_tests::conformance_suite!(Simulated::default());
