//! What the bank's documents say when all is over.

use std::sync::Arc;

use bank_business::documents::{Account, FullPage, PageKey};
use bank_business::{PAGE_ENTRIES, PageNumber};
use rpc::DocumentKey;
use rpc::store::Store;

use super::hub::Hub;
use super::plan::ACCOUNTS;
use crate::history::{Account as Number, Book, account_name};

/// Reads all accounts; an account that was never opened is `None`.
pub(super) async fn read_all(store: &dyn Store, hub: &Arc<Hub>) -> Vec<Option<Book>> {
    let mut books = Vec::new();
    for account in 0..ACCOUNTS.into() {
        match read(store, account).await {
            Ok(book) => books.push(book),
            Err(trouble) => {
                hub.with(|state| state.fail("documents are whole", || trouble));
                return Vec::new();
            }
        }
    }
    books
}

async fn read(store: &dyn Store, account: Number) -> Result<Option<Book>, String> {
    let name = account_name(account);
    let Some(found) = document(store, &name).await? else { return Ok(None) };
    let Account { balance, closed, page, entries: last } = found;
    let mut entries = Vec::new();
    let mut number = PageNumber::FIRST;
    while number != page {
        let key = PageKey { account: name.clone(), page: number };
        let Some(FullPage { entries: full }) = document(store, &key).await? else {
            return Err(format!("page {number} of {name} is missing, the last is {page}"));
        };
        if full.len() != PAGE_ENTRIES {
            return Err(format!("page {number} of {name} has {} entries", full.len()));
        }
        entries.extend(full);
        number = number.next();
    }
    entries.extend(last);
    Ok(Some(Book { balance: balance.cents(), closed, entries }))
}

async fn document<K: DocumentKey>(
    store: &dyn Store,
    key: &K,
) -> Result<Option<K::Document>, String> {
    let key = key.doc_key().map_err(|error| error.to_string())?;
    let read = store.read(&key).await.map_err(|error| error.to_string())?;
    let Some(body) = read.body else { return Ok(None) };
    let decoded = serde_json::from_slice(&body);
    decoded.map(Some).map_err(|error| format!("{key}: {error}"))
}
