//! What the business holds while it runs: [`Tx`] for a write, [`View`] for a read.
//!
//! A run ends early, at an await of the business, if the store cannot answer or the business asks
//! for something that cannot be (a key that is too long, a document that does not decode): the
//! runtime drops the business's future there and decides what to do. So the business never sees
//! trouble that is not its own, and needs no error type for it. It must not do anything outside
//! the `Tx` that it would be wrong to do twice, or to leave half done.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | [`Tx`] and [`View`] |
//! | `lists.rs` | what a run has read and written |
//! | `run.rs` | how a run is polled, and ends early |

mod lists;
mod run;

use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use self::lists::Lists;
use self::lists::push_with;
use self::run::BusinessFault;
pub(crate) use self::run::{RunFailure, RunSignal, poll_contained, returned};
use crate::document::DocumentKey;
use crate::id::Identity;
use crate::store::{
    DocKey, Encoded, MAX_DOCUMENT_BYTES, MAX_DOCUMENTS_PER_CALL, Store, StoreError, Versioned,
    Write,
};

/// What a run of the business works with.
pub(crate) struct Scope {
    pub(crate) store: Arc<dyn Store>,
    /// Whose call it is.
    pub(crate) caller: Identity,
}

/// A write in progress: the documents that it reads, and the writes that take effect together, and
/// exactly once, if the business returns `Ok`. If it returns `Err`, none of them does.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone)] struct Name(String);
/// # impl std::fmt::Display for Name {
/// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&self.0) }
/// # }
/// # #[derive(Serialize, Deserialize, rpc::Document)]
/// # #[document(key = Name, collection = "counter")]
/// # struct Counter { value: u64 }
/// # struct Overflow;
/// use rpc::Tx;
///
/// async fn increment(tx: &mut Tx, name: Name) -> Result<u64, Overflow> {
///     let mut counter = tx.get(&name).await.unwrap_or(Counter { value: 0 });
///     counter.value = counter.value.checked_add(1).ok_or(Overflow)?;
///     tx.put(&name, &counter);
///     Ok(counter.value)
/// }
/// ```
#[derive(Debug)]
pub struct Tx {
    reader: Reader,
    lists: Box<Lists>,
}

impl Tx {
    /// With the signal that ends the run early.
    pub(crate) fn new(scope: Arc<Scope>) -> (Tx, Arc<RunSignal>) {
        let (signal, polled, lists) = Lists::take();
        (Tx { reader: Reader { scope, signal }, lists }, polled)
    }

    /// Who makes this call, as the transport has authenticated it; anonymous on plain TCP. A retry of the
    /// call has the same caller, on whatever server.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Clone)] struct Title(String);
    /// # impl std::fmt::Display for Title {
    /// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&self.0) }
    /// # }
    /// # #[derive(Serialize, Deserialize, rpc::Document)]
    /// # #[document(key = Title, collection = "note")]
    /// # struct Note { owner: String }
    /// # struct NotYours;
    /// use rpc::Tx;
    ///
    /// async fn delete(tx: &mut Tx, note: Title) -> Result<(), NotYours> {
    ///     if tx.get(&note).await.is_some_and(|Note { owner }| owner != tx.caller().name()) {
    ///         return Err(NotYours);
    ///     }
    ///     tx.delete(&note);
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn caller(&self) -> &Identity {
        &self.reader.scope.caller
    }

    /// The document under this key, `None` if there is none. What this call itself has put or
    /// deleted is seen; what was read once reads the same again.
    pub async fn get<K: DocumentKey>(&mut self, key: &K) -> Option<K::Document> {
        match self.find(key).await {
            Some(found) => found,
            None => Reader::end().await,
        }
    }

    /// As [`get`](Tx::get); `None` if the run has failed.
    async fn find<K: DocumentKey>(&mut self, key: &K) -> Option<Option<K::Document>> {
        let key = self.reader.name(key)?;
        if let Some(write) = self.lists.writes.iter().find(|write| write.key == key) {
            return self.reader.decode::<K>(&key, write.body.as_ref());
        }
        if let Some(body) = self.lists.body(&key) {
            return self.reader.decode::<K>(&key, body);
        }
        self.reader.has_room(self.lists.reads.len())?;
        match self.lists.read_at_hand(&*self.reader.scope.store, &key) {
            Some(read) => read.map_err(|error| self.reader.fail_to_read(error)).ok()?,
            None => {
                let document = self.reader.read(&key).await?;
                self.lists.add(key, document);
            }
        }
        let (key, body) = self.lists.last();
        self.reader.decode::<K>(key, body)
    }

    /// Writes a document, whether there was one or not.
    ///
    /// To write only if there was none, [`get`](Tx::get) it first: the commit then makes sure that
    /// there is still none.
    pub fn put<K: DocumentKey>(&mut self, key: &K, document: &K::Document) {
        let Some(key) = self.reader.name(key) else { return };
        // Encoded elsewhere first, so that the document itself takes no more than it needs.
        let body = &mut self.lists.scratch;
        body.clear();
        match serde_json::to_writer(&mut *body, document) {
            Err(error) => self.reader.fail(BusinessFault::Encode { key, error }),
            Ok(()) if body.len() > MAX_DOCUMENT_BYTES => {
                self.reader.fail(BusinessFault::DocumentTooLarge { key, size: body.len() });
            }
            Ok(()) => {
                let Lists { writes, scratch, .. } = &mut *self.lists;
                if let Some(write) = self.reader.write(writes, key) {
                    // Filled where it lies: to move what was just written is to wait for it.
                    write.body.get_or_insert_default().fill(scratch);
                }
            }
        }
    }

    /// Deletes a document. It is no error if there is none.
    pub fn delete<K: DocumentKey>(&mut self, key: &K) {
        if let Some(key) = self.reader.name(key)
            && let Some(write) = self.reader.write(&mut self.lists.writes, key)
        {
            write.body = None;
        }
    }

    /// What it was given, what has raised the signal, and what the run read and wrote.
    pub(crate) fn into_parts(self) -> (Arc<Scope>, Arc<RunSignal>, Box<Lists>) {
        let Reader { scope, signal } = self.reader;
        (scope, signal, self.lists)
    }
}

/// A read in progress. All that it reads is true at one moment, at the latest when the call is
/// answered; a read that met a change in between is run again.
#[derive(Debug)]
pub struct View {
    reader: Reader,
    lists: Mutex<Box<Lists>>,
}

impl View {
    /// With the signal that ends the run early.
    pub(crate) fn new(scope: Arc<Scope>) -> (View, Arc<RunSignal>) {
        let (signal, polled, lists) = Lists::take();
        (View { reader: Reader { scope, signal }, lists: Mutex::new(lists) }, polled)
    }

    /// Who makes this call: see [`Tx::caller`].
    #[must_use]
    pub fn caller(&self) -> &Identity {
        &self.reader.scope.caller
    }

    /// The document under this key, `None` if there is none. What was read once reads the same
    /// again.
    pub async fn get<K: DocumentKey>(&self, key: &K) -> Option<K::Document> {
        match self.find(key).await {
            Some(found) => found,
            None => Reader::end().await,
        }
    }

    /// As [`get`](View::get); `None` if the run has failed.
    async fn find<K: DocumentKey>(&self, key: &K) -> Option<Option<K::Document>> {
        let key = self.reader.name(key)?;
        let seen = self.lock().body(&key).map(|body| body.cloned());
        if let Some(body) = seen {
            return self.reader.decode::<K>(&key, body.as_ref());
        }
        self.reader.has_room(self.lock().reads.len())?;
        let document = self.reader.read(&key).await?;
        let body = document.body.clone();
        self.lock().add(key.clone(), document);
        self.reader.decode::<K>(&key, body.as_ref())
    }

    /// What it was given, what has raised the signal, and what the run read.
    pub(crate) fn into_parts(self) -> (Arc<Scope>, Arc<RunSignal>, Box<Lists>) {
        let Reader { scope, signal } = self.reader;
        (scope, signal, self.lists.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Box<Lists>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part that [`Tx`] and [`View`] share: reading from the store, and failing. Where an answer is
/// `None`, the run has failed.
struct Reader {
    scope: Arc<Scope>,
    signal: Arc<RunSignal>,
}

impl Reader {
    async fn read(&self, key: &DocKey) -> Option<Versioned> {
        let read = match self.scope.store.read(key).into_ready() {
            Ok(read) => read,
            Err(waiting) => waiting.await,
        };
        read.map_err(|error| self.fail_to_read(error)).ok()
    }

    #[cold]
    fn fail_to_read(&self, error: StoreError) {
        self.signal.raise(RunFailure::Store(error));
    }

    fn decode<K: DocumentKey>(
        &self,
        key: &DocKey,
        body: Option<&Encoded>,
    ) -> Option<Option<K::Document>> {
        let Some(body) = body else { return Some(None) };
        match decode_document(body) {
            Ok(document) => Some(Some(document)),
            Err(error) => {
                self.fail(BusinessFault::Decode { key: key.clone(), error });
                None
            }
        }
    }

    /// Where a document's new body goes; `None` if there is no room.
    fn write<'w>(&self, writes: &'w mut Vec<Write>, key: DocKey) -> Option<&'w mut Write> {
        let earlier = writes.iter().position(|write| write.key == key);
        let index = match earlier {
            Some(index) => index,
            None => {
                self.has_room(writes.len())?;
                push_with(writes, || Write { key, body: Some(Encoded::empty()) });
                writes.len() - 1
            }
        };
        Some(&mut writes[index])
    }

    #[inline]
    fn name<K: DocumentKey>(&self, key: &K) -> Option<DocKey> {
        key.doc_key_if_valid().or_else(|| self.fail_to_name(key))
    }

    #[cold]
    fn fail_to_name<K: DocumentKey>(&self, key: &K) -> Option<DocKey> {
        key.doc_key().map_err(|error| self.fail(BusinessFault::Key(error))).ok()
    }

    fn has_room(&self, held: usize) -> Option<()> {
        if held >= MAX_DOCUMENTS_PER_CALL {
            self.fail(BusinessFault::TooManyDocuments);
            return None;
        }
        Some(())
    }

    #[cold]
    fn fail(&self, fault: BusinessFault) {
        self.signal.raise(RunFailure::Business(fault));
    }

    /// Where a failed run waits until whoever polls it with [`RunSignal::poll`] drops it.
    async fn end<T>() -> T {
        std::future::pending().await
    }
}

/// As [`serde_json::from_slice`], which moves its decoder once more.
#[inline]
fn decode_document<T: serde::de::DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    let mut decoder = serde_json::Deserializer::from_slice(body);
    let document = T::deserialize(&mut decoder)?;
    decoder.end()?;
    Ok(document)
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("caller", &self.scope.caller)
            .field("signal", &self.signal)
            .finish_non_exhaustive()
    }
}
