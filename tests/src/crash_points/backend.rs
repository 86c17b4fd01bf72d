//! The simulated store as one life of a server sees it: every operation is a step.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rpc::store::DocKey;
use rpc::store::cas::{Cas, CasBackend, CasDocument, CasError};

use super::control::{Control, Life, Verdict};
use super::step::{Blow, Side, Step};
use crate::simulated::SimulatedBackend;

/// How long an operation takes during which its caller drops the call: enough for the server to
/// hear of it.
const WHILE_DROPPED: Duration = Duration::from_millis(50);

/// One server's way to the store.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    pub(super) store: SimulatedBackend,
    pub(super) control: Arc<Control>,
    pub(super) life: Life,
}

impl Steps {
    async fn step<T>(
        &self,
        step: Step,
        act: impl Future<Output = Result<T, CasError>> + Send,
    ) -> Result<T, CasError> {
        // Operations that a server has under way together get their turns here.
        tokio::task::yield_now().await;
        self.life.thawed().await;
        match self.control.take(&self.life, step) {
            Verdict::Go => act.await,
            Verdict::Never => std::future::pending().await,
            Verdict::Strike(blow, Side::Before) => {
                self.suffer(blow, step).await?;
                act.await
            }
            Verdict::Strike(blow, Side::After) => {
                let done = act.await;
                self.suffer(blow, step).await?;
                done
            }
        }
    }

    async fn suffer(&self, blow: Blow, step: Step) -> Result<(), CasError> {
        match blow {
            Blow::Crash => std::future::pending().await,
            Blow::Stall | Blow::Outlive => {
                self.life.thawed().await;
                Ok(())
            }
            Blow::Drop => {
                tokio::time::sleep(WHILE_DROPPED).await;
                Ok(())
            }
            Blow::Trouble => {
                let cause = Arc::new(std::io::Error::other("trouble of the simulation"));
                Err(match step.is_write() {
                    true => CasError::Ambiguous(cause),
                    false => CasError::Unavailable(cause),
                })
            }
        }
    }
}

impl CasBackend for Steps {
    async fn get(&self, key: &DocKey) -> Result<Option<CasDocument>, CasError> {
        self.step(Step::Get, self.store.get(key)).await
    }

    async fn insert(&self, key: &DocKey, body: Bytes, meta: Bytes) -> Result<Cas, CasError> {
        self.step(Step::Insert, self.store.insert(key, body, meta)).await
    }

    async fn replace(
        &self,
        key: &DocKey,
        cas: Cas,
        body: Option<Bytes>,
        meta: Bytes,
    ) -> Result<Cas, CasError> {
        self.step(Step::Replace, self.store.replace(key, cas, body, meta)).await
    }

    async fn remove(&self, key: &DocKey, cas: Cas) -> Result<(), CasError> {
        self.step(Step::Remove, self.store.remove(key, cas)).await
    }
}
