//! The work, and who does it.

use std::error::Error;
use std::time::Duration;

use clap::ValueEnum;

use crate::contender::bare::Loop;
use crate::contender::{limit, limit_write, ours, without_ids};
use crate::load::{drive, drive_loop};

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    /// This system: a method with neither `Tx` nor `View`.
    Plain,
    /// The same, with arguments that are lent (`&str`) instead of owned.
    PlainLent,
    /// The plain method; both ends ask their sockets before they sleep.
    PlainBusyPolled,
    /// The plain method over TLS, on which both ends show who they are.
    #[cfg(feature = "tls")]
    PlainTls,
    /// This system: a write on the memory store, with everything that exactly-once needs.
    WriteMemory,
    /// This system: a write on the embedded store, with fsync.
    WriteEmbedded,
    /// This system: a write on the memory store, by a client with a journal, with fsync.
    WriteJournalled,
    /// This system: the same write in a plain method over a durable store without ids, not exactly once.
    WriteWithoutIds,
    /// Hand-written frames with a task per caller: what the machine allows.
    Limit,
    /// Hand-written frames, and a client without tasks.
    LimitNoTasks,
    /// Hand-written frames with ids, duplicates found, and accounts in a hash map: what the machine
    /// allows for a write.
    LimitWrite,
    /// tarpc over bincode.
    #[cfg(feature = "peers")]
    Tarpc,
    /// tonic: gRPC over HTTP/2.
    #[cfg(feature = "peers")]
    Tonic,
    /// volo-thrift: Thrift, many calls on one connection.
    #[cfg(feature = "peers")]
    VoloThrift,
    /// capnp-rpc: Cap'n Proto.
    #[cfg(feature = "peers")]
    CapnpRpc,
}

impl Contender {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().expect("no contender is hidden").get_name().to_owned()
    }
}

/// How many calls are in flight at once.
pub(crate) const IN_FLIGHT: [usize; 3] = [1, 64, 1024];

pub(crate) const NAME: &str = "0123456789abcdef";

/// Serves one contender until the process ends; prints its address.
pub(crate) async fn serve(contender: Contender) -> Result<(), Box<dyn Error>> {
    match contender {
        Contender::Plain
        | Contender::PlainLent
        | Contender::WriteMemory
        | Contender::WriteJournalled => ours::serve().await,
        Contender::PlainBusyPolled => ours::serve_busy_polled().await,
        #[cfg(feature = "tls")]
        Contender::PlainTls => crate::contender::tls::serve().await,
        Contender::WriteEmbedded => ours::serve_durable().await,
        Contender::WriteWithoutIds => without_ids::serve().await,
        Contender::Limit | Contender::LimitNoTasks => limit::serve().await,
        Contender::LimitWrite => limit_write::serve().await,
        #[cfg(feature = "peers")]
        Contender::Tarpc => crate::contender::tarpc::serve().await,
        #[cfg(feature = "peers")]
        Contender::Tonic => crate::contender::tonic::serve().await,
        #[cfg(feature = "peers")]
        Contender::VoloThrift => crate::contender::volo::serve().await,
        #[cfg(feature = "peers")]
        Contender::CapnpRpc => crate::contender::capnp::serve().await,
    }
}

/// Loads a server with this many calls in flight, for a while to warm up and then as it is told to.
pub(crate) async fn load(
    contender: Contender,
    address: &str,
    in_flight: usize,
    warm_up: Duration,
) -> Result<(), Box<dyn Error>> {
    match contender {
        Contender::Plain => {
            let client = ours::connect(address).await?;
            drive(in_flight, warm_up, |_| with(&client, async |client| ours::plain(client).await))
                .await
        }
        Contender::PlainLent => {
            let client = ours::connect(address).await?;
            drive(in_flight, warm_up, |_| {
                with(&client, async |client| ours::plain_lent(client).await)
            })
            .await
        }
        Contender::PlainBusyPolled => {
            let client = ours::connect_busy_polled(address).await?;
            drive(in_flight, warm_up, |_| with(&client, async |client| ours::plain(client).await))
                .await
        }
        #[cfg(feature = "tls")]
        Contender::PlainTls => {
            let client = crate::contender::tls::connect(address).await?;
            drive(in_flight, warm_up, |_| with(&client, async |client| ours::plain(client).await))
                .await
        }
        Contender::WriteMemory | Contender::WriteEmbedded => {
            let client = ours::connect(address).await?;
            drive(in_flight, warm_up, |caller| {
                with(&client, async move |client| ours::write(client, caller).await)
            })
            .await
        }
        Contender::WriteJournalled => {
            let (client, _place) = ours::connect_journalled(address).await?;
            drive(in_flight, warm_up, |caller| {
                with(&client, async move |client| ours::write(client, caller).await)
            })
            .await
        }
        Contender::WriteWithoutIds => {
            let client = without_ids::connect(address).await?;
            drive(in_flight, warm_up, |caller| {
                with(&client, async move |client| without_ids::write(client, caller).await)
            })
            .await
        }
        Contender::Limit => {
            let client = limit::connect(address).await?;
            drive(in_flight, warm_up, |_| with(&client, async |client| limit::call(client).await))
                .await
        }
        Contender::LimitNoTasks => {
            drive_loop(Loop::connect(address, in_flight).await?, in_flight, warm_up).await
        }
        Contender::LimitWrite => {
            let client = limit_write::connect(address).await?;
            drive(in_flight, warm_up, |caller| {
                with(&client, async move |client| limit_write::write(client, caller).await)
            })
            .await
        }
        #[cfg(feature = "peers")]
        Contender::Tarpc => {
            let client = crate::contender::tarpc::connect(address).await?;
            drive(in_flight, warm_up, |_| {
                with(&client, async |client| crate::contender::tarpc::call(client).await)
            })
            .await
        }
        #[cfg(feature = "peers")]
        Contender::Tonic => {
            let client = crate::contender::tonic::connect(address).await?;
            drive(in_flight, warm_up, |_| {
                with(&client, async |client| crate::contender::tonic::call(client).await)
            })
            .await
        }
        #[cfg(feature = "peers")]
        Contender::VoloThrift => {
            let client = crate::contender::volo::connect(address)?;
            drive(in_flight, warm_up, |_| {
                with(&client, async |client| crate::contender::volo::call(client).await)
            })
            .await
        }
        #[cfg(feature = "peers")]
        Contender::CapnpRpc => {
            let client = crate::contender::capnp::connect(address).await?;
            drive(in_flight, warm_up, |_| {
                with(&client, async |client| crate::contender::capnp::call(client).await)
            })
            .await
        }
    }
}

/// A caller with a handle of its own.
fn with<H: Clone, C: AsyncFn(&H)>(handle: &H, call: C) -> impl AsyncFn() + use<H, C> {
    let handle = handle.clone();
    async move || call(&handle).await
}
