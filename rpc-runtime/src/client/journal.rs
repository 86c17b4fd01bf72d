//! One task for the journal of a client: a batch at a time.

use std::sync::Arc;
use std::task::Poll;

use super::shared::Shared;
use crate::journal::{Change, Journal, JournalError};
use crate::protocol::client::Restored;
use crate::service::ServiceSchema;

/// Reads a journal, and claims what is in it for this life of the client.
pub(super) async fn open(
    journal: &dyn Journal,
    schema: &ServiceSchema,
) -> Result<Restored, JournalError> {
    let (restored, changes) = Restored::from_rows(journal.load().await?, schema)?;
    journal.write(changes).await?;
    Ok(restored)
}

/// Writes what there is to write, until the client is closed and nothing is left.
pub(super) async fn keep(shared: Arc<Shared>, journal: Arc<dyn Journal>) {
    while let Some(changes) = next_batch(&shared).await {
        match journal.write(changes).await {
            Ok(()) => shared.with(|core| core.handle_journalled(shared.clock.now())),
            Err(error) => {
                tracing::error!(%error, "the journal failed, and the client ends");
                shared.with(|core| core.handle_journal_failed(&error.to_string()));
                return;
            }
        }
    }
}

async fn next_batch(shared: &Shared) -> Option<Vec<Change>> {
    std::future::poll_fn(|context| {
        shared.with_state(|state| {
            if let Some(changes) = state.core.poll_journal() {
                return Poll::Ready(Some(changes));
            }
            if state.closed {
                return Poll::Ready(None);
            }
            state.journal_waker = Some(context.waker().clone());
            Poll::Pending
        })
    })
    .await
}
