//! The contenders. Each file says how one serves, connects and calls.

pub(crate) mod bare;
#[cfg(feature = "peers")]
pub(crate) mod capnp;
pub(crate) mod limit;
pub(crate) mod limit_write;
pub(crate) mod ours;
#[cfg(feature = "peers")]
pub(crate) mod tarpc;
#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(feature = "peers")]
pub(crate) mod tonic;
#[cfg(feature = "peers")]
pub(crate) mod volo;
pub(crate) mod without_ids;
