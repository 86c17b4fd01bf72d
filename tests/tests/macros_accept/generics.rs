//! Parameters on the trait, with bounds, a where clause, a default and a supertrait.

#![deny(warnings)]

use std::fmt::Debug;

use rpc::client::Stub;
use rpc::service::Service;
use rpc::{Message, Schema, Tx, View};

#[rpc::service]
pub trait Cache<K, V: Message + Clone = String>: Debug
where
    K: Message + Ord,
    Self: Sized,
{
    /// Reads.
    async fn get(&self, view: &View, key: K) -> Option<V>;
    /// Writes.
    async fn put(&self, tx: &mut Tx, key: &K, value: V) -> Result<Option<V>, String>;
    /// Writes several.
    async fn fill(&self, tx: &mut Tx, key: &[K], value: &V) -> Result<Option<V>, String>;
}

#[derive(Debug)]
struct Ours;

impl<K: Message + Ord, V: Message + Clone> Cache<K, V> for Ours {
    async fn get(&self, _: &View, _: K) -> Option<V> {
        None
    }
    async fn put(&self, _: &mut Tx, _: &K, value: V) -> Result<Option<V>, String> {
        Ok(Some(value))
    }
    async fn fill(&self, _: &mut Tx, _: &[K], value: &V) -> Result<Option<V>, String> {
        Ok(Some(value.clone()))
    }
}

/// Const parameters too.
#[rpc::service]
pub trait Ring<const N: usize> {
    /// The sum.
    async fn sum(&self, parts: Part<N>) -> u64;
}

/// An argument over a const parameter.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize, rpc::Schema)]
pub struct Part<const N: usize>(pub Vec<u8>);

impl<const N: usize> Ring<N> for Ours {
    async fn sum(&self, parts: Part<N>) -> u64 {
        parts.0.iter().take(N).map(|&part| u64::from(part)).sum()
    }
}

/// A service whose parameter is called like the server's own would be.
#[rpc::service]
pub trait Same<T: Message> {
    /// The same.
    async fn same(&self, value: T) -> T;
}

impl<T: Message> Same<T> for Ours {
    async fn same(&self, value: T) -> T {
        value
    }
}

async fn calls(cache: CacheClient<u8>, same: SameClient<u8>, ring: RingClient<4>) {
    let _ = cache.clone().put(&1, "one".to_owned()).await;
    let _ = cache.fill(&[1, 2], &"one".to_owned()).await;
    let _ = cache.get(1).await;
    let _ = same.same(1).await;
    let _ = ring.sum(Part(vec![1])).await;
}

fn served<S: Service>(_: S) -> usize {
    S::schema().methods.len()
}

#[test]
fn parameters_are_kept_apart() {
    let _ = calls;
    assert_eq!(served(CacheServer::<_, u8, u64>::new(Ours)), 3);
    assert_eq!(served(SameServer::<_, u8>::new(Ours)), 1);
    assert_eq!(served(RingServer::<_, 4>::new(Ours)), 1);
    let structure = |schema: rpc::service::ServiceSchema| schema.methods[0].structure.clone();
    assert_ne!(structure(CacheClient::<u8>::schema()), structure(CacheClient::<u16>::schema()));
    let _ = <Vec<u8> as Schema>::describe;
}
